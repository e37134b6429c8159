"""People's answers where a text may have several labels, or none: spreadsheets, JSON lists and Label Studio."""

import csv
import io
import json
from xml.etree import ElementTree as Xml

import polars as pl
import pytest

from tests.queues import contested
from understudy.errors import BadData, BadInput
from understudy.review import labels
from understudy.review.queues import BYTE_ORDER_MARK, label_studio_page, label_studio_tasks, queue_csv
from understudy.task.card import parse_card

CARD = "hotel-tips"
NAMES = ("praise", "tip")
MANY = {
    "labels": [{"name": name, "definition": "One for $5."} for name in NAMES],
    "labels_per_text": "many",
    "positive_label": None,
    "weak_rules": None,
}


@pytest.fixture
def queue() -> pl.DataFrame:
    names = [str(number) for number in range(6)]
    return contested({"id": names, "text": [f"Text, number {name}" for name in names]}).with_columns(group="id")


@pytest.fixture
def known(store, make_card, queue):
    store.put_if_absent(f"cards/{CARD}/abc.yaml", make_card(**MANY).encode())
    store.put_if_absent(f"queues/{CARD}/one/queue.csv", queue_csv(queue).encode())
    return store


def held(store) -> dict[str, str]:
    return dict(labels.read_all(store, CARD).select("id", "label").rows())


def annotated(queue: pl.DataFrame, choices: list[list[str] | None]) -> list[dict]:
    """Tasks with what was chosen in each; None where the page was sent without a choice."""
    tasks = json.loads(label_studio_tasks(queue))
    for task, chosen in zip(tasks, choices, strict=True):
        part = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": chosen}}
        task |= {"annotations": [{"completed_by": 7, "result": [] if chosen is None else [part]}]}
    return tasks


def add(store, folder, content, name="export.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return labels.add(store, str(folder / name))


def test_a_spreadsheet_holds_several_labels_in_one_cell(known, tmp_path):
    cells = ["tip; praise", '"[""tip""]"', "praise|tip", "[]", '"tip, praise"', ""]
    done = add(known, tmp_path, "id,label\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)), "a.csv")
    both = '["praise", "tip"]'
    assert held(known) == {"0": both, "1": '["tip"]', "2": both, "3": "[]", "4": both}
    assert (done.labels, done.skipped) == (5, 1)


def test_lists_in_jsonl_are_answers(known, tmp_path):
    rows = [{"id": "0", "label": ["tip", "praise"]}, {"id": "1", "label": []}, {"id": "2", "label": "tip"}]
    add(known, tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl")
    assert held(known) == {"0": '["praise", "tip"]', "1": "[]", "2": '["tip"]'}


def test_a_list_is_no_label_where_a_text_has_one(store, make_card, tmp_path):
    store.put_if_absent(f"cards/{CARD}/abc.yaml", make_card().encode())
    with pytest.raises(BadData, match="not_a_string 1"):
        add(store, tmp_path, json.dumps({"id": "0", "label": ["tip"]}), "a.jsonl")


def test_the_page_takes_several_choices_and_none_of_the_labels_is_one_of_its_own(make_card):
    page = Xml.fromstring(label_studio_page(parse_card(make_card(**MANY))))  # noqa: S314 - our own
    choices = page.find("Choices")
    assert (choices.get("choice"), choices.get("required")) == ("multiple", "true")
    assert [(each.get("value"), each.get("alias")) for each in choices] == [
        ("praise", None),
        ("tip", None),
        ("none of the labels", "[]"),
    ]
    assert any("may have several, or none" in header.get("value") for header in page.iter("Header"))
    single = Xml.fromstring(label_studio_page(parse_card(make_card()))).find("Choices")  # noqa: S314 - our own
    assert (single.get("choice"), len(single)) == ("single", 2)


def test_all_that_was_chosen_comes_back_and_nothing_chosen_is_no_answer(known, tmp_path, queue):
    chosen = [["tip", "praise"], ["tip"], ["[]"], None, [], ["none of the labels"]]
    done = add(known, tmp_path, annotated(queue, chosen))
    assert held(known) == {"0": '["praise", "tip"]', "1": '["tip"]', "2": "[]", "5": "[]"}
    assert (done.labels, done.skipped, done.refusals) == (4, 2, [])


def test_none_of_the_labels_beside_a_label_is_no_answer_but_a_fault(known, tmp_path, queue):
    known.put_if_absent(
        f"cards/{CARD}/def.yaml", known.read(f"cards/{CARD}/abc.yaml") + b"ingest: {max_refused_share: 1}\n"
    )
    done = add(known, tmp_path, annotated(queue, [["[]", "tip"], *[["tip"]] * 5]))
    assert [(one.row, one.detail) for one in done.refusals] == [
        (1, "'none of the labels' and 1 of them in one annotation")
    ]
    assert done.labels == 5


def test_a_card_that_became_one_of_several_labels_has_other_labels(known, tmp_path, make_card):
    known.put_if_absent(
        f"cards/{CARD}/def.yaml", make_card(**{**MANY, "labels_per_text": "one", "positive_label": "tip"}).encode()
    )
    with pytest.raises(BadInput, match=r"got praise/tip and praise/tip \(labels_per_text: many\)"):
        add(known, tmp_path, "id,label\n1,tip\n", "a.csv")


def test_names_in_another_case_are_the_cards_within_a_cell_too(known, tmp_path):
    done = add(known, tmp_path, 'id,label\n1,TIP; praise\n2,"[""Tip""]"\n3,"tip, praise"\n', "a.csv")
    assert held(known) == {"1": '["praise", "tip"]', "2": '["tip"]', "3": '["praise", "tip"]'}
    assert done.in_other_letters == 2


def test_a_cell_that_was_copied_from_a_models_column_is_read_without_its_guard(store, make_card, tmp_path):
    names = ["=x; y", "other's, -"]
    card = make_card(**{**MANY, "labels": [{"name": name, "definition": "One for $5."} for name in names]})
    store.put_if_absent(f"cards/{CARD}/abc.yaml", card.encode())
    both = json.dumps(names)
    queue = contested({"id": ["0"], "text": ["One."]}).with_columns(group="id", student_label=pl.lit(both))
    row = next(csv.DictReader(io.StringIO(queue_csv(queue, has_answers=True).removeprefix(BYTE_ORDER_MARK))))
    assert row["student_label"] == '["\'=x; y", "other\'s,\' -"]'
    add(store, tmp_path, queue.select("id", label=pl.lit(row["student_label"])).write_csv(), "a.csv")
    assert held(store) == {"0": both}
