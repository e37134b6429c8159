"""Run the step audit: test the teacher against people."""

from pathlib import Path
from typing import Any

import polars as pl

from understudy.reports import audit as markdown
from understudy.review import hidden
from understudy.review.cuts import cuts_of
from understudy.review.slice_tests import SliceTest
from understudy.runtime.shell import In, Out, Result
from understudy.stats.metrics import Bools, defined
from understudy.steps.audit import hidden_summary, rules, second_look, settle, summary
from understudy.steps.audit.config import AuditConfig
from understudy.store import codecs, tables
from understudy.task import weak_rules
from understudy.task.baselines import simple_answers
from understudy.task.card import Card, Slice, load_card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.task.slices import in_slice
from understudy.teacher.answers import read_sent, teacher_answers
from understudy.text import numbers

AUDIT_FILE, PAGE_FILE = "audit.json", "audit.md"
SETTLE = "settle"  # folder with the queue that would settle what is open
NO_BIAS = "no bias of the teacher shown in a slice that the card names"
SECOND_LOOK = "second_look"  # folder with the queue of human labels that everything contradicts
MOST_NAMED = 5  # biased slices in the headline


def run(card: In, pool: In, gold: In, judgements: In, audit: Out, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Compare the teacher with people, by label and by slice, and say in words where it is biased.

    It looks at the human labels of the splits train and validation only, and not at answers to review queues: these
    texts were chosen because student and teacher disagree, so the teacher looks worse on them than it is. Answers to an
    audit's own draw from open slices count in the tests of slices alone: there are more of them than of other texts.

    Args:
        card: snapshot of the task card.
        pool: texts that may be sent to people.
        gold: human labels.
        judgements: the teacher's answers.
        audit: audit.json, the same for people as audit.md, queue.parquet with texts of biased slices to label,
            settle/queue.parquet with texts drawn by lot from slices whose bias is open, and second_look/queue.parquet
            with texts whose human label words, teacher and weak rules all contradict.
        overrides: settings that this run changes, by section and name.
    """
    task = load_card(card)
    config = task.settings(overrides).of(AuditConfig)
    said = tables.read_gold(gold, "train", "validation").with_columns(pl.col("origin").cast(pl.String))
    human = said.filter(pl.col("origin") == "labels")
    answers = teacher_answers(tables.read(judgements, tables.Judgements), task)
    judged = human.join(answers, on="id", how="inner").sort("id")
    slices = slices_of(task, judged)
    space = LabelSpace.of(task)
    codes = space.codes(judged["label"]), space.codes(judged["teacher_label"])
    members, tests = _tested(task, said.filter(pl.col("origin") != "queue"), answers, config)
    rivals = simple_answers(task, judged["text"].to_list(), codes[0]) if len(judged) else {}
    found = {
        "format": 3,
        "card": task.name,
        "is_rehearsal": bool(judged["is_rehearsal"].any()),
        "human_texts": len(human),
        "sent": read_sent(judgements),
        **summary.summarise(judged, slices, tests, space, config, rivals),
        "weak_rules": weak_rules.records(task, human["text"].to_list(), space.codes(human["label"])),
    }
    texts = tables.read(pool, tables.Texts)
    unnamed: list[hidden.HiddenTest] = []
    if config.search_candidates and len(judged):
        timed = judged.join(texts.select("id", "time"), on="id", how="left", maintain_order="left")
        found["hidden"], unnamed = _hidden(task, timed, slices, tests, config)
    unlabelled = texts.join(tables.read(gold, tables.Gold), on="id", how="anti")
    asked = unlabelled.join(answers, on="id", how="inner")
    queue = _queue(task, asked, tests, unnamed, config)
    suspects = settle.suspects_of(tests, members, config)
    settling = settle.draw(asked, slices_of(task, asked), suspects, space, config)
    found["settle"] = [
        settle.record(suspect, int((settling["slice"] == suspect.test.slice).sum()), space) for suspect in suspects
    ]
    found["second_look"], again = _second_look(task, human, answers, config)
    _write(audit, found, queue)
    tables.write(again, tables.SecondLook, audit / SECOND_LOOK)
    settling = settling.with_columns(guideline=pl.lit(Guideline.of(task).hash), settle=pl.lit(value=True))
    tables.write(settling, tables.AuditQueue, audit / SETTLE)
    return _result(found, len(queue))


def slices_of(card: Card, table: pl.DataFrame) -> dict[str, Bools]:
    """Find which rows belong to each slice of the card, each of shape (rows,)."""
    return {part.name: in_slice(part, table) for part in card.slices}


def _tested(
    card: Card, human: pl.DataFrame, answers: pl.DataFrame, config: AuditConfig
) -> tuple[dict[str, Bools], list[SliceTest]]:
    """Test the card's slices on human labels, those that were drawn to settle them among these."""
    tried, space = human.join(answers, on="id", how="inner").sort("id"), LabelSpace.of(card)
    members = slices_of(card, tried)
    codes = space.codes(tried["label"]), space.codes(tried["teacher_label"])
    return members, rules.compare_slices(*codes, members, space, config)


def _hidden(
    card: Card, table: pl.DataFrame, slices: dict[str, Bools], tests: list[SliceTest], config: AuditConfig
) -> tuple[dict[str, Any], list[hidden.HiddenTest]]:
    """Search the human-labelled texts for slices that the card does not name: the record, and what was confirmed."""
    space = LabelSpace.of(card)
    columns = {part.column for part in card.slices if part.column is not None} & set(table.columns)
    cuts = cuts_of(table, sorted(columns), config.min_labels)
    half = hidden.halves_of(table["group"].to_list(), config.seed)
    codes = space.codes(table["label"]), space.codes(table["teacher_label"])
    tested = hidden.find(*codes, cuts, half, slices, tests, space, config)
    record = hidden_summary.summarise(table, cuts, tested, space, config)
    return record, [one for one in tested if one.test.is_biased(config.alpha)]


def _queue(
    card: Card,
    pool: pl.DataFrame,
    tests: list[SliceTest],
    unnamed: list[hidden.HiddenTest],
    config: AuditConfig,
) -> pl.DataFrame:
    """Choose texts of the pool that people should label, for every bias that is proven, the card's slices first.

    A slice by time, which a card cannot name, sends none: its texts lie in the past.
    """
    space = LabelSpace.of(card)
    by_keys = [one for one in unnamed if one.cut.keys]
    proven = [*(test for test in tests if test.is_biased(config.alpha)), *(one.test for one in by_keys)]
    members = {one.cut.name: in_slice(Slice(name=one.cut.name, **one.cut.keys), pool) for one in by_keys}
    slices = members | slices_of(card, pool)
    queue = rules.queue_for(pool, slices, proven, space, config.queue_per_slice, config.seed)
    return queue.with_columns(guideline=pl.lit(Guideline.of(card).hash))


def _second_look(
    card: Card, human: pl.DataFrame, answers: pl.DataFrame, config: AuditConfig
) -> tuple[dict[str, Any] | None, pl.DataFrame]:
    """List the human labels that everything contradicts: the record, none where it is off, and the queue."""
    if not config.second_looks:
        return None, tables.empty(tables.SecondLook)
    if card.is_many:
        return second_look.record(None, config), tables.empty(tables.SecondLook)
    labelled = human.join(answers.select("id", "teacher_label"), on="id", how="left").sort("id")
    looked = second_look.find(card, labelled, config)
    return second_look.record(looked, config), second_look.queue_of(looked.suspects, card, config)


def _write(folder: Path, found: dict[str, Any], queue: pl.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    codecs.write_document(folder / AUDIT_FILE, found)
    (folder / PAGE_FILE).write_text(markdown.page(found), encoding="utf-8")
    tables.write(queue, tables.AuditQueue, folder)


def _result(found: dict[str, Any], queued: int) -> Result:
    biased = [part for part in found["slices"] if part["is_biased"]]
    agreeing: dict[str, float | None] = {
        name: found[name]["value"] for name in ("agreement", "kappa", "krippendorff_alpha") if name in found
    }
    figures = {
        **agreeing,
        **_primary(found),
        "human_labelled_texts": found["texts"],
        "biased_slices": len(biased),
        **({"hidden_slices": len(found["hidden"]["found"])} if "hidden" in found else {}),
        **_suspects(found["second_look"]),
        "queued": queued,
    }
    verdict = f"the teacher {_biases(biased, found['positive_label'])}" if biased else NO_BIAS
    verdict += _hidden_verdict(found.get("hidden"))
    agreement = f"{numbers.percent(found['agreement']['value'])} of {numbers.count(found['texts'], 'text')}"
    of_all = "all labels of " if "labels_per_text" in found else ""
    worth = found["worth"]
    faults = f"the teacher {numbers.listed(worth['faults'])}; " if worth and worth["faults"] else ""
    kappa = f", kappa {numbers.figure(worth['kappa']['value'])}" if worth else ""
    return Result(
        headline=f"{faults}{verdict}; it agrees with people on {of_all}{agreement}{kappa}",
        metrics=defined({name: value for name, value in figures.items() if value is not None}),
    )


def _suspects(looked: dict[str, Any] | None) -> dict[str, int]:
    """Return how many human labels are suspect; nothing where none was looked for."""
    return {} if looked is None or looked["suspects"] is None else {"suspect_labels": looked["suspects"]}


def _hidden_verdict(hidden_slices: dict[str, Any] | None) -> str:
    """Name the first slices that the search found."""
    if not hidden_slices or not hidden_slices["found"]:
        return ""
    names = [numbers.clipped(part["name"]) for part in hidden_slices["found"]]
    return f"; it errs more often in {numbers.few(names)}, which the card does not name"


def _primary(found: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of the label that is looked for; the mean over all where there is none."""
    if found["positive_label"] is None:
        return {f"teacher_{name}": found[name]["value"] for name in ("macro_f1", "micro_f1") if name in found}
    positive = found["classes"][found["positive_label"]]
    return {"teacher_precision": positive["precision"]["value"], "teacher_recall": positive["recall"]["value"]}


def _biases(biased: list[dict[str, Any]], positive: str | None) -> str:
    """Name the first biases in a few words each."""
    named = [_bias(part, positive) for part in biased[:MOST_NAMED]]
    more = len(biased) - len(named)
    return numbers.listed([*named, f"errs in {numbers.count(more, 'more slice')}"] if more else named)


def _bias(part: dict[str, Any], positive: str | None) -> str:
    name, label = (numbers.clipped(part[key]) for key in ("name", "label"))
    if part["given"] is not None:
        return f"gives '{numbers.clipped(part['given'])}' in place of '{label}' in '{name}'"
    return (
        f"{part['direction']} '{name}'" if part["label"] == positive else f"{part['direction']} '{label}' in '{name}'"
    )
