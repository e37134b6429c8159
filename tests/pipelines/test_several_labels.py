"""Several labels for one text, or none, the whole way: a training run, a night and a week on the health forum.

Its posts have one label each; two in one are a text of both labels, and what is said between them one of none. The
labels have names that a format may take for signs of its own.
"""

import csv
import json
import random
from collections import Counter
from itertools import combinations, cycle, islice
from xml.etree import ElementTree as Xml

import pytest
import yaml

from tests.html_pages import Page
from tests.pipelines.test_three_labels import (
    CLAIM,
    NIGHT,
    STORY,
    SUPPORT,
    TASK,
    command,
    live_through,
    predictions,
    read,
    rows_of,
    truth,
    write,
)
from understudy.model.scoring import Bundle
from understudy.store import manifests
from understudy.store.storage import open_store
from understudy.task import label_sets

pytestmark = pytest.mark.timeout(600)
ODD = {STORY: '=experience, "own"; <b>', CLAIM: "claim | -", SUPPORT: "support 🧳 {$1}"}
NAMES = tuple(ODD.values())
SPLITS = {"train": 50, "validation": 50, "calibration": 100, "test": 100}
TEXTS, AT_NIGHT = 420, 40  # 300 labelled, 80 more to learn from
OPENINGS = ("Good morning", "Thanks", "See", "Page", "Hello again", "Edited", "Moved", "Bumping", "Title", "Closing")
ENDINGS = ("everyone", "all", "the link above", "two of three", "and goodbye", "for the spelling", "to the other board")
SETTINGS = {
    "labels_per_text": "many",
    "confusion_costs": [],
    "goals": {"macro_f1": 0.5, "micro_f1": 0.5, "labels": {NAMES[0]: {"recall": 0.2}}},
    "label": {"texts": 40, "min_answers": 20},
    "train": {"max_length": 64, "batch_tokens": 512},
    "evaluate": {"latency_texts": 20, "samples": 100},
    "mine": {"texts": 60, "queue_size": 10, "min_disagreement": 0.0},
    "sample": {"random_texts": 30, "stratified_texts": 10, "teacher_texts": 10},
}


def posts():
    """Return texts with the set of their labels: of each label alone, of two, and of none, in turns."""
    draw = random.Random(20261130)  # noqa: S311 - mixes texts
    by_label = {name: sorted(text for text, label in truth().items() if label == name) for name in ODD}
    for texts in by_label.values():
        draw.shuffle(texts)
    own = {name: iter(texts) for name, texts in by_label.items()}
    nothing = iter([f"{opening} {ending}." for opening in OPENINGS for ending in ENDINGS])
    kinds = [*([name] for name in ODD), *map(list, combinations(ODD, 2)), []]
    found = []
    for kind in islice(cycle(kinds), TEXTS):
        parts = [next(own[name]) for name in kind] if kind else [next(nothing)]
        found.append((" ".join(parts), label_sets.ordered([ODD[name] for name in kind], NAMES)))
    return found


