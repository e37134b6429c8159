import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import make_bundle
from understudy.cli.predict import json_line, line, predict, read_texts
from understudy.errors import BadInput
from understudy.model.scoring import Bundle
from understudy.steps.infer.config import InferConfig
from understudy.store import registry
from understudy.store.storage import open_store

PAPERS = {"report.html": b"<p>worth it</p>"}


def understudy(*arguments: str, stdin: bytes = b"", cache: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from understudy.cli.main import main; main()", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "UNDERSTUDY_CACHE": cache, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=60, check=False)


def test_a_store_answers_with_label_and_probabilities(tmp_path):
    store = tmp_path / "store"
    current = registry.publish_bundle(open_store(str(store)), make_bundle(tmp_path / "bundle"), PAPERS)
    texts = ["Ask for a room at the back", "We\nstayed here."]
    done = understudy("predict", "--store", str(store), *texts, cache=str(tmp_path / "cache"))
    assert done.stdout.decode().splitlines() == [
        "tip   0.881  (other 0.119)  Ask for a room at the back",
        "other 0.982  (tip   0.018)  We stayed here.",
    ]
    assert done.stderr.decode() == (
        f"{current.version}: 'tip' from 0.500 upwards. It learned from a rehearsal teacher.\n"
    )
    assert done.returncode == 0


def test_json_lines_carry_threshold_and_version(tmp_path):
    bundle = make_bundle(tmp_path / "bundle", threshold=0.9, is_rehearsal=False)
    done = understudy("predict", "--bundle", str(bundle), "--json", "--file", "-", stdin="Ask é once\r\n".encode())
    (line,) = done.stdout.decode().splitlines()
    found = json.loads(line)
    assert found.pop("probability") == pytest.approx(0.119, abs=0.001)
    assert found.pop("runner_up_probability") == pytest.approx(0.881, abs=0.001)
    assert found == {
        "text": "Ask é once",
        "label": "other",
        "runner_up": "tip",
        "threshold": 0.9,
        "version": Bundle.open(bundle).version,
        "is_rehearsal": False,
        "stage": "student",
    }


def test_a_label_that_is_likelier_but_under_its_threshold_does_not_read_as_an_error(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "bundle", threshold=0.9))
    below, above = predict(bundle, ["Ask once", "We stayed"])
    assert line(below, bundle) == "other 0.119  (tip   0.881 under 0.900)  Ask once"
    assert line(above, bundle) == "other 0.982  (tip   0.018)  We stayed"


def test_a_store_without_a_published_bundle_says_what_to_do(tmp_path):
    done = understudy("predict", "--store", str(tmp_path / "store"), "Ask for a room")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("A store must hold a published bundle, got none (")
    assert "Publish one first" in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("texts", "file", "sentence"),
    [
        ([" \n"], None, r"must have words in it, got an empty one \(text 1\)"),
        ([], "empty.txt", r"got an empty one \(line 1 of empty.txt\)"),
        ([], "blanks.txt", r"got an empty one \(line 1 of blanks.txt\)"),
        ([], "nul\0.txt", r"must be a readable UTF-8 file"),
        ([], "/dev/zero", r"must be at most 33,554,432 bytes, got more \(/dev/zero\)"),
        ([], "latin.txt", r"must be a readable UTF-8 file"),
        ([], "missing.txt", r"must be a readable UTF-8 file"),
        ([], None, r"Texts must come from one place"),
        (["fine"], "blank.txt", r"Texts must come from one place"),
    ],
)
def test_texts_that_cannot_be_read_are_refused(tmp_path, monkeypatch, texts, file, sentence):
    monkeypatch.chdir(tmp_path)
    Path("blank.txt").write_text("one\n\nthree\n")
    Path("empty.txt").write_text("")
    Path("blanks.txt").write_text("\n \n")
    Path("latin.txt").write_bytes("Café\n".encode("latin-1"))
    with pytest.raises(BadInput, match=sentence):
        read_texts(texts, file)


def test_a_text_that_cannot_be_labelled_keeps_its_place_and_is_counted(tmp_path):
    """One blank line, one in Latin-1, one with a NUL and one beyond all length cost nobody else's label."""
    bundle = make_bundle(tmp_path / "bundle")
    lines = [b"Ask for a room", b"", b"Caf\xe9", b"a\0b", b"x" * (InferConfig().max_chars + 1), b"We stayed here"]
    stdin = b"\n".join(lines) + b"\n"
    done = understudy("predict", "--bundle", str(bundle), "-", stdin=stdin)
    assert done.returncode == 0
    printed = done.stdout.decode().split("\n")
    assert [line.partition(" ")[0] for line in printed] == ["tip", "-", "-", "-", "-", "other", ""]
    assert [line.partition("  (")[2] for line in printed[1:5]] == ["empty_text)", "not_utf8)", "nul_byte)", "too_long)"]
    assert "predict: 4 texts of 6 without a label: empty_text 1 (the first is text 2)" in done.stderr.decode()
    done = understudy("predict", "--bundle", str(bundle), "--json", "-", stdin=stdin)
    found = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [one["label"] for one in found] == ["tip", None, None, None, None, "other"]
    assert [one.get("reason") for one in found] == [None, "empty_text", "not_utf8", "nul_byte", "too_long", None]


