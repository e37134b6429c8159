"""What went into a published version, and who vouches for it."""

import json

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.bundles import make_bundle
from understudy import __version__
from understudy.cli.main import app
from understudy.runtime import provenance
from understudy.steps.publish import rules
from understudy.store import codecs, registry
from understudy.store.bundles import read_settings
from understudy.store.hashing import hash_file
from understudy.store.signatures import SIGNING_KEY, TRUSTED_KEYS
from understudy.store.storage import open_store
from understudy.task.card import load_card

GOLD, TEST, ANSWERS = ("1" * 64, "2" * 64, "3" * 64)


def inputs(**hashes):
    return {"version": "0.0.9", "inputs": {name: {"uri": "s3://x", "sha256": it} for name, it in hashes.items()}}


@pytest.fixture
def published(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    calibrated, evaluated = inputs(gold=GOLD, judgements=ANSWERS), inputs(bundle="4" * 64, test=TEST)
    origin = rules.origin(read_settings(bundle), load_card(bundle), calibrated, evaluated)
    papers = {"report.html": b"<p>", registry.ORIGIN: codecs.as_json(origin)}
    store = open_store(str(tmp_path / "store"))
    return store, registry.publish_bundle(store, bundle, papers), bundle, papers


def trace(store, *more):
    done = CliRunner().invoke(app, ["trace", "--store", store.uri, *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_it_names_data_code_weights_teacher_and_licence(published):
    store, current, bundle, _ = published
    card, settings = load_card(bundle), read_settings(bundle)
    rows = dict(line.split(maxsplit=1) for line in trace(store).splitlines() if not line.startswith(("data", "file")))
    assert rows["version"] == f"{current.version}: not signed"
    assert rows["card"] == f"{card.name}, {card.hash}"
    assert rows["code"] == f"calibrate 0.0.9, evaluate 0.0.9, publish {__version__}"
    assert rows["teacher"] == f"{card.teacher.model}, a rehearsal"
    assert settings.get("student", card.student) in rows["student"]
    assert "licence" in rows
    said = trace(store)
    assert all(digest in said for digest in (GOLD, TEST, ANSWERS, hash_file(bundle / "model.onnx")))
    assert "4" * 64 not in said  # the bundle is what is told of


def test_the_answers_that_revise_handed_on_are_told_of_beside_the_teachers_own(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    calibrated, evaluated = inputs(gold=GOLD, judgements=ANSWERS), inputs(gold=GOLD, judgements="5" * 64)
    told = rules.origin(read_settings(bundle), load_card(bundle), calibrated, evaluated)
    assert told["data"] == {"gold": GOLD, "judgements": ANSWERS, "revised": "5" * 64}


def test_what_others_wrote_forges_no_line_and_no_terminals_commands(published):
    _, _, bundle, papers = published
    origin = json.loads(papers[registry.ORIGIN])
    origin["student"]["weights"] = "w\nversion           x: signed by a trusted key\x1b[1A"
    elsewhere = open_store(str(bundle.parent / "other"))
    registry.publish_bundle(elsewhere, bundle, {**papers, registry.ORIGIN: codecs.as_json(origin)})
    said = trace(elsewhere)
    assert [line.split()[0] for line in said.splitlines()].count("version") == 1
    assert "\x1b" not in said


def test_the_record_is_that_of_the_store(published):
    store, current, *_ = published
    said = json.loads(trace(store, "--version", current.version, "--json"))
    assert said["data"] == {"gold": GOLD, "judgements": ANSWERS, "test": TEST}
    assert said["teacher"]["is_rehearsal"] is True


def test_it_says_who_vouches(published, monkeypatch):
    store, current, bundle, papers = published
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    monkeypatch.setenv(SIGNING_KEY, private)
    registry.publish_bundle(store, bundle, papers)
    assert f"{current.version}: signed; by whom is not checked: no {TRUSTED_KEYS}" in trace(store)
    monkeypatch.setenv(TRUSTED_KEYS, public)
    assert f"{current.version}: signed by a trusted key" in trace(store)


def test_a_version_from_before_says_that_it_has_none(tmp_path):
    store = open_store(str(tmp_path / "store"))
    registry.publish_bundle(store, make_bundle(tmp_path / "bundle"), {"report.html": b"<p>"})
    assert "published before origins were kept" in trace(store)


def test_a_provenance_that_is_not_there_leaves_its_part_out(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    assert not provenance.file_of(bundle).exists()
    origin = rules.origin(read_settings(bundle), load_card(bundle), {}, {})
    assert (origin["data"], origin["code"]) == ({}, {"publish": __version__})
