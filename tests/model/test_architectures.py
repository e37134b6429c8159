"""The students by name are as their page says."""

import re

from tests.toys import ROOT
from understudy.model.architectures import STUDENTS
from understudy.task.template import new_card

ROW = re.compile(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", re.M)


def test_the_page_names_every_student_with_its_weights_licence_and_languages():
    found = {row[0]: row[1:] for row in ROW.findall((ROOT / "docs/students.md").read_text(encoding="utf-8"))}
    assert found == {name: (one.weights, one.license, one.languages) for name, one in STUDENTS.items()}


def test_the_card_of_a_new_task_names_every_student():
    card = new_card("tips", ["tip", "other"])
    assert [name for name in STUDENTS if f" {name}" not in card.replace(",", " ").replace(";", " ")] == []
