"""What a tampered night manifest can not do: read what lies outside the source that the runner has named."""

import json
import uuid
from pathlib import Path

import pytest

from tests.night_desk import make_desk, texts
from understudy.data.arrivals import require_under
from understudy.errors import BadArtifact
from understudy.store import manifests
from understudy.store.s3 import s3_client
from understudy.store.storage import open_store


@pytest.fixture
def desk(tmp_path):
    made = make_desk(tmp_path)
    made.write("a.csv", texts(0, 4))
    made.shard("2026-11-01")
    return made


def tamper(store, name, *, source=None):
    """Let the night's manifest read another object in place of its own."""
    key = manifests.manifest_key("2026-11-01")
    found = store.read_tagged(key)
    manifest = json.loads(found.data)
    old = next(iter(manifest["objects"]))
    text = json.dumps({**manifest, "source": source or manifest["source"]}).replace(json.dumps(old), json.dumps(name))
    assert store.compare_and_swap(key, text.encode(), found.tag)


def refused(desk, name, **arguments):
    with pytest.raises(BadArtifact, match="must lie under the source that it is run on"):
        desk.infer("2026-11-01/00", source=str(desk.source), **arguments)
    assert not desk.store.list("predictions/")
    return name


@pytest.mark.parametrize(
    "name",
    ["{outside}", "{source}/../secret.csv", "{source}-other/a.csv", "/etc/passwd", "{source}/.hidden/a.csv", "a.csv"],
)
def test_a_manifest_cannot_read_a_file_outside_the_source(desk, name):
    outside = desk.folder / "secret.csv"
    outside.write_text("id,text\nx,Secret\n")
    for folder in (desk.folder / "texts-other", desk.source / ".hidden"):
        folder.mkdir()
        (folder / "a.csv").write_text("id,text\nx,Secret\n")
    tamper(desk.store, name.format(outside=outside, source=desk.source))
    refused(desk, name)


def test_a_manifest_cannot_name_its_own_source(desk):
    outside = desk.folder / "secret.csv"
    outside.write_text("id,text\nx,Secret\n")
    tamper(desk.store, str(outside), source=str(outside))
    refused(desk, str(outside))


def test_a_link_in_the_place_of_a_file_is_not_followed_out_of_the_source(desk):
    outside = desk.folder / "secret.csv"
    outside.write_text("id,text\nx,Secret\n")
    (desk.source / "a.csv").unlink()
    (desk.source / "a.csv").symlink_to(outside)
    refused(desk, "a.csv")


def test_a_link_that_the_source_itself_had_is_read(tmp_path):
    desk = make_desk(tmp_path)
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("id,text\nx,Ask for a room\n")
    desk.source.mkdir()
    (desk.source / "a.csv").symlink_to(elsewhere)
    desk.shard("2026-11-01")
    assert desk.infer("2026-11-01/00").metrics["texts"] == 1


def test_a_night_cannot_be_run_again_on_other_texts(desk):
    other = desk.folder / "other.csv"
    other.write_text("id,text\nx,Ask for a room\n")
    with pytest.raises(BadArtifact, match="Name the source that the night was begun on"):
        desk.shard("2026-11-01", texts=str(other))


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "s3://{other}/texts/a.csv", "s3://{bucket}/texts-other/a.csv", "s3://{bucket}/texts/../keys.csv"],
)
def test_a_manifest_cannot_read_another_bucket_or_a_prefix_beside_the_source(tmp_path, s3_url, name):
    bucket, other = s3_url.removeprefix("s3://"), f"other-{uuid.uuid4().hex[:8]}"
    s3_client().create_bucket(Bucket=other)
    for place in (f"s3://{other}/texts", f"s3://{bucket}/texts-other", f"s3://{bucket}/texts"):
        open_store(place).put_if_absent("a.csv", b"id,text\nx,Ask for a room\n")
    desk = make_desk(tmp_path, f"{s3_url}/{other}")
    source = f"s3://{bucket}/texts"
    desk.shard("2026-11-01", texts=source)
    tamper(desk.store, name.format(bucket=bucket, other=other))
    with pytest.raises(BadArtifact, match="must lie under the source that it is run on"):
        desk.infer("2026-11-01/00", source=source)


def test_the_source_is_a_folder_not_a_beginning_of_names():
    require_under(["s3://b/texts/day=1/a.csv"], "s3://b/texts/", "m")
    require_under(["s3://b/a.csv"], "s3://b", "m")
    with pytest.raises(BadArtifact):
        require_under(["s3://b/texts"], "s3://b/texts/day", "m")


@pytest.mark.parametrize(
    "change",
    [
        {"date": "2026-11-02"},
        {"date": "../../x"},
        {"bundle": "../../.ssh"},
        {"card": "../x"},
        {"texts": 10**30},
        {"shards": []},
        {"shards": [[{"object": "x", "first_row": 1, "rows": 1}]]},
        {"labels": "tip"},
        {"positive_label": "nothing"},
        {"number": True},
    ],
)
def test_a_manifest_that_names_something_else_is_refused_in_a_sentence(desk, change):
    path = Path(desk.uri) / manifests.manifest_key("2026-11-01")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadArtifact, match="What is read from a store"):
        manifests.read_manifest(desk.store, "2026-11-01")
