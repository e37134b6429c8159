"""Our queue in a real Label Studio, and its exports taken in again."""

import csv
import io
import json

import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.pipelines.test_training import OTHER, TIP
from tests.queues import contested
from understudy.errors import BadData
from understudy.review import labels
from understudy.review.queues import label_studio_page, label_studio_tasks, queue_csv
from understudy.task.card import parse_card
from understudy.task.label_sets import written

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
CARD = "hotel-tips"
ODD = ['It cost $5 & "more" <b>', "=1+1", "été 😀 — наш", "two\nlines", " blanks around ", "'quoted'", "-"]


@pytest.fixture(scope="module")
def queue() -> pl.DataFrame:
    """Ids that are numbers in an order of their own, so that Label Studio's are ids of other texts; and odd texts."""
    texts = [*ODD, *(f"Text, number {number}." for number in range(12))]
    ids = [str(len(texts) - place) for place in range(len(texts))]
    return contested({"id": ids, "text": texts}).with_columns(group="id")


@pytest.fixture(scope="module")
def project(label_studio, queue):
    """A project in which every third task is a tip and every third is left; its labels have awkward names."""
    labels = [{"name": name, "definition": "One for $5, {so} & <more>."} for name in (OTHER, TIP)]
    asked = {"question": 'Does "this" cost $5 & more?', "labels": labels, "positive_label": TIP, "weak_rules": None}
    card = parse_card(card_yaml(**asked))
    made = label_studio.project(label_studio_page(card), label_studio_tasks(queue))
    for place, task in enumerate(label_studio.tasks(made)):
        if place % 3:
            label_studio.choose(task["id"], TIP if place % 3 == 1 else OTHER)
    return made


@pytest.fixture
def known(store, queue):
    labels = [{"name": name, "definition": "x"} for name in (OTHER, TIP)]
    text = card_yaml(labels=labels, positive_label=TIP, weak_rules=None)
    store.put_if_absent(f"cards/{CARD}/abc.yaml", text.encode())
    store.put_if_absent(f"queues/{CARD}/one/queue.csv", queue_csv(queue).encode())
    return store


def chosen(label_studio, project) -> dict[str, str]:
    """What was chosen, by our id, as its tasks say it."""
    places = {task["data"]["understudy_id"]: place for place, task in enumerate(label_studio.tasks(project))}
    return {name: TIP if place % 3 == 1 else OTHER for name, place in places.items() if place % 3}


def test_every_answer_comes_back_under_its_texts_id(label_studio, project, known, queue, tmp_path):
    (tmp_path / "export.json").write_bytes(label_studio.export(project, "JSON"))
    added = labels.add(known, str(tmp_path / "export.json"))
    wanted = chosen(label_studio, project)
    assert added.labels == len(wanted) == len(queue) * 2 // 3
    assert dict(labels.read_all(known, CARD).select("id", "label").rows()) == wanted


def test_a_text_shows_as_it_stands(label_studio, project, queue):
    assert [task["data"]["text"] for task in label_studio.tasks(project)] == queue["text"].to_list()


@pytest.mark.parametrize(("kind", "file"), [("JSON_MIN", "min.json"), ("CSV", "a.csv"), ("TSV", "a.tsv")])
def test_an_export_that_writes_over_the_ids_is_refused(label_studio, project, known, tmp_path, kind, file):
    (tmp_path / file).write_bytes(label_studio.export(project, kind))
    with pytest.raises(BadData, match="choose JSON"):
        labels.add(known, str(tmp_path / file))


def test_its_json_min_does_write_over_an_id(label_studio, project):
    rows = json.loads(label_studio.export(project, "JSON_MIN"))
    assert any(str(row["id"]) != row["understudy_id"] for row in rows)
    table = csv.DictReader(io.StringIO(label_studio.export(project, "CSV").decode()))
    assert "annotation_id" in (table.fieldnames or [])


def test_several_choices_and_none_come_back_as_sets(label_studio, store, queue, tmp_path):
    names = [{"name": name, "definition": "x"} for name in (OTHER, TIP)]
    text = card_yaml(labels=names, labels_per_text="many", positive_label=None, weak_rules=None)
    made = label_studio.project(label_studio_page(parse_card(text)), label_studio_tasks(queue))
    answers = [(OTHER, TIP), (TIP,), ("[]",)]
    wanted = {}
    for task, given in zip(label_studio.tasks(made), answers, strict=False):
        label_studio.choose(task["id"], *given)
        wanted[task["data"]["understudy_id"]] = "[]" if given == ("[]",) else written(given)
    store.put_if_absent(f"cards/{CARD}/abc.yaml", text.encode())
    store.put_if_absent(f"queues/{CARD}/one/queue.csv", queue_csv(queue).encode())
    (tmp_path / "export.json").write_bytes(label_studio.export(made, "JSON"))
    assert labels.add(store, str(tmp_path / "export.json")).labels == len(answers)
    assert dict(labels.read_all(store, CARD).select("id", "label").rows()) == wanted