def write_task(folder):
    """Write card, texts, labels, a night, and what the rehearsal teacher answers."""
    texts = [(f"p{number}", text, labels) for number, (text, labels) in enumerate(posts())]
    splits = [split for split, size in SPLITS.items() for _ in range(size)]
    labelled, rest = texts[: len(splits)], texts[len(splits) :]
    write(folder / "texts.csv", [{"id": name, "text": text} for name, text, _ in texts[:-AT_NIGHT]])
    rows = [
        {"id": name, "label": labels, "split": split} for (name, _, labels), split in zip(labelled, splits, strict=True)
    ]
    write(folder / "labels.csv", rows)
    write(folder / "night.csv", [{"id": name, "text": text} for name, text, _ in rest[-AT_NIGHT:]])
    write(folder / "answers.csv", [{"text": text, "label": labels} for _, text, labels in texts])
    card = yaml.safe_load((TASK / "card.yaml").read_text(encoding="utf-8")) | SETTINGS
    card["labels"] = [{**label, "name": ODD[label["name"]]} for label in card["labels"]]
    card["weak_rules"] = [{**rule, "label": ODD[rule["label"]]} for rule in card.get("weak_rules", [])]
    (folder / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a store after a training run, a night, and a week whose sample people have answered."""
    folder = tmp_path_factory.mktemp("several-labels")
    write_task(folder)
    live_through(folder, folder / "answers.csv", folder / "night.csv", answers_of(folder))
    return folder


def answers_of(folder):
    return {row["text"]: row["label"] for row in rows_of(folder / "answers.csv")}


def test_the_texts_have_one_label_two_or_none():
    counts = Counter(len(label_sets.read(labels)) for _, labels in posts())
    assert min(counts[number] for number in (0, 1, 2)) >= 60


def test_the_student_beats_the_commonest_labels_and_is_published(desk):
    told = read(desk / "runs/training/evaluate/evaluation/evaluation.json")
    figures = {system["name"]: system["figures"] for system in told["systems"]}
    assert told["decision"] == "publish"
    assert figures["student"]["macro_f1"]["low"] > figures["majority"]["macro_f1"]["high"]
    assert {"micro_f1", "accuracy", "weighted_f1"} <= set(figures["student"])
    assert {row["name"] for row in told["labels"]} == set(NAMES)


def test_each_label_has_a_threshold_of_its_own(desk):
    bundle = Bundle.open(desk / "runs/training/calibrate/bundle")
    assert bundle.space.is_many
    assert bundle.rule.thresholds.shape == (len(NAMES),)


@pytest.mark.parametrize(
    "page", ["training/report.html", "training/evaluate/page", "night/watch/page", "answered/report.html"]
)
def test_every_page_names_all_labels_and_shows_no_list_as_it_is_stored(desk, page):
    text = Page((desk / "runs" / page).read_text(encoding="utf-8")).text
    assert [name for name in NAMES if name not in text] == []
    assert '["' not in text


def test_people_may_choose_several_labels(desk):
    store = open_store(str(desk / "store"))
    files = {key.rpartition("/")[2]: store.read(key) for key in store.list("queues/")}
    page = Xml.fromstring(files["label-studio.xml"])  # noqa: S314 - our own
    (choices,) = page.iter("Choices")
    assert choices.get("choice") == "multiple"
    assert [choice.get("value") for choice in choices.iter("Choice")][: len(NAMES)] == list(NAMES)
    queued = list(csv.DictReader(files["queue.csv"].decode("utf-8-sig").splitlines()))
    assert queued


def test_a_night_counts_each_label_of_a_text_and_search_finds_the_text_by_each(desk):
    sets = [label_sets.read(labels) for labels in predictions(desk)["label"]]
    assert len(sets) == AT_NIGHT
    given = Counter(name for labels in sets for name in labels)
    store = open_store(str(desk / "store"))
    manifest = manifests.read_manifest(store, NIGHT)
    record = json.loads(store.read(manifests.shard_key(manifest, 0)))
    assert {name: number for name, number in record["labels"].items() if number} == given
    for name in NAMES:
        found = command(desk, "search", "--label", name, "--json", "--limit", "100").stdout.splitlines()
        assert len(found) == given[name]
        assert all(name in json.loads(line)["label"] for line in found)


def test_the_student_knows_a_night_it_has_never_seen(desk):
    known, texts = answers_of(desk), {row["id"]: row["text"] for row in rows_of(desk / "night.csv")}
    truths = [set(label_sets.read(known[texts[row["id"]]])) for row in predictions(desk).to_dicts()]
    given = [set(label_sets.read(row["label"])) for row in predictions(desk).to_dicts()]
    right = sum(len(a & b) for a, b in zip(truths, given, strict=True))
    assert 2 * right / sum(len(a) + len(b) for a, b in zip(truths, given, strict=True)) > 0.6


def test_what_people_say_of_a_sample_is_told_by_label(desk):
    (sample,) = read(desk / "runs/answered/watch/watched/quality.json")["samples"]
    assert sample["answered"] == len(rows_of(desk / "people.csv"))
    assert set(sample["labels"]) == set(NAMES)
