"""The real training pipeline, small: once killed and resumed by the direct runner, once by KFP's own.

The rehearsal teacher answers over HTTP, the student is the real MiniLM.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

import polars as pl
import pytest
import yaml

from tests.html_pages import Page
from tests.toys import ROOT
from understudy.review import samples
from understudy.runtime import provenance
from understudy.runtime.shell import execute
from understudy.store import hashing, layout
from understudy.store.storage import open_store
from understudy.teacher.injected_errors import Errors
from understudy.teacher.simulated import Plan, serve

pytestmark = pytest.mark.timeout(900)  # KFP's runner starts a process a task, beside other tests
TASK = ROOT / "pipelines/tasks/hotel-tips"
LABELS_KEPT = {"train": 60, "validation": 80, "calibration": 364, "test": 120}
UNLABELLED_KEPT = 160
TIP, OTHER = '=tip, "so"; <kbd>&amp; 🧳 {$1}', "other's | -"  # names that a format may take for signs of its own
STEPS = ["ingest", "label", "audit", "revise", "train", "export", "calibrate", "evaluate", "publish", "mine"]
SETTINGS = {
    "label": {"texts": 80, "min_answers": 20},
    "train": {"epochs": 1, "max_length": 48},
    "evaluate": {"latency_texts": 20, "samples": 100},
    "mine": {"texts": 30, "queue_size": 10},
    "goals": {},
}


@dataclass
class Ran:
    """A run that has ended: its folder of artifacts, its lines and its exit code."""

    folder: Path
    lines: list[str]
    code: int
    errors: str

    @property
    def steps(self):
        """The last line of each step, in the order of these; before it a slow machine says how far the step is."""
        told = [line for line in self.lines if line.partition(" ")[0] in STEPS]
        last = {line.partition(" ")[0]: number for number, line in enumerate(told)}
        return [told[number] for number in sorted(last.values())]


def write_task(folder, names=None):
    """Write a small part of the demo's task, and all its answers; `names` are other names for the labels."""
    files = ("texts", "labels", "answers")
    rows = {name: list(csv.DictReader((TASK / f"{name}.csv").open(encoding="utf-8"))) for name in files}
    for row in [*rows["labels"], *rows["answers"]] if names else ():
        row["label"] = names[row["label"]]
    seen, kept = Counter(), []
    for row in rows["labels"]:
        seen[row["split"]] += 1
        if seen[row["split"]] <= LABELS_KEPT[row["split"]]:
            kept.append(row)
    labelled = {row["id"] for row in kept}
    others = {row["id"] for row in rows["labels"]}
    free = [row for row in rows["texts"] if row["id"] not in others][:UNLABELLED_KEPT]
    texts = [row for row in rows["texts"] if row["id"] in labelled] + free
    for name, table in (("texts", texts), ("labels", kept), ("answers", rows["answers"])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    card = yaml.safe_load((TASK / "card.yaml").read_text(encoding="utf-8")) | SETTINGS
    if names:
        card["labels"] = [{**label, "name": names[label["name"]]} for label in card["labels"]]
        card["weak_rules"] = [{**rule, "label": names[rule["label"]]} for rule in card["weak_rules"]]
        card["positive_label"] = names[card["positive_label"]]
    (folder / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a small task, whose labels have awkward names."""
    folder = tmp_path_factory.mktemp("training")
    write_task(folder, {"tip": TIP, "other": OTHER})
    return folder


@pytest.fixture(scope="module")
def teacher(desk):
    """A rehearsal teacher that counts what it is asked."""
    plan = Plan(desk / "answers.csv", Errors(flip=0.05), card=desk / "card.yaml", has_logprobs=True)
    with serve(plan) as server:
        yield server


def start(desk, teacher, name, *options):
    command = [
        sys.executable,
        "-m",
        "understudy",
        "run",
        "training",
        "--name",
        name,
        "--work",
        str(desk / "runs"),
    ]
    files = ["--card", desk / "card.yaml", "--texts", desk / "texts.csv", "--labels", desk / "labels.csv"]
    return subprocess.Popen(
        [*command, *map(str, files), "--store", str(desk / f"store-{name}"), *options],
        cwd=ROOT,
        env={**os.environ, "OPENAI_BASE_URL": teacher.url, "OPENAI_API_KEY": "rehearsal"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process, folder):
    out, errors = process.communicate(timeout=600)
    return Ran(folder, out.splitlines(), process.returncode, errors)


@pytest.fixture(scope="module")
def resumed(desk, teacher):
    """A run by the direct runner that was killed while it trained, and then resumed; and what the teacher was asked."""
    folder = desk / "runs/direct"
    process = start(desk, teacher, "direct")
    while not (folder / "train").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    asked = dict(teacher.asked)
    return ended(start(desk, teacher, "direct", "--resume"), folder), asked


@pytest.fixture(scope="module")
def by_kfp(desk, teacher, resumed):
    """A run by KFP's local runner, from an empty store."""
    run = ended(start(desk, teacher, "kfp", "--runner", "kfp"), desk / "runs/kfp")
    run.folder = next((run.folder / "kfp").iterdir())
    return run


def test_a_resumed_run_publishes_and_keeps_what_was_done(resumed):
    run, _ = resumed
    assert run.code == 0, run.errors
    assert [line.split()[0] for line in run.steps] == STEPS
    assert [line.split()[0] for line in run.lines if " kept " in line] == ["ingest", "label", "audit", "revise"]


def test_what_a_run_costs_is_said_before_it_is_spent_on_the_screen_and_in_the_log(resumed):
    run, _ = resumed
    told = [line.strip() for line in run.lines if line.startswith("  ")]
    assert [line.partition(":")[0] for line in told] == ["label", "train", "mine", "in all", "prices", "teacher"]
    assert run.lines.index(f"  {told[0]}") == 2, "after the lines of the log and of ingest"
    assert all(line in (run.folder / "run.log").read_text().splitlines() for line in told)
    learned = provenance.read(run.folder / "train/student")["metrics"]["texts"]
    assert told[1].startswith(f"train: {learned:,.0f} texts, at most ")


def test_a_dry_run_says_what_a_training_costs_and_leaves_everything_as_it_is(desk, teacher, resumed):
    asked = dict(teacher.asked)
    run = ended(start(desk, teacher, "dry", "--dry-run"), desk / "runs/dry")
    assert (run.code, run.errors) == (0, "")
    assert [line.partition(":")[0] for line in run.lines] == [
        "ingest",
        "label",
        "train",
        "mine",
        "in all",
        "prices",
        "teacher",
    ]
    judged = int(provenance.read(resumed[0].folder / "label/judgements")["metrics"]["texts"])
    assert f"label: {judged} of {judged} texts to ask (0 answered): " in run.lines[1]
    assert run.lines[-2:] == [
        "prices: $2.5 a million tokens in, $10 out (by the card)",
        "teacher: texts stay in the house (127.0.0.1)",
    ]
    assert teacher.asked == asked
    assert not run.folder.exists()
    assert not (desk / "store-dry").exists()


def test_no_answer_is_asked_for_again_after_a_kill(resumed, teacher):
    run, asked = resumed
    judged = provenance.read(run.folder / "label/judgements")["metrics"]["asked"]
    assert judged > 0
    assert all(teacher.asked[text] == times for text, times in asked.items())


def test_kfps_own_runner_publishes_with_the_same_lines(by_kfp):
    assert by_kfp.code == 0, by_kfp.errors
    ran = [line.split()[0] for line in by_kfp.steps]
    assert sorted(ran) == sorted(STEPS)
    assert [step for step in ran if step != "mine"] == STEPS[:-1], "only mine may come before or after publish"


def test_with_kfps_runner_what_a_run_costs_comes_first_too(by_kfp, desk):
    told = [line.strip() for line in by_kfp.lines if line.startswith("  ")]
    names = ["ingest", "label", "train", "mine", "in all", "prices", "teacher"]
    assert [line.partition(":")[0] for line in told] == names
    assert by_kfp.lines.index(f"  {told[0]}") == 1, "after the line of the log, before any step"
    assert all(line in (desk / "runs/kfp/run.log").read_text().splitlines() for line in told)


@pytest.mark.parametrize(
    "artifact",
    [
        "ingest/snapshot",
        "ingest/pool",
        "ingest/gold",
        "ingest/test",
        "ingest/refused",
        "label/judgements",
        "label/test_judgements",
        "audit/audit",
        "revise/revised",
        "train/student",
        "export/graphs",
        "calibrate/bundle",
        "mine/queue",
    ],
)
def test_both_runners_make_the_same_artifact(resumed, by_kfp, artifact):
    direct, kfp = resumed[0].folder / artifact, by_kfp.folder / artifact
    if artifact == "label/test_judgements":  # how long answers took differs, and what a killed run may have paid
        assert all((folder / "spent.json").is_file() for folder in (direct, kfp))
        assert (direct / "judgements.parquet").read_bytes() == (kfp / "judgements.parquet").read_bytes()
        return
    assert hashing.hash_tree(direct) == hashing.hash_tree(kfp)


def test_both_runners_predict_and_decide_the_same(resumed, by_kfp):
    folders = [resumed[0].folder / "evaluate/evaluation", by_kfp.folder / "evaluate/evaluation"]
    predictions = [hashing.hash_file(folder / "predictions.parquet") for folder in folders]
    assert predictions[0] == predictions[1]
    told = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    assert told[0]["decision"] == told[1]["decision"] == "publish"
    assert figures(told[0]) == figures(told[1])


def figures(evaluation):
    return [(system["name"], system["figures"]) for system in evaluation["systems"]]


def test_both_runners_publish_the_same_bundle(desk, resumed, by_kfp):
    current = [json.loads((desk / f"store-{name}/current.json").read_text()) for name in ("direct", "kfp")]
    assert current[0]["version"] == current[1]["version"]


def test_a_card_that_says_rehearsal_nowhere_is_stamped_so_everywhere(resumed):
    folder = resumed[0].folder
    assert provenance.read(folder / "label/judgements")["parameters"]["is_rehearsal"] is True
    assert json.loads((folder / "evaluate/evaluation/evaluation.json").read_text())["is_rehearsal"] is True
    assert json.loads((folder / "calibrate/bundle/bundle.json").read_text())["is_rehearsal"] is True
    assert "rehearsal" in (folder / "evaluate/page").read_text().lower()


def test_every_artifact_knows_what_it_was_made_from(resumed):
    folder = resumed[0].folder
    files = [file for step in STEPS for file in provenance.files_in(folder / step)]
    assert len(files) == 16
    for file in files:
        record = provenance.read_file(file)
        assert record["card_hash"] == provenance.read(folder / "ingest/pool")["card_hash"]
        for place in record["inputs"].values():
            assert hashing.hash_tree(Path(place["uri"])) == place["sha256"]


@pytest.fixture(scope="module")
def week(desk, resumed, tmp_path_factory):
    """A folder with a copy of the store after a night more, its sample and its watch."""
    folder = tmp_path_factory.mktemp("week")
    shutil.copytree(desk / "store-direct", folder / "store")
    given = {"store": str(folder / "store"), "card": str(desk / "card.yaml")}
    frozen = {**given, "card": folder / "snapshot"}
    night = {"date": "2026-11-01", "overrides": ""}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_CACHE", str(folder / "cache"))
        begun = execute("shard", {**given, **night, "texts": str(desk / "texts.csv"), "snapshot": folder / "snapshot"})
        for number, shard in enumerate(begun.parameters["shards"].split(",")):
            source = {"shard": shard, "source": str(desk / "texts.csv"), "predictions": folder / f"predicted-{number}"}
            execute("infer", {**frozen, **source})
        execute("index", {**frozen, **night, "indexed": folder / "indexed"})
        drawn = {"snapshot": folder / "again", "sample": folder / "sample", "overrides": "sample.teacher_texts=0"}
        execute("sample", {**given, **night, **drawn})
        store = open_store(given["store"])
        table = samples.read_sample(store, "2026-11-01").head(5)
        samples.put_answers(store, "2026-11-01", table.select("id", "label").with_columns(annotator=pl.lit("ann")))
        execute("watch", {**frozen, **night, "watched": folder / "watched", "page": folder / "page"})
    return folder


def test_every_key_that_a_training_run_and_a_night_leave_is_of_one_family(week):
    families = {key: layout.families_of(key) for key in open_store(str(week / "store")).list()}
    assert {key: found for key, found in families.items() if len(found) != 1} == {}
    met = {found[0].pattern for found in families.values()}
    assert len(met) > 25, met


def test_labels_whose_names_are_signs_of_a_format_come_through_every_file(desk, resumed, week):
    store, run = open_store(str(desk / "store-direct")), resumed[0].folder
    for page in (run / "evaluate/page", week / "page"):
        read = Page(page.read_text(encoding="utf-8"))
        assert TIP in read.text
        assert read.all("kbd") == []
    keys = store.list("queues/")
    files = {key.rpartition("/")[2]: store.read(key) for key in keys}
    assert len(files) == len(keys)
    cells = list(csv.DictReader(files["queue.csv"].decode("utf-8-sig").splitlines()))
    assert cells
    assert set(pl.read_parquet(files["queue.parquet"])["teacher_label"]) <= {TIP, OTHER}
    assert not any(cell.startswith("=") for row in cells for cell in row.values())
    choices = Xml.fromstring(files["label-studio.xml"]).iter("Choice")  # noqa: S314 - our own
    assert [choice.get("value") for choice in choices] == [OTHER, TIP]
    (model_card,) = (key for key in store.list("bundles/") if key.endswith("MODEL_CARD.md"))
    told = (store.read(model_card).decode(), (run / "audit/audit/audit.md").read_text(encoding="utf-8"))
    for text in told:
        assert "kbd" in text
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert [line for line in tables if "other's" in line and "other's \\| -" not in line] == []
    for folder in ("evaluate/evaluation", "calibrate/bundle"):
        assert not any("kbd" in path.name for path in (run / folder).rglob("*"))
    predicted = {row["label"] for row in pl.read_parquet(next(week.rglob("00-00000.parquet"))).to_dicts()}
    assert predicted == {TIP, OTHER}