def test_an_empty_text_among_arguments_keeps_its_place(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    done = understudy("predict", "--bundle", str(bundle), "Ask for a room", "")
    assert done.stdout.decode().splitlines()[1] == "-      (empty_text)"


def test_lines_end_at_line_feeds_only(tmp_path):
    (tmp_path / "texts.txt").write_text("one\u2028still one\ntwo", encoding="utf-8")
    assert read_texts([], str(tmp_path / "texts.txt")) == ["one\u2028still one", "two"]


def test_of_many_labels_a_line_names_the_runner_up_and_json_all_of_them(tmp_path):
    words = {"nice": {"praise": 3.0}, "ask": {'=tip, "so"': 2.0, "praise": 1.0}}
    folder = make_bundle(tmp_path / "three", words=words, labels=("praise", "blame 🧳", '=tip, "so"'))
    bundle = Bundle.open(folder)
    (one,) = predict(bundle, ["ask"])
    assert line(one, bundle) == '=tip, "so" 0.665  (praise     0.245)  ask'
    done = understudy("predict", "--bundle", str(folder), "--probabilities", "ask")
    found = json.loads(done.stdout)
    assert list(found["probabilities"]) == ["praise", "blame 🧳", '=tip, "so"']
    assert sum(found["probabilities"].values()) == pytest.approx(1.0)
    assert (found["threshold"], found["runner_up"]) == (None, "praise")
    assert "the likeliest of 3 labels" in done.stderr.decode()


def test_of_several_labels_a_line_names_all_and_json_lists_them(tmp_path):
    words = {"nice": {"praise": 4.0}, "ask": {"tip": 5.0}}
    folder = make_bundle(tmp_path / "several", words=words, labels=("praise", "tip", "wish"), is_many=True)
    texts = ["nice ask", "it rained"]
    done = understudy("predict", "--bundle", str(folder), *texts)
    assert done.stdout.decode().splitlines() == [
        "praise, tip 0.881  (wish   0.119)  nice ask",
        "none of the labels 0.881  (praise 0.119)  it rained",
    ]
    assert "each of 3 labels from a threshold of its own upwards (0.500 to 0.500)" in done.stderr.decode()
    done = understudy("predict", "--bundle", str(folder), "--probabilities", *texts, "nice ask ask")
    both, none, _ = map(json.loads, done.stdout.decode().splitlines())
    assert (both["label"], none["label"]) == (["praise", "tip"], [])
    assert both["probabilities"] == pytest.approx({"praise": 0.881, "tip": 0.953, "wish": 0.119}, abs=0.001)


def test_a_text_that_gets_all_labels_has_no_runner_up(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "several", bias=1.0, labels=("praise", "tip"), is_many=True))
    (one,) = predict(bundle, ["anything"])
    assert (one.label, one.runner_up, one.runner_up_probability) == ('["praise", "tip"]', None, None)
    assert line(one, bundle) == "praise, tip 0.731  anything"
    assert json.loads(json_line(one, bundle))["runner_up"] is None


def test_a_bundle_comes_from_one_place_only(tmp_path):
    done = understudy("predict", "Ask")
    assert done.returncode == 2
    assert "Give --store STORE or --bundle FOLDER" in done.stderr.decode()


def test_the_threshold_decides_and_not_the_larger_probability(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "bundle", threshold=0.1))
    (prediction,) = predict(bundle, ["an unknown sentence"])
    assert (prediction.label, round(prediction.probability, 3)) == ("tip", 0.119)


def test_predicting_needs_neither_torch_nor_transformers(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    code = (
        "import sys; from understudy.cli.main import app; "
        f"app(['predict', '--bundle', {str(bundle)!r}, 'Ask'], standalone_mode=False); "
        "heavy = {'torch', 'transformers', 'sklearn', 'polars', 'dataframely', 'openai', 'kfp'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_rollback_is_a_command_and_an_option_of_publish(tmp_path):
    store = open_store(str(tmp_path / "store"))
    versions = [
        registry.publish_bundle(store, make_bundle(tmp_path / str(bias), bias=bias), PAPERS).version
        for bias in (-1.0, -2.0, -3.0)
    ]
    done = understudy("publish", "--rollback", "--store", store.uri)
    assert done.stdout.decode() == f"rollback: {versions[1]} serves again (generation 4, {store.uri}).\n"
    done = understudy("rollback", "--store", store.uri, "--to", versions[2])
    assert registry.require_current(store).version == versions[2]
    assert understudy("rollback", "--store", store.uri, "--to", "nothing").returncode == 2


def test_texts_may_be_a_column_of_a_table(tmp_path):
    (tmp_path / "a.csv").write_text('id,body\n1,"Ask, please"\n2,\n3,We stayed\n')
    assert read_texts([], str(tmp_path / "a.csv"), "body") == ["Ask, please", "", "We stayed"]
    (tmp_path / "b.jsonl").write_text('{"body": "Ask"}\n')
    assert read_texts([], str(tmp_path / "b.jsonl"), "body") == ["Ask"]
    with pytest.raises(BadInput, match=r"must have the columns text \(or words\), got id, body"):
        read_texts([], str(tmp_path / "a.csv"), "words")
    (tmp_path / "c.csv").write_text("id,body\n1\n")
    with pytest.raises(BadInput, match="got cell_count"):
        read_texts([], str(tmp_path / "c.csv"), "body")
    with pytest.raises(BadInput, match="A column of texts must be one of a file"):
        read_texts(["Ask"], None, "body")
