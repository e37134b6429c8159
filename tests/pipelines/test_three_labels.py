"""Three labels, none of them looked for, the whole way: a training run, a night and a week on the health forum."""

import csv
import json
from collections import Counter
from xml.etree import ElementTree as Xml

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from tests.html_pages import Page
from tests.toys import ROOT
from understudy.cli.main import app
from understudy.model.scoring import Bundle
from understudy.review.spreadsheet import raw_cell
from understudy.runners.local import run as local
from understudy.runners.request import Request
from understudy.runtime.shell import execute
from understudy.store import manifests
from understudy.store.storage import open_store
from understudy.task.card import load_card
from understudy.task.labels import LabelSpace
from understudy.teacher.injected_errors import Errors
from understudy.teacher.simulated import Plan, serve
from understudy.text import duplicates

pytestmark = pytest.mark.timeout(600)
TASK = ROOT / "pipelines/tasks/health-forum"
NIGHT, WEEK = "2026-11-01", "2026-11-02"
STORY, CLAIM, SUPPORT = NAMES = ("personal experience", "health claim", "seeking support")
LABELS_KEPT = {"train": 78, "validation": 40, "calibration": 90, "test": 90}
UNLABELLED_KEPT = 120
SETTINGS = {
    "goals": {"macro_f1": 0.5},
    "label": {"texts": 90, "min_answers": 20},
    "train": {"max_length": 48, "batch_tokens": 512},
    "evaluate": {"latency_texts": 20, "samples": 100},
    "mine": {"texts": 60, "queue_size": 10, "min_disagreement": 0.0},
    "sample": {"random_texts": 30, "stratified_texts": 10, "teacher_texts": 10},
}


def rows_of(file):
    return list(csv.DictReader(file.open(encoding="utf-8")))


def truth():
    """Return the label of every post, by its text."""
    return {row["text"]: row["label"] for row in rows_of(TASK / "answers.csv")}


def posts():
    """Return the posts of the task and of its nights."""
    return [row for file in (TASK / "texts.csv", *sorted((TASK / "nights").iterdir())) for row in rows_of(file)]


def test_each_post_of_the_task_stands_once_and_has_one_answer():
    texts = [post["text"] for post in posts()]
    assert duplicates.fold(texts, threshold=0.6) == [None] * len(texts)
    assert len({post["id"] for post in posts()}) == len(texts) == len(rows_of(TASK / "answers.csv"))
    assert truth().keys() == set(texts)


def test_every_label_of_people_is_the_answer_of_the_rehearsal_teacher_and_fills_its_split():
    labels, known = rows_of(TASK / "labels.csv"), truth()
    texts = {post["id"]: post["text"] for post in posts()}
    assert all(known[texts[row["id"]]] == row["label"] for row in labels)
    counts = Counter((row["split"], row["label"]) for row in labels)
    assert set(counts) == {(split, name) for split in LABELS_KEPT for name in NAMES}
    assert min(counts.values()) >= 20


def test_the_whole_task_is_taken_in_without_a_refusal(tmp_path):
    given = {name: str(TASK / f"{name}.csv") for name in ("texts", "labels")}
    made = {name: tmp_path / name for name in ("snapshot", "pool", "gold", "test", "refused")}
    done = execute("ingest", {"card": str(TASK / "card.yaml"), "store": str(tmp_path / "store"), **given, **made})
    assert done.metrics["refused"] == 0
    assert done.metrics["labels"] == len(rows_of(TASK / "labels.csv"))
    assert LabelSpace.of(load_card(TASK / "card.yaml")) == LabelSpace(NAMES, None)


