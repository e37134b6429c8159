"""Who may put a model into service: what a key signs, and what nights, predict and Python refuse."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.bundles import make_bundle
from tests.conftest import invoke
from tests.night_desk import make_desk, texts
from understudy import open_classifier
from understudy.errors import BadArtifact, BadInput
from understudy.store import registry, signatures, watch_records
from understudy.store.signatures import SIGNING_KEY, TRUSTED_KEYS
from understudy.store.storage import open_store

PAPERS = {"report.html": b"<p>", "evaluation.json": b"{}"}


@dataclass(frozen=True)
class Pair:
    private: str
    public: str


def pair(key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Pair(private.decode(), public.decode())


@pytest.fixture(scope="module")
def ours():
    return pair()


@pytest.fixture(scope="module")
def theirs():
    return pair()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


def publish(store, folder, monkeypatch, key="", trusted="", number=1):
    """Publish a bundle where these keys are configured, and leave only the trusted ones."""
    with monkeypatch.context() as patch:
        patch.setenv(SIGNING_KEY, key)
        patch.setenv(TRUSTED_KEYS, trusted)
        bundle = folder / f"b{number}"
        if not bundle.exists():
            make_bundle(bundle, bias=float(-number))
        return registry.publish_bundle(store, bundle, PAPERS).version


def signature_file(folder: Path, version: str) -> Path:
    return folder / "store/bundles" / version / "manifest.json.sig"


def test_without_keys_nothing_is_signed_and_everything_is_as_it_was(store, tmp_path, monkeypatch):
    version = publish(store, tmp_path, monkeypatch)
    assert not signature_file(tmp_path, version).exists()
    assert registry.fetch_bundle(store).name == version
    assert registry.signature_state(store, version) == "not signed"


def test_what_a_trusted_key_has_signed_is_opened(store, tmp_path, monkeypatch, ours, theirs):
    version = publish(store, tmp_path, monkeypatch, ours.private, ours.public)
    monkeypatch.setenv(TRUSTED_KEYS, theirs.public + ours.public)  # while a key is replaced both are trusted
    assert registry.fetch_bundle(store).name == version
    assert registry.fetch_card(store, version).name == "hotel-tips"
    assert registry.signature_state(store, version) == "signed by a trusted key"


def test_a_bundle_that_somebody_else_puts_into_the_store_serves_nobody(store, tmp_path, monkeypatch, ours, theirs):
    publish(store, tmp_path, monkeypatch, ours.private)
    unsigned = publish(store, tmp_path, monkeypatch, number=2)  # as whoever can write the store would
    monkeypatch.setenv(TRUSTED_KEYS, ours.public)
    for read in (registry.fetch_bundle, registry.fetch_settings, registry.fetch_card, registry.fetch_tokenizer):
        with pytest.raises(BadArtifact, match=f"must be signed by a key of {TRUSTED_KEYS}, got none"):
            read(store, unsigned)
    publish(store, tmp_path, monkeypatch, theirs.private, number=2)
    with pytest.raises(BadArtifact, match="got one of another key, or of other content"):
        registry.fetch_bundle(store, unsigned)
    assert registry.signature_state(store, unsigned) == "signed by a key that is not trusted"


@pytest.mark.parametrize("where", ["manifest.json", "manifest.json.sig"])
def test_what_was_altered_after_it_was_signed_is_refused(store, tmp_path, monkeypatch, ours, where):
    version = publish(store, tmp_path, monkeypatch, ours.private)
    file = tmp_path / "store/bundles" / version / where
    if where == "manifest.json":
        file.write_text(json.dumps({**json.loads(file.read_text()), "is_rehearsal": False}))
    else:
        file.write_bytes(b"not base64!")
    monkeypatch.setenv(TRUSTED_KEYS, ours.public)
    with pytest.raises(BadArtifact, match="got one of another key, or of other content"):
        registry.fetch_bundle(store)


def test_a_bundle_of_ours_under_a_manifest_of_theirs_is_not_signed(store, tmp_path, monkeypatch, ours):
    version = publish(store, tmp_path, monkeypatch)
    file = tmp_path / "store/bundles" / version / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "is_rehearsal": False}))
    with pytest.raises(BadArtifact, match="must be the one that its publisher makes"):
        publish(store, tmp_path, monkeypatch, ours.private)
    assert not signature_file(tmp_path, version).exists()


def test_papers_of_somebody_else_are_not_signed_along(store, tmp_path, monkeypatch, ours):
    registry.publish_bundle(store, make_bundle(tmp_path / "b1", bias=-1.0), {"report.html": b"<script>"})
    with pytest.raises(BadArtifact, match="got one with other papers or facts"):
        publish(store, tmp_path, monkeypatch, ours.private)


def test_publishing_again_signs_what_was_not_and_changes_no_signature(store, tmp_path, monkeypatch, ours, theirs):
    version = publish(store, tmp_path, monkeypatch)
    publish(store, tmp_path, monkeypatch, ours.private)
    first = signature_file(tmp_path, version).read_bytes()
    publish(store, tmp_path, monkeypatch, ours.private)
    assert signature_file(tmp_path, version).read_bytes() == first
    publish(store, tmp_path, monkeypatch, theirs.private, theirs.public)  # the key was replaced
    monkeypatch.setenv(TRUSTED_KEYS, theirs.public)
    assert registry.fetch_bundle(store).name == version


def test_where_keys_are_trusted_nothing_is_published_without_one(store, tmp_path, monkeypatch, ours):
    with pytest.raises(BadArtifact, match="got none"):
        publish(store, tmp_path, monkeypatch, "", ours.public)
    assert registry.read_current(store) is None


def test_an_unsigned_version_is_history_but_no_way_back(store, tmp_path, monkeypatch, ours):
    old = publish(store, tmp_path, monkeypatch)
    version = publish(store, tmp_path, monkeypatch, ours.private, number=2)
    monkeypatch.setenv(TRUSTED_KEYS, ours.public)
    assert [cycle["version"] for cycle in watch_records.learning_curve(store)] == [old, version]
    with pytest.raises(BadArtifact, match="must be signed"):
        registry.rollback(store)


def test_openssl_and_so_cosign_verify_the_signature_with_the_key_file(store, tmp_path, monkeypatch):
    """cosign signs a blob as ECDSA over SHA-256, in base64; it is not at hand, and its keys are openssl's."""
    made = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(tmp_path / "ec.pem")]
    for given in (made, ["pkey", "-in", str(tmp_path / "ec.pem"), "-pubout", "-out", str(tmp_path / "trusted.pem")]):
        subprocess.run(["openssl", *given], check=True, capture_output=True)
    monkeypatch.setenv(f"{SIGNING_KEY}_FILE", str(tmp_path / "ec.pem"))
    monkeypatch.setenv(f"{TRUSTED_KEYS}_FILE", str(tmp_path / "trusted.pem"))
    version = publish(store, tmp_path, monkeypatch)
    assert registry.fetch_bundle(store).name == version
    raw = subprocess.run(
        ["openssl", "base64", "-d", "-A", "-in", str(signature_file(tmp_path, version))],
        check=True,
        capture_output=True,
    )
    (tmp_path / "raw.sig").write_bytes(raw.stdout)
    verify = ["dgst", "-sha256", "-verify", str(tmp_path / "trusted.pem"), "-signature", str(tmp_path / "raw.sig")]
    manifest = tmp_path / "store/bundles" / version / "manifest.json"
    subprocess.run(["openssl", *verify, str(manifest)], check=True, capture_output=True)


