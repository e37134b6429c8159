"""Find the kinds of errors to revise, and decide by people's labels whether their revisions are taken.

A kind of errors is what the teacher says, what people say instead, and a slice: one of the card's, one that the audit
found, or none of these. It is worth a look where it is common enough to be proven. Of its human-labelled training texts
a few are shown to the editor; on the others its revisions are compared with the teacher's labels, text by text. Taken
are those of a kind where the editor is right more often and McNemar's exact test says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from understudy.stats.draw import lot
from understudy.stats.metrics import Bools
from understudy.stats.paired import Paired
from understudy.stats.trust import trusted
from understudy.steps.revise.config import ReviseConfig
from understudy.task.card import Card, Slice
from understudy.task.labels import LabelSpace
from understudy.task.slices import in_slice
from understudy.teacher.revision import is_shown

SHOWN_SHARE = 1 / 3  # of the errors, at most, that the editor is shown: the others prove


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of errors.

    Attributes:
        given: the teacher's label.
        label: people's; None for any other.
        slice: the texts that it is about; None for all with this label, or, beside slices, for those in none of them.
        others: the slices that it is not about.
    """

    given: str
    label: str | None = None
    slice: Slice | None = None
    others: tuple[Slice, ...] = ()

    @property
    def name(self) -> str:
        """Name it as the audit does.

        >>> Category("other", "tip", Slice(name="avoid", pattern="avoid")).name
        "'other' in place of 'tip', slice 'avoid'"
        """
        kind = f"'{self.given}' given wrongly" if self.label is None else f"'{self.given}' in place of '{self.label}'"
        if self.slice is not None:
            return f"{kind}, slice '{self.slice.name}'"
        return f"{kind}, in no slice" if self.others else kind

    @property
    def error(self) -> str:
        """Say it to the editor, half a sentence."""
        instead = "another label" if self.label is None else f"'{self.label}'"
        where = "" if self.slice is None else f", in texts of the kind '{self.slice.name}'"
        return f"texts that are {instead} were labelled '{self.given}'{where}"

    def covers(self, table: pl.DataFrame) -> Bools:
        """Tell which rows it is about, by teacher_label and what its slices read. Shape (rows,)."""
        said: Bools = (table["teacher_label"] == self.given).to_numpy()
        if self.slice is not None:
            return np.asarray(said & in_slice(self.slice, table))
        for other in self.others:
            said = np.asarray(said & ~in_slice(other, table))
        return said

    def errors(self, table: pl.DataFrame) -> Bools:
        """Tell on which human-labelled rows the error was made. Shape (rows,)."""
        label = table["label"]
        is_wrong = label != self.given if self.label is None else label == self.label
        return np.asarray(self.covers(table) & is_wrong.to_numpy())


def slices_of(card: Card, audit: Mapping[str, Any]) -> list[Slice]:
    """Return the card's slices, and those that the audit found and a card could name."""
    found = audit.get("hidden", {}).get("found", [])
    unnamed = [Slice(name=part["name"], **part["keys"]) for part in found if part.get("keys")]
    return [*card.slices, *unnamed]


def candidates(human: pl.DataFrame, slices: Sequence[Slice], card: Card, config: ReviseConfig) -> list[Category]:
    """List the kinds of errors that are common enough to be proven, those with the most errors first.

    Args:
        human: human-labelled training texts with text, label, teacher_label and the columns of the slices.
        slices: that errors are told apart by.
        card: for its labels.
        config: mode, and what is enough.
    """
    labels = card.label_names
    if config.mode == "all":
        listed = [Category(given) for given in labels]
    else:
        pairs = human.filter(pl.col("label") != pl.col("teacher_label")).select("teacher_label", "label").unique()
        parts = [(part, ()) for part in slices] + [(None, tuple(slices))]
        listed = [Category(given, label, *part) for given, label in pairs.sort(pairs.columns).rows() for part in parts]
    counted = [(int(one.errors(human).sum()), int(one.covers(human).sum()), one) for one in listed]
    enough = [
        (errors, one)
        for errors, texts, one in counted
        if errors - _shown_of(errors, config) >= config.min_errors
        and (config.mode == "all" or errors >= config.min_share * texts)
    ]
    return [one for _, one in sorted(enough, key=lambda pair: -pair[0])][: config.categories]


def _shown_of(errors: int, config: ReviseConfig) -> int:
    return min(config.examples, int(errors * SHOWN_SHARE))


