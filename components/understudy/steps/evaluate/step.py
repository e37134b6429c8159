"""Run the step evaluate: measure a bundle on human labels, and render the report."""

from pathlib import Path
from typing import Any

from understudy.model import contract
from understudy.model.scoring import Bundle
from understudy.reports import evaluation as report
from understudy.runtime.shell import In, Out, Result
from understudy.stats.metrics import defined
from understudy.steps.evaluate import assemble, rivals, speed, testset
from understudy.steps.evaluate.config import EvaluateConfig
from understudy.steps.evaluate.costs import sampling_of
from understudy.store import codecs, runs, tables
from understudy.store.bundles import read_settings, require_labels
from understudy.store.storage import split_uri
from understudy.task.card import Card, load_card
from understudy.task.sections import ColumnsConfig
from understudy.task.settings import NO_OVERRIDES, Overrides

EVALUATION_FILE = "evaluation.json"


def run(
    bundle: In,
    test: In,
    evaluation: Out,
    page: Out,
    card: In | None = None,
    test_judgements: In | None = None,
    pool: In | None = None,
    gold: In | None = None,
    judgements: In | None = None,
    store: str = "",
    record: str = "",
    training_s: float = 0.0,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Measure a bundle on human labels only, beside its teacher, and decide whether it should be published.

    Any bundle on any labelled file. A refusal is a decision, not an error: the step succeeds and gives the reason.

    Args:
        bundle: the classifier to measure.
        test: the run's test split, or a CSV, JSONL or Parquet file with the columns text and label (id and group too
            when there are; with context on the card, its column context or those that it is made of).
        evaluation: evaluation.json, and predictions.parquet with every system's answers.
        page: the report, one HTML file that needs nothing else.
        card: the task card; the bundle's own when it is not given.
        test_judgements: the teacher's answers to the test texts; without them there is no comparison with it.
        pool: texts that the student learned from; with gold and judgements TF-IDF with logistic regression, learned
            from the same labels, is a rival.
        gold: human labels of the run, for that rival.
        judgements: the teacher's answers, for that rival; as the step revise hands them on, so that the report tells
            which of them were revised.
        store: folder or s3://bucket/prefix whose serving bundle is a rival; empty for none.
        record: address (file or s3://) under which the decision is put too, unless something is there: who submitted
            the run finds it there without asking the server. Empty for none.
        training_s: seconds that train took, for what the student cost; 0 where nobody knows.
        overrides: settings that this run changes, by section and name.
    """
    task = load_card(card or bundle)
    chosen = task.settings(overrides)
    config, most_faulty = chosen.of(EvaluateConfig), chosen.value("ingest.max_refused_share")
    settings = read_settings(bundle)
    require_labels(settings, task)
    texts = testset.read(test, task, test_judgements, most_faulty, chosen.of(ColumnsConfig).called)
    seen = testset.seen_texts(texts.table, task)
    scored = speed.score(bundle, seen, config.latency_texts)
    folders = {"pool": pool, "gold": gold, "judgements": judgements}
    measured = assemble.Measured(
        task,
        settings,
        texts,
        scored,
        config,
        sampling_of(chosen),
        training_s or None,
        held=_held(Bundle.open(bundle), task),
        rivals=rivals.of_run(task, folders, store, settings, seen),
    )
    found = assemble.evaluation(measured) | assemble.revision_part(_revisions(judgements))
    found["missing"] += rivals.left_out(store) if store else []
    _write(evaluation, page, found)
    tables.write(assemble.predictions(measured), tables.Evaluated, evaluation)
    told = result(found)
    if record:
        _leave(record, told)
    return told


def _held(student: Bundle, task: Card) -> list[contract.Held]:
    """Hold a bundle to the contract of the card, and of its own where that is another: by it, it is opened to serve."""
    own = load_card(student.folder)
    others = contract.hold(student, own) if own.must != task.must else []
    return [*contract.hold(student, task), *others]


def _leave(record: str, told: Result) -> None:
    """Put the decision where the run's other records are; it stays what it was first."""
    store, key = split_uri(record)
    store.put_if_absent(key, runs.as_bytes({**told.parameters, "headline": told.headline}))


def _revisions(judgements: Path | None) -> dict[str, Any] | None:
    """Read what the step revise says beside the answers that it hands on; None where they are as label wrote them."""
    if judgements is None or not (record := judgements / "revise.json").exists():
        return None
    return codecs.read_document(record, "revise")


def _write(folder: Path, page: Path, found: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EVALUATION_FILE).write_bytes(codecs.as_json(found, is_sorted=False, is_ascii=False))
    page.write_text(report.page(found), encoding="utf-8")


def result(found: dict[str, Any]) -> Result:
    """Take the headline, the metrics and the decision from the content of evaluation.json."""
    return Result(
        headline=f"{found['decision']}: {report.headline(found)}",
        metrics=_metrics(found),
        parameters={"decision": found["decision"], "reason": found["reason"]},
    )


def _metrics(found: dict[str, Any]) -> dict[str, float]:
    """Name the figures as the design does; those that are undefined are left out."""
    by_name = {system["name"]: system for system in found["systems"]}
    student = by_name["student"]
    figures = {name: interval["value"] for name, interval in student["figures"].items()}
    figures |= {
        f"{name}_{end}": student["figures"][name][end] for name in student["figures"] for end in ("low", "high")
    }
    figures |= {name: student[name] for name in ("p95_latency_ms", "cost_per_1k_usd")}
    figures["ece_floor"] = student["figures"]["ece"]["floor"]
    if comparison := found["comparison"]:
        figure, difference = comparison["figure"], comparison["difference"]
        figures[f"teacher_{figure}"] = comparison[f"teacher_{figure}"]
        figures["chance_better_than_teacher"] = comparison["chance"]
        figures |= {
            f"{figure}_over_teacher{end}": difference[key]
            for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
    return defined({name: value for name, value in figures.items() if value is not None})