@pytest.mark.parametrize("text", ["no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_what_is_no_key_is_said_and_not_taken_for_one(store, tmp_path, monkeypatch, ours, text):
    version = publish(store, tmp_path, monkeypatch, ours.private)
    monkeypatch.setenv(TRUSTED_KEYS, text)
    with pytest.raises(BadInput, match=f"must be a PEM block of an EC key on P-256, .*{TRUSTED_KEYS}"):
        registry.fetch_bundle(store, version)
    (tmp_path / "empty.pem").write_text("")
    monkeypatch.delenv(TRUSTED_KEYS)
    monkeypatch.setenv(f"{TRUSTED_KEYS}_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(BadInput, match=f"must be a PEM block of an EC key on P-256, .*{TRUSTED_KEYS}_FILE"):
        registry.fetch_bundle(store, version)
    monkeypatch.setenv(SIGNING_KEY, pair(ed25519.Ed25519PrivateKey.generate()).private)
    with pytest.raises(BadInput, match="must be a PEM block of an EC key on P-256"):
        signatures.sign(b"data", None)


def test_keys_on_a_curve_that_the_library_lacks_are_said_to_be_none(monkeypatch):
    made = ["openssl", "ecparam", "-name", "secp112r1", "-genkey", "-noout"]
    private = subprocess.run(made, check=True, capture_output=True).stdout
    public = subprocess.run(["openssl", "pkey", "-pubout"], input=private, check=True, capture_output=True).stdout
    monkeypatch.setenv(SIGNING_KEY, private.decode())
    with pytest.raises(BadInput, match="must be a PEM block of an EC key on P-256"):
        signatures.sign(b"data", None)
    monkeypatch.setenv(TRUSTED_KEYS, public.decode())
    with pytest.raises(BadInput, match="must be a PEM block of an EC key on P-256"):
        signatures.is_trusted(b"data", b"AAAA")


def test_a_night_predict_and_python_refuse_a_bundle_that_nobody_trusted_has_signed(tmp_path, monkeypatch, capfd, ours):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    desk = make_desk(tmp_path)
    desk.write("texts.csv", texts(0, 6))
    monkeypatch.setenv(TRUSTED_KEYS, ours.public)
    with pytest.raises(BadArtifact, match="must be signed"):
        desk.shard("2026-11-01")
    with pytest.raises(BadArtifact, match="must be signed"):
        open_classifier(desk.uri)
    with pytest.raises(SystemExit) as ended:
        invoke("predict", "--store", desk.uri, "Ask for a room")
    assert (ended.value.code, "must be signed" in capfd.readouterr().err) == (2, True)
    monkeypatch.setenv(SIGNING_KEY, ours.private)
    registry.publish_bundle(desk.store, desk.bundle, {"report.html": b"<p>"})
    assert desk.night("2026-11-01").texts == 6
    assert [it.labels for it in open_classifier(desk.uri).label(["Ask for a room"])] == [("tip",)]


def test_a_worker_refuses_a_bundle_whose_signature_was_taken_away(tmp_path, monkeypatch, ours):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(SIGNING_KEY, ours.private)
    monkeypatch.setenv(TRUSTED_KEYS, ours.public)
    desk = make_desk(tmp_path)
    desk.write("texts.csv", texts(0, 6))
    begun = desk.shard("2026-11-01")
    signature_file(tmp_path, registry.require_current(desk.store).version).unlink()
    with pytest.raises(BadArtifact, match="must be signed"):
        desk.infer(begun.parameters["shards"].split(",")[0])