def write(file, rows):
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_task(folder):
    """Write a small part of the task."""
    seen, labels = Counter(), rows_of(TASK / "labels.csv")
    kept = []
    for row in labels:
        seen[row["split"]] += 1
        kept += [row] if seen[row["split"]] <= LABELS_KEPT[row["split"]] else []
    labelled, others = {row["id"] for row in kept}, {row["id"] for row in labels}
    texts = rows_of(TASK / "texts.csv")
    free = [row for row in texts if row["id"] not in others][:UNLABELLED_KEPT]
    write(folder / "texts.csv", [row for row in texts if row["id"] in labelled] + free)
    write(folder / "labels.csv", kept)
    card = yaml.safe_load((TASK / "card.yaml").read_text(encoding="utf-8")) | SETTINGS
    (folder / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a store after a training run, a night, and a week whose sample people have answered."""
    folder = tmp_path_factory.mktemp("three-labels")
    write_task(folder)
    live_through(folder, TASK / "answers.csv", TASK / f"nights/{NIGHT}.csv", truth())
    return folder


def live_through(folder, answers, night, known):
    """Run a training, a night and a week whose sample people answer.

    Args:
        folder: with card, texts and labels; gets the store.
        answers: file of what the rehearsal teacher answers.
        night: file of the night's texts.
        known: what people answer, by text.
    """
    plan = Plan(answers, Errors(flip=0.05), card=folder / "card.yaml", has_logprobs=True)
    with serve(plan) as teacher, pytest.MonkeyPatch.context() as patch:
        for name, value in {"OPENAI_BASE_URL": teacher.url, "OPENAI_API_KEY": "rehearsal"}.items():
            patch.setenv(name, value)
        patch.setenv("UNDERSTUDY_CACHE", str(folder / "cache"))
        files = {name: str(folder / f"{name}.csv") for name in ("texts", "labels")}
        assert run(folder, "training", "training", **files) == 0
        assert run(folder, "nightly", "night", texts=str(night), date=NIGHT) == 0
        assert run(folder, "quality", "drawn", date=WEEK) == 0
        answer_sample(folder, known)
        assert run(folder, "quality", "answered", date=WEEK, answers=str(folder / "people.csv")) == 0


def run(folder, pipeline, name, **given):
    known = {"card": str(folder / "card.yaml"), "store": str(folder / "store"), "work": folder / "runs"}
    return local.run(Request(pipeline=pipeline, name=name, **known, **given))


def answer_sample(folder, known):
    """Fill in the sample's queue as people would."""
    queue = folder / "runs/drawn/sample/sample/queue.csv"
    drawn = csv.DictReader(queue.open(encoding="utf-8-sig"))
    write(folder / "people.csv", [{"id": row["id"], "label": known[raw_cell(row["text"])]} for row in drawn])


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def predictions(desk):
    store = open_store(str(desk / "store"))
    keys = [key for key in store.list(f"predictions/date={NIGHT}/") if key.endswith(".parquet")]
    return pl.concat([pl.read_parquet(store.read(key)) for key in keys])


def command(desk, *words):
    done = CliRunner().invoke(app, [*words, "--store", str(desk / "store")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_the_student_beats_the_commonest_label_and_is_published(desk):
    told = read(desk / "runs/training/evaluate/evaluation/evaluation.json")
    figures = {system["name"]: system["figures"]["macro_f1"] for system in told["systems"]}
    assert told["decision"] == "publish"
    assert figures["student"]["low"] > figures["majority"]["high"]
    assert [row["name"] for row in told["labels"]] == list(NAMES)


def test_a_bundle_without_a_positive_label_decides_by_costs(desk):
    bundle = Bundle.open(desk / "runs/training/calibrate/bundle")
    assert bundle.space == LabelSpace(NAMES, None)
    assert bundle.rule.threshold is None
    assert bundle.rule.costs is not None


@pytest.mark.parametrize(
    "page", ["training/report.html", "training/evaluate/page", "night/watch/page", "answered/report.html"]
)
def test_every_page_names_all_three_labels(desk, page):
    text = Page((desk / "runs" / page).read_text(encoding="utf-8")).text
    assert [name for name in NAMES if name not in text] == []


def test_model_card_and_audit_have_a_row_for_each_label(desk):
    store = open_store(str(desk / "store"))
    (card,) = (key for key in store.list("bundles/") if key.endswith("MODEL_CARD.md"))
    audit = (desk / "runs/training/audit/audit/audit.md").read_text(encoding="utf-8")
    for page in (store.read(card).decode(), audit):
        rows = [line for line in page.splitlines() if line.startswith("|")]
        assert [name for name in NAMES if not any(name in row for row in rows)] == []


def test_people_choose_among_three_labels(desk):
    store = open_store(str(desk / "store"))
    files = {key.rpartition("/")[2]: store.read(key) for key in store.list("queues/")}
    choices = Xml.fromstring(files["label-studio.xml"]).iter("Choice")  # noqa: S314 - our own
    assert tuple(choice.get("value") for choice in choices) == NAMES
    queued = list(csv.DictReader(files["queue.csv"].decode("utf-8-sig").splitlines()))
    assert queued
    table = pl.read_parquet(files["queue.parquet"])
    assert set(table["id"]) == {row["id"] for row in queued}
    assert set(table["teacher_label"]) <= set(NAMES)


def test_predict_gives_the_probability_of_each_label(desk):
    posts = ["How long did it take you?", "Magnesium prevents migraine in most people."]
    done = command(desk, "predict", "--probabilities", *posts)
    for line in done.stdout.splitlines():
        said = json.loads(line)
        assert tuple(said["probabilities"]) == NAMES
        assert sum(said["probabilities"].values()) == pytest.approx(1)
        assert {said["label"], said["runner_up"]} < set(NAMES)
        assert said["threshold"] is None


def test_a_night_counts_its_texts_by_label_and_search_finds_them_so(desk):
    given = Counter(predictions(desk)["label"].to_list())
    store = open_store(str(desk / "store"))
    manifest = manifests.read_manifest(store, NIGHT)
    assert (tuple(manifest.labels), manifest.positive_label) == (NAMES, None)
    record = json.loads(store.read(manifests.shard_key(manifest, 0)))
    assert {name: number for name, number in record["labels"].items() if number} == given
    told = command(desk, "search").stderr
    assert all(f"{number} '{name}'" in told for name, number in given.items())
    found = command(desk, "search", "--label", SUPPORT, "--json", "--limit", "100").stdout.splitlines()
    assert {json.loads(line)["label"] for line in found} == {SUPPORT}
    assert len(found) == given[SUPPORT]


def test_the_student_knows_a_night_it_has_never_seen(desk):
    texts, known = {row["id"]: row["text"] for row in rows_of(TASK / f"nights/{NIGHT}.csv")}, truth()
    right = [known[texts[row["id"]]] == row["label"] for row in predictions(desk).to_dicts()]
    assert len(right) == len(texts)
    assert sum(right) / len(right) > 0.6


def test_the_watch_follows_the_share_of_each_label(desk):
    series = read(desk / "runs/night/watch/watched/series.json")
    assert [name for name in NAMES if name not in json.dumps(series)] == []


def test_what_people_say_of_a_sample_is_told_by_label(desk):
    (sample,) = read(desk / "runs/answered/watch/watched/quality.json")["samples"]
    assert sample["answered"] == len(rows_of(desk / "people.csv"))
    assert set(sample["labels"]) == set(NAMES)
