"""Summarise the revisions: the content of revise.json, and the sentences in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from understudy.stats import metrics
from understudy.stats.paired import Paired
from understudy.steps.revise.config import ReviseConfig
from understudy.steps.revise.rules import Category
from understudy.task.card import Card
from understudy.teacher.labeller import Judged
from understudy.text import numbers

TEXT_SHOWN = 200  # signs of an example
EXAMPLES = 10
NOBODY = pl.DataFrame(schema={"id": pl.String})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one kind of errors.

    Attributes:
        category: the kind.
        errors: on how many of the texts that prove the teacher made it.
        proof: what `rules.revised` returns of the human-labelled texts.
        tested: the editor against the teacher on these.
        is_accepted: whether its revisions are taken.
        is_budget_spent: whether the editor's budget ended the asking.
        judged: what asking took.
        texts: of the pool, that the kind covers; none before it is accepted.
        revised: what `rules.revised` returns of these.
        rows: judgements of the editor in the place of the teacher's; None before it is accepted.
    """

    category: Category
    errors: int
    proof: pl.DataFrame
    tested: Paired
    is_accepted: bool
    is_budget_spent: bool
    judged: tuple[Judged, ...]
    texts: pl.DataFrame = field(default_factory=lambda: NOBODY)
    revised: pl.DataFrame | None = None
    rows: pl.DataFrame | None = None

    @property
    def asked(self) -> list[pl.DataFrame]:
        """What `rules.revised` returns of the texts that were asked about."""
        return [self.proof] if self.revised is None else [self.proof, self.revised]

    @property
    def changed(self) -> pl.DataFrame:
        """The texts of the pool whose label is another now."""
        if self.revised is None:
            return NOBODY
        return self.revised.filter(pl.col("revised_label") != pl.col("teacher_label"))


@dataclass(frozen=True, slots=True)
class Revision:
    """What became of all kinds.

    Attributes:
        outcomes: of each kind that was tried.
        spent_usd: what the editor cost in this store so far, by every run.
        is_rehearsal: whether it was a rehearsal.
        sent: where the texts that it was asked about went, as the labeller counts them; None where none was.
    """

    outcomes: tuple[Outcome, ...] = ()
    spent_usd: float = 0.0
    is_rehearsal: bool = False
    sent: Mapping[str, Any] | None = None


NONE = Revision()


def why_none(card: Card, config: ReviseConfig, kinds: Sequence[Category]) -> str:
    """Say why nobody is asked; empty where somebody is."""
    if config.mode == "raw":
        return "revise.mode is raw"
    if card.models is None or card.models.editor is None:
        return "the card names no editor (models.editor)"
    if card.is_many:
        return "a text may have several labels, which the editor does not revise"
    if not kinds:
        return (
            f"no kind of error has {config.min_errors:,} human-labelled training texts to prove it, and is frequent "
            "enough (revise.min_errors, revise.min_share)"
        )
    return ""


def record(card: Card, config: ReviseConfig, revision: Revision, reason: str, texts: int) -> dict[str, Any]:
    """Return the content of revise.json.

    Args:
        card: the task.
        config: the step's settings.
        revision: what was done.
        reason: why nothing was; else empty.
        texts: judgements in all.
    """
    editor = card.models.editor if card.models else None
    outcomes = revision.outcomes
    figures = {
        "categories": len(outcomes),
        "accepted": sum(one.is_accepted for one in outcomes),
        "revised": sum(len(one.rows) for one in outcomes if one.rows is not None),
        "changed": sum(len(one.changed) for one in outcomes),
        "unshown": sum(int(table["is_unshown"].sum()) for one in outcomes for table in one.asked),
        "unanswered": sum(int((~table["is_answered"]).sum()) for one in outcomes for table in one.asked),
        "cost_usd": round(sum(float(each.table["cost_usd"].sum()) for one in outcomes for each in one.judged), 6),
    }
    return {
        "format": 1,
        "card": card.name,
        "mode": config.mode,
        "teacher": card.teacher.model,
        "editor": editor.model if editor else None,
        "is_rehearsal": revision.is_rehearsal,
        "reason": reason,
        "judgements": texts,
        "figures": figures,
        "budget_usd": editor.budget_usd if editor else None,
        "sent": revision.sent,
        "sentence": "" if reason else _whole(figures, card, texts),
        "categories": [_category(one, config) for one in outcomes],
        "method": _method(config),
    }


def metrics_of(found: Mapping[str, Any], revision: Revision) -> dict[str, float]:
    """Return the step's metrics: what the record has, and what this run asked and paid, which is no part of that.

    Args:
        found: the record.
        revision: what was done.
    """
    judged = [each for one in revision.outcomes for each in one.judged]
    return {
        **found["figures"],
        "asked": sum(each.asked for each in judged),
        "from_store": sum(each.from_store for each in judged),
        "failed": sum(each.failures for each in judged),
        "cost_usd": round(sum(each.cost_usd for each in judged), 6),
        "spent_usd": round(revision.spent_usd, 6),
    }


