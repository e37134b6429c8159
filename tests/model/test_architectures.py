"""The students by name are as their page says."""

import re

import pytest
from click.testing import CliRunner

from tests.toys import ROOT
from understudy.cli.main import app
from understudy.model.architectures import STUDENTS, told_language
from understudy.task.template import new_card

ROW = re.compile(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", re.M)


def test_the_page_names_every_student_with_its_weights_licence_and_languages():
    found = {row[0]: row[1:] for row in ROW.findall((ROOT / "docs/students.md").read_text(encoding="utf-8"))}
    assert found == {name: (one.weights, one.license, one.languages) for name, one in STUDENTS.items()}


def test_the_card_of_a_new_task_names_every_student():
    card = new_card("tips", ["tip", "other"])
    assert [name for name in STUDENTS if f" {name}" not in card.replace(",", " ").replace(";", " ")] == []


@pytest.mark.parametrize("student", [name for name, one in STUDENTS.items() if one.languages == "English"])
def test_a_student_of_english_is_named_with_those_that_read_the_language_of_the_card(student):
    assert told_language(student, "en-gb") is None
    assert "for de use multilingual-minilm, mmbert-small or mmbert-base" in told_language(student, "de")


def test_a_check_of_a_card_says_what_of_its_student_does_not_fit_and_what_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    card = new_card("tips").replace("language: en ", "language: de ")
    (tmp_path / "fits.yaml").write_text(new_card("tips"))
    (tmp_path / "speaks.yaml").write_text(card)
    (tmp_path / "misses.yaml").write_text(card.replace("student: minilm", "student: mmbert-small"))
    (tmp_path / "strange.yaml").write_text(card.replace("student: minilm", "student: no-such"))
    said = {name: check(tmp_path / f"{name}.yaml") for name in ("fits", "speaks", "misses", "strange")}
    assert said["fits"] == []
    assert said["speaks"] == [f"student: {told_language('minilm', 'de')}"]
    assert "jhu-clsp/mmBERT-small of the model hub, 140 million parameters" in said["misses"][0]
    assert "got 'no-such'" in said["strange"][0]


def check(card):
    """Return what is said beside that the card is sound."""
    return CliRunner().invoke(app, ["card", "check", str(card)], catch_exceptions=False).stdout.splitlines()[1:]