@dataclass(frozen=True, slots=True)
class Parted:
    """The human-labelled training texts of a category.

    Attributes:
        wrong: those that the editor is shown, on which the teacher is wrong.
        right: likewise, where it is right.
        proof: those on which its revisions are tested.
    """

    wrong: pl.DataFrame
    right: pl.DataFrame
    proof: pl.DataFrame


def part(human: pl.DataFrame, category: Category, config: ReviseConfig) -> Parted:
    """Part a category's human-labelled texts by lot.

    Args:
        human: as `candidates` takes it, and id.
        category: the kind of errors.
        config: how many are shown, and how many prove.
    """
    lots = pl.Series("lot", [lot(config.seed, "revise", name) for name in human["id"]], dtype=pl.String)
    drawn = human.with_columns(lots, is_error=pl.Series(category.errors(human), dtype=pl.Boolean))
    own = drawn.filter(pl.Series(category.covers(human), dtype=pl.Boolean)).sort("lot").drop("lot")
    errors = own.filter(pl.col("is_error"))
    wrong = errors.head(_shown_of(len(errors), config))
    right = own.filter(pl.col("label") == pl.col("teacher_label")).head(len(wrong))
    shown = pl.concat([wrong, right])["id"].implode()
    proof = own.filter(~pl.col("id").is_in(shown)).head(config.proof_texts)
    return Parted(wrong, right, proof)


def revised(texts: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Join texts with what the editor says; where it says nothing, or shows nothing for a change, the label stays.

    Args:
        texts: columns id, text and teacher_label.
        answers: of the editor, `tables.Judgements`: the label, and its span as rationale.

    Returns:
        `texts` in their order with revised_label, span, is_answered and is_unshown (a change whose span the text
        lacks).
    """
    said = answers.select("id", editor_label="label", span="rationale")
    joined = texts.join(said, on="id", how="left", maintain_order="left")
    shown = [is_shown(span, text) for span, text in joined.select("span", "text").iter_rows()]
    changes = pl.col("editor_label").is_not_null() & (pl.col("editor_label") != pl.col("teacher_label"))
    is_shown_ = pl.Series("is_shown", shown, dtype=pl.Boolean)
    return joined.with_columns(
        pl.when(changes & is_shown_).then("editor_label").otherwise("teacher_label").alias("revised_label"),
        is_answered=pl.col("editor_label").is_not_null(),
        is_unshown=changes & ~is_shown_,
    ).drop("editor_label")


def tested(proof: pl.DataFrame) -> Paired:
    """Compare the editor's labels, the first, with the teacher's by people's.

    Args:
        proof: what `revised` returns of human-labelled texts, with label and group.
    """
    right = [(proof[name] == proof["label"]).to_numpy() for name in ("revised_label", "teacher_label")]
    return Paired.of(right[0], right[1], proof["group"].to_numpy())


def is_better(found: Paired, alpha: float) -> bool:
    """Tell whether the first judge is right more often, and not by chance.

    >>> is_better(Paired(40, both=20, first=9, second=1), 0.05), is_better(Paired(40, both=20, first=3, second=1), 0.05)
    (True, False)
    """
    return found.first > found.second and found.p < alpha


def targets(proof: pl.DataFrame, labels: Sequence[str], space: LabelSpace) -> list[list[float]]:
    """Return what the editor's labels are worth: the chance of each label by people, as its tested ones were right.

    Args:
        proof: what `revised` returns of human-labelled texts.
        labels: that it gave other texts of the category, shape (texts,).
        space: the card's labels.
    """
    matrix = np.zeros((len(space), len(space)))
    answered = proof.filter(pl.col("is_answered"))
    np.add.at(matrix, (space.codes(answered["label"]), space.codes(answered["revised_label"])), 1)
    worth: list[list[float]] = trusted(matrix, space.codes(pl.Series(labels, dtype=pl.String))).tolist()
    return worth


def in_doubt_first(texts: pl.DataFrame, space: LabelSpace, seed: int) -> pl.DataFrame:
    """Sort texts so that money that is short goes to those of which the teacher was least sure; without that, by lot.

    Args:
        texts: columns id, teacher_label and teacher_probabilities.
        space: the card's labels.
        seed: of the lots.
    """
    codes = pl.Series(space.codes(texts["teacher_label"]), dtype=pl.Int64)
    lots = [lot(seed, "revise", name) for name in texts["id"]]
    sure = texts.with_columns(code=codes, lot=pl.Series(lots, dtype=pl.String)).with_columns(
        sure=pl.col("teacher_probabilities").list.get(pl.col("code"), null_on_oob=True)
    )
    return sure.sort("sure", "lot", nulls_last=True).drop("code", "lot", "sure")