def headline(found: Mapping[str, Any], figures: Mapping[str, float]) -> str:
    """Say in a few words what was revised, or why nothing was.

    >>> headline({"reason": "revise.mode is raw", "judgements": 1200}, {})
    '1,200 judgements handed on as they are: revise.mode is raw'
    """
    if found["reason"]:
        return f"{numbers.count(found['judgements'], 'judgement')} handed on as they are: {found['reason']}"
    more = f", {figures['failed']:,} failed" if figures["failed"] else ""
    rehearsed = " (rehearsal)" if found["is_rehearsal"] else ""
    return (
        f"{figures['accepted']} of {numbers.count(figures['categories'], 'kind')} of errors revised, "
        f"{figures['changed']:,} of {numbers.count(found['judgements'], 'label')} changed ({figures['asked']:,} asked, "
        f"{figures['from_store']:,} from the store{more}), {numbers.usd(figures['spent_usd'])} of "
        f"{numbers.usd(found['budget_usd'])}{rehearsed}"
    )


def _whole(figures: Mapping[str, float], card: Card, texts: int) -> str:
    """Say what was revised in all."""
    editor = card.acting("editor").teacher.model
    return (
        f"The editor {editor} was tried on {numbers.count(figures['categories'], 'kind')} of errors of the teacher "
        f"{card.teacher.model}, and the revisions of {figures['accepted']:,} were taken: {figures['changed']:,} of "
        f"{numbers.count(texts, 'label')} changed. These answers cost {numbers.usd(figures['cost_usd'])}."
    )


def _category(one: Outcome, config: ReviseConfig) -> dict[str, Any]:
    found, texts = one.tested, len(one.proof)
    changed = one.changed
    counted = Counter(changed["revised_label"].to_list()) if len(changed) else {}
    return {
        "name": one.category.name,
        "given": one.category.given,
        "label": one.category.label,
        "slice": one.category.slice.name if one.category.slice else None,
        "errors": one.errors,
        "proof_texts": texts,
        "before": metrics.as_record(metrics.wilson(found.both + found.second, texts)),
        "after": metrics.as_record(metrics.wilson(found.both + found.first, texts)),
        "difference": metrics.as_record(found.difference()),
        "mended": found.first,
        "spoiled": found.second,
        "p_value": found.p,
        "is_accepted": one.is_accepted,
        "texts": len(one.texts),
        "answered": 0 if one.revised is None else int(one.revised["is_answered"].sum()),
        "changed": dict(counted),
        "is_budget_spent": one.is_budget_spent,
        "sentence": _sentence(one, config),
        "examples": _examples(changed),
    }


def _sentence(one: Outcome, config: ReviseConfig) -> str:
    """Say what became of a kind of errors, with the arithmetic."""
    found, texts = one.tested, len(one.proof)
    if one.is_budget_spent and not one.is_accepted:
        return "Dropped: the editor's budget (models.editor.budget_usd) ended before its revisions were tested."
    arithmetic = (
        f"on {numbers.count(texts, 'human-labelled training text')} the teacher's labels were right on "
        f"{found.both + found.second:,} and the editor's on {found.both + found.first:,}: it mended {found.first:,} "
        f"and spoiled {found.second:,} (McNemar's {numbers.p_value(found.p)})"
    )
    if not one.is_accepted:
        why = "helps" if found.first > found.second else "does not help"
        proven = f", which is not proven at {config.alpha:g}" if why == "helps" else ""
        return f"Dropped, for the editor {why} here{proven}: {arithmetic}."
    ended = "; the rest keep the teacher's, for the editor's budget ended" if one.is_budget_spent else ""
    answered = 0 if one.revised is None else int(one.revised["is_answered"].sum())
    return (
        f"Accepted: {arithmetic}. Of {numbers.count(len(one.texts), 'such text')} of the pool it judged {answered:,} "
        f"and changed {len(one.changed):,}{ended}."
    )


def _examples(changed: pl.DataFrame) -> list[dict[str, Any]]:
    if not len(changed):
        return []
    rows = changed.sort("id").head(EXAMPLES).select("id", "text", "teacher_label", "revised_label", "span")
    return [{**row, "text": numbers.clip(row["text"], TEXT_SHOWN)} for row in rows.to_dicts()]


def _method(config: ReviseConfig) -> str:
    return (
        "Kinds of errors are told apart by the teacher's label, people's label and slice, on training texts with human "
        "labels alone. Of each, a few are shown to the editor and the others test it: its revisions are taken where it "
        f"is right on more of them than the teacher and McNemar's exact test, two-sided, has p below {config.alpha:g}. "
        "Where the editor has no usable answer, or names words that the text lacks, the label stays. What a revised "
        "label is worth to the student is how often the editor was right on the texts of the test."
    )
