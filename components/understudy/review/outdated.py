"""List labels that were given by other guidelines than the card's, and compare what was said of a text under two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from understudy.review import guidelines, labels, samples
from understudy.review.origins import ANSWERED
from understudy.stats import metrics
from understudy.stats.metrics import Interval
from understudy.task.guideline import Change, Guideline
from understudy.task.labels import LabelSpace


@dataclass(frozen=True, slots=True)
class Older:
    """Labels that count though they were given by another guideline than the card's.

    Attributes:
        guideline: its hash, or what a labels file calls it; None where nobody says by which.
        change: from it to the card's; None where the store has no card with it, so that it may be any.
        votes: columns id, label, annotator, and is_touched: whether the change may touch it by its words.
    """

    guideline: str | None
    change: Change | None
    votes: pl.DataFrame

    @property
    def touched(self) -> pl.DataFrame:
        """The votes that may be touched."""
        return self.votes.filter("is_touched")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the labels of the same texts agree under two guidelines.

    Attributes:
        texts: that have a label under both.
        same: the share with the same label, or with exactly the same ones, with its 95% score interval.
        kappa: Cohen's, with its 95% bootstrap interval; over each text and label where a text may have several; nan
            where it is undefined, as where all texts had one label before.
    """

    texts: int
    same: Interval
    kappa: Interval


def older(votes: pl.DataFrame, known: Mapping[str, Guideline], now: Guideline, space: LabelSpace) -> list[Older]:
    """Find the labels that count and are not by the card's guideline, for each that they were given by.

    Args:
        votes: all that the store holds.
        known: guidelines of the card's versions, by their hashes.
        now: the card's.
        space: the card's labels.

    Returns:
        those with the first labels first. Of a text's labels only those by the newest guideline that it has count, and
        one that has a label by the card's is in none.
    """
    counting = labels.current(guidelines.ranked(votes, now.hash), "guideline")
    counting = counting.filter(pl.col("guideline_rank") == pl.col("guideline_rank").max().over("id"))
    past = counting.filter(pl.col("guideline").ne_missing(pl.lit(now.hash))).sort("segment", "row")
    return [_older(guideline, part, known, now, space) for (guideline,), part in _parts(past)]


def _parts(votes: pl.DataFrame) -> list[tuple[tuple[str | None], pl.DataFrame]]:
    """Part votes by guideline."""
    return list(votes.group_by("guideline", maintain_order=True))


def _older(
    guideline: str | None, votes: pl.DataFrame, known: Mapping[str, Guideline], now: Guideline, space: LabelSpace
) -> Older:
    before = known.get(guideline) if guideline else None
    change = before.change_to(now) if before else None
    given = votes["label"].unique().to_list()
    touched = [change is None or change.touches(space.names_in(label)) for label in given]
    marked = votes.with_columns(is_touched=pl.col("label").replace_strict(given, touched, return_dtype=pl.Boolean))
    return Older(guideline, change, marked.select("id", "label", "annotator", "is_touched"))


def hidden(votes: pl.DataFrame, now: str) -> list[tuple[str, int]]:
    """Find guidelines that the store met after the card's, and how many texts have labels by both: these do not count.

    Args:
        votes: all that the store holds.
        now: hash of the card's guideline.

    >>> votes = pl.DataFrame({"id": ["a", "b", "a"], "guideline": ["g1", "g1", "g2"], "segment": [0, 0, 1]})
    >>> hidden(votes, "g1"), hidden(votes, "g2")
    ([('g2', 1)], [])
    """
    by_now = votes.filter(pl.col("guideline") == now)
    both = votes.filter(pl.col("guideline") != now).join(by_now.select("id").unique(), on="id", how="semi")
    later = both.filter(pl.col("segment") > by_now["segment"].min()) if len(by_now) else both.clear()
    return later.group_by("guideline").agg(pl.col("id").n_unique()).sort("guideline").rows()


def by_people(votes: pl.DataFrame, old: str, now: str, space: LabelSpace) -> Agreement | None:
    """Compare people's labels under two guidelines, text by text, each by the majority; None without such texts.

    Under the newer one only answers to queues count. Of a labels file nobody knows which rows were read again: those
    that stayed the same look old, so the others alone would be compared.

    Args:
        votes: all that the store holds.
        old: hash of the older guideline.
        now: of the newer one.
        space: the card's labels.
    """
    is_new = (pl.col("guideline") == now) & pl.col("origin").is_in(ANSWERED)
    return agreement(_majorities(votes, pl.col("guideline") == old, space), _majorities(votes, is_new, space), space)


def _majorities(votes: pl.DataFrame, is_wanted: pl.Expr, space: LabelSpace) -> dict[str, str]:
    found = samples.majorities(labels.current(votes.filter(is_wanted)), space)
    return dict(found.select("id", "human_label").iter_rows())


def agreement(old: Mapping[str, str], now: Mapping[str, str], space: LabelSpace) -> Agreement | None:
    """Compare labels of the same texts; None where there are no such texts.

    Args:
        old: the label of each text under one guideline; labels that the card has no more may be among them.
        now: under another one.
        space: the card's labels.

    >>> found = agreement({"a": "tip", "b": "no"}, {"a": "tip", "b": "tip", "c": "no"}, LabelSpace(("tip", "no")))
    >>> found.texts, found.same.value, found.kappa.value
    (2, 0.5, 0.0)
    """
    both = sorted(old.keys() & now.keys())
    if not both:
        return None
    pairs = [old[text] for text in both], [now[text] for text in both]
    own = LabelSpace(_names(pairs, space), is_many=space.is_many)
    first, second = own.codes(pairs[0]), own.codes(pairs[1])
    same = metrics.wilson(int(metrics.is_right(first, second).sum()), len(both))
    groups = np.arange(len(both))
    if space.is_many:  # each label is a yes or no of its own
        groups, first, second = np.repeat(groups, len(own)), first.ravel(), second.ravel()
    if len(set(pairs[0])) == 1:  # chosen by that label: chance alone agrees as often, whatever people say
        return Agreement(len(both), same, Interval(float("nan"), float("nan"), float("nan")))
    beyond_chance = partial(metrics.kappa, labels=2 if space.is_many else len(own))
    return Agreement(len(both), same, metrics.bootstrap(beyond_chance, first, second, groups=groups))


def _names(pairs: Sequence[Sequence[str]], space: LabelSpace) -> tuple[str, ...]:
    """Name the card's labels, and after them those that it has no more."""
    given = {name for labels in pairs for label in labels for name in space.names_in(label)}
    return (*space.names, *sorted(given - set(space.names)))
