"""From Python: typed answers, the same as the command's, in bounded memory, and a package that is cheap to import."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.bundles import make_bundle
from understudy import Classifier, open_classifier
from understudy.cli.predict import command
from understudy.errors import BadInput
from understudy.serving import predictions
from understudy.store import registry

ROOT = Path(__file__).parents[2]
PAPERS = {"report.html": b"<p>worth it</p>"}
TEXTS = ["Ask for a room at the back.", " ", "The lift is slow.", "a\0b", "Avoid the ferry.", "half \udfff"]


@pytest.fixture
def published(tmp_path, store, monkeypatch) -> str:
    """A store that serves a bundle."""
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    registry.publish_bundle(store, make_bundle(tmp_path / "bundle"), PAPERS)
    return store.uri


def snippet() -> str:
    """The Python that docs/python.md shows."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(encoding="utf-8"), re.DOTALL)
    return code


def python(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "components"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "MYPYPATH": str(ROOT / "components"), **more}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, check=False, capture_output=True, text=True)


def test_python_says_what_the_command_says(published):
    sound = [text for text in TEXTS if "\0" not in text and text.isascii()]
    told = CliRunner().invoke(command, ["--store", published, "--probabilities", *sound])
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    found = list(open_classifier(published).label(sound))
    assert [one.label for one in found] == [line["label"] for line in lines]
    assert [one.probability for one in found] == [line["probability"] for line in lines]
    assert [one.probabilities for one in found] == [line.get("probabilities", {}) for line in lines]


def test_a_text_that_cannot_be_labelled_keeps_its_place_and_says_why(published):
    found = list(open_classifier(published).label(TEXTS))
    assert [one.why_not for one in found] == ["", "empty_text", "", "nul_byte", "", "not_utf8"]
    assert [one.label is None for one in found] == [bool(one.why_not) for one in found]
    assert [one.text for one in found][:5] == TEXTS[:5]


def test_a_bundle_in_a_folder_answers_as_the_published_one(published, tmp_path):
    own, served = open_classifier(bundle=tmp_path / "bundle"), open_classifier(published)
    assert (own.version, own.labels) == (served.version, served.labels) == (own.version, ("other", "tip"))
    assert list(own.label(TEXTS)) == list(served.label(TEXTS))


def test_texts_are_read_only_as_far_as_answers_are_taken(published, monkeypatch):
    monkeypatch.setattr(predictions, "MOST_AT_ONCE", 3)
    read = []
    answers = open_classifier(published).label(read.append(text) or text for text in TEXTS * 10)
    next(answers)
    assert len(read) == 4  # three, and the one that does not fit beside them
    assert len([*answers]) == len(TEXTS) * 10 - 1


def test_long_texts_are_scored_a_few_at_once():
    parts = predictions._parts(["a" * 3_000_000] * 5)
    assert [len(part) for part in parts] == [2, 2, 1]


@pytest.mark.parametrize(
    ("texts", "told"),
    [("one text", "got one string"), (["a", None], r"got NoneType \(text 2\)"), ([b"a"], "got bytes")],
)
def test_what_is_no_list_of_texts_is_refused_in_a_sentence(published, texts, told):
    with pytest.raises(BadInput, match=told):
        list(open_classifier(published).label(texts))


@pytest.mark.parametrize("turns", ["one turn", [None]])
def test_what_is_no_list_of_turns_is_refused_in_a_sentence(published, turns):
    with pytest.raises(BadInput, match="Turns must be a list of strings"):
        list(open_classifier(published).label(["a text"], turns=turns))


def test_a_classifier_comes_from_one_place(published, tmp_path):
    for given in ({}, {"store": published, "bundle": tmp_path / "bundle"}):
        with pytest.raises(BadInput, match="must come from one place"):
            open_classifier(**given)


def test_several_labels_are_read_as_several(tmp_path):
    folder = make_bundle(tmp_path / "several", bias=1.0, labels=("praise", "tip"), is_many=True)
    (both,) = open_classifier(bundle=folder).label(["anything"])
    assert both.labels == ("praise", "tip")
    assert both.probability == min(both.probabilities.values())
    with pytest.raises(BadInput, match="Read `labels`"):
        _ = both.label


def test_the_lines_of_the_docs_are_typed_and_run(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    from understudy.store.storage import open_store

    registry.publish_bundle(open_store(str(tmp_path / "store")), make_bundle(tmp_path / "bundle"), PAPERS)
    (tmp_path / "lines.py").write_text(snippet(), encoding="utf-8")
    assert len([line for line in snippet().splitlines() if line]) <= 5
    typed = python("-m", "mypy", "--strict", "--python-version", "3.11", "lines.py", cwd=tmp_path)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    done = python("lines.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()][1] == "empty_text"


def test_importing_the_package_loads_no_library(tmp_path):
    code = "import sys, understudy; print([name for name in ('numpy', 'pydantic', 'click') if name in sys.modules])"
    assert python("-c", code, cwd=tmp_path).stdout.strip() == "[]"
    assert Classifier.__name__ == "Classifier"
