"""Check a label design before any money is spent: do people agree, do rules and examples, do near copies?

Everything here is counted on labels that people gave. What is found by words alone is for reading: it decides nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from understudy.stats import agreement, metrics
from understudy.stats.metrics import Floats, Interval
from understudy.task import weak_rules
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.patterns import matches
from understudy.text import duplicates
from understudy.text.language import KNOWN, language_of
from understudy.text.normalise import normalise
from understudy.text.numbers import count, figure, is_known

NEAR = 0.8  # Jaccard similarity from which a text nearly repeats another one, as ingest and mine have it
MOST_COMPARED = 20_000  # texts
SHOWN_TEXTS, SHOWN_PAIRS = 3, 12
LEAST_PAIRED = 30  # texts with two labels: with fewer a bootstrap is sure of what it cannot know, as `worth` has it
STEM = 5  # signs by which two words are the same one: "avoid" and "avoided"
LEAST_ALPHA, GOOD_ALPHA = 0.667, 0.8  # Krippendorff, "Content analysis", 2004: tentative conclusions, and reliable ones


@dataclass(frozen=True, slots=True)
class Confused:
    """Two labels that people gave to the same texts: how many, the share of all texts with either, and some of them."""

    first: str
    second: str
    texts: int
    share: float
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An example of the card that something else on the card gives another label."""

    example: str
    label: str
    other: str
    by: str


def check(card: Card, votes: pl.DataFrame) -> dict[str, Any]:
    """Check the card's labels, rules and examples by what people said: the record that the page shows.

    Args:
        card: the task.
        votes: one row a vote: id, text (null where unknown), label as every table has it.
    """
    space = LabelSpace.of(card)
    settled = majority(votes)
    known = settled.drop_nulls("text")
    counts = vote_counts(votes, space)
    return {
        "votes": len(votes),
        "texts": votes["id"].n_unique(),
        "without_text": len(settled) - len(known),
        "contested": votes["id"].n_unique() - len(settled),
        "labels": _label_counts(settled, space),
        "agreement": _agreement(counts, space),
        "confused": [asdict(pair) for pair in confused(votes, space)],
        "unshown_rules": unshown_rules(card),
        "unmet_weak_rules": unmet_weak_rules(card, known["text"].to_list()),
        "contradictions": [asdict(one) for one in contradictions(card)],
        "torn": torn(known, space),
        "torn_compared": min(len(known), MOST_COMPARED),
        "weak_rules": weak_rules.records(card, known["text"].to_list(), space.codes(known["label"])),
    }


def majority(votes: pl.DataFrame) -> pl.DataFrame:
    """Return each text with the label that most people gave it, sorted by id; texts of a tie are left out.

    >>> votes = pl.DataFrame({"id": ["a", "a", "b", "b"], "text": ["A", None, "B", "B"], "label": ["x", "x", "x", "y"]})
    >>> majority(votes).rows()
    [('a', 'A', 'x')]
    """
    texts = votes.group_by("id").agg(pl.col("text").drop_nulls().first())
    counts = votes.group_by("id", "label").len()
    best = counts.filter(pl.col("len") == pl.col("len").max().over("id")).filter(pl.len().over("id") == 1)
    return texts.join(best.select("id", "label"), on="id", how="inner").sort("id").select("id", "text", "label")


def vote_counts(votes: pl.DataFrame, space: LabelSpace) -> Floats:
    """Count the votes of each text for each label, shape (texts, labels), texts sorted by id.

    Where a text may have several labels the last column counts how many looked at it: shape (texts, labels + 1).

    >>> votes = pl.DataFrame({"id": ["a", "a", "b"], "label": ["x", "y", "y"]})
    >>> vote_counts(votes, LabelSpace(("x", "y"))).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    given = space.one_hot(space.codes(votes["label"]))
    if space.is_many:
        given = np.hstack([given, np.ones((len(votes), 1))])
    names, place = np.unique(votes["id"].to_numpy(), return_inverse=True)
    counts = np.zeros((len(names), given.shape[1]))
    np.add.at(counts, place, given)
    return counts


def alpha(counts: Floats, weights: Floats | None = None, *, is_many: bool = False) -> metrics.Figure:
    """Krippendorff's alpha of `vote_counts`; the mean of the labels' own where a text may have several."""
    if not is_many:
        return agreement.nominal_alpha(counts, weights)
    looked = counts[:, -1:]
    alphas = [
        agreement.nominal_alpha(np.hstack([yes, looked - yes]), weights)
        for yes in np.split(counts, counts.shape[1], 1)[:-1]
    ]
    each = np.stack(alphas, axis=-1)
    return metrics.share(np.nansum(each, axis=-1), (~np.isnan(each)).sum(axis=-1))


def _agreement(counts: Floats, space: LabelSpace) -> dict[str, Any]:
    """Say how far people agree, where at least two looked at the same texts."""
    given = counts[:, -1] if space.is_many else counts.sum(axis=1)
    paired = counts[given >= 2]
    if not len(paired):
        return {"texts": 0, "alpha": None, "sentence": (
            "Each text has one label, so nobody can say how far people agree. Let a second person label 50 of them "
            "without seeing the first one's labels: where two people part, a rule is missing."
        )}  # fmt: skip
    figure = partial(alpha, is_many=space.is_many)
    found = metrics.bootstrap(figure, paired, groups=np.arange(len(paired)))
    return {"texts": len(paired), "alpha": metrics.as_record(found), "sentence": _told(found, len(paired))}


def _told(found: Interval, texts: int) -> str:
    """Say what an alpha means: what is said for certain holds at the near end of the interval too.

    >>> _told(Interval(0.9, 0.85, 0.95), 40)
    "People agree (Krippendorff's alpha 0.90, 0.85 to 0.95, 40 texts with two labels or more): labels and rules hold."
    """
    figures = f"Krippendorff's alpha {figure(found.value)}, {figure(found.low)} to {figure(found.high)}"
    basis = f"{figures}, {count(texts, 'text')} with two labels or more"
    if not is_known(found.value):
        return (
            f"All labels given twice are the same one ({count(texts, 'text')}): that shows no agreement. Label others."
        )
    if texts < LEAST_PAIRED:
        return (
            f"Too few texts to tell whether people agree ({basis}): let a second person label {LEAST_PAIRED - texts:,} "
            "more without seeing the first one's labels."
        )
    if found.low >= GOOD_ALPHA:
        return f"People agree ({basis}): labels and rules hold."
    if found.high < LEAST_ALPHA:
        return (
            f"People do not agree enough ({basis}; {LEAST_ALPHA} is the least from which conclusions are drawn): no "
            "model can be better than its labels. Mend labels and rules first."
        )
    if found.low >= LEAST_ALPHA:
        return f"People agree so far that a figure is tentative ({basis}): sharpen the rules for what they confuse."
    return (
        f"Whether people agree enough is open ({basis}; {LEAST_ALPHA} is the least from which conclusions are drawn): "
        "sharpen the rules for what they confuse, and let a second person label more texts."
    )


def _label_counts(settled: pl.DataFrame, space: LabelSpace) -> dict[str, int]:
    counts = Counter(name for label in settled["label"] for name in space.names_in(label))
    return {name: counts[name] for name in space.names}


def confused(votes: pl.DataFrame, space: LabelSpace) -> list[Confused]:
    """Find pairs of labels that people gave to the same text, the commonest first.

    >>> votes = pl.DataFrame({"id": ["a", "a", "b"], "text": ["A", "A", "B"], "label": ["y", "x", "y"]})
    >>> confused(votes, LabelSpace(("x", "y")))
    [Confused(first='x', second='y', texts=1, share=0.5, shown=('A',))]
    """
    order = {name: place for place, name in enumerate(space.names)}
    given = votes.group_by("id").agg(pl.col("text").drop_nulls().first(), pl.col("label").unique()).sort("id")
    pairs: dict[tuple[str, str], list[str | None]] = {}
    for _, text, labels in given.iter_rows():
        said = sorted(labels, key=lambda label: (order.get(label, len(order)), label))
        for pair in combinations(said, 2):
            pairs.setdefault(pair, []).append(text)
    commonest = sorted(pairs.items(), key=lambda found: -len(found[1]))[:SHOWN_PAIRS]
    return [
        Confused(
            first=space.words(pair[0]),
            second=space.words(pair[1]),
            texts=len(texts),
            share=len(texts) / sum(not set(pair).isdisjoint(labels) for labels in given["label"]),
            shown=tuple(text for text in texts if text)[:SHOWN_TEXTS],
        )
        for pair, texts in commonest
    ]


def unshown_rules(card: Card) -> list[str]:
    """Find decision rules that no example on the card shows: that share no word with one, small words apart.

    It is by words alone, so a rule that an example shows in other words stands there too.
    """
    shown = {stem for label in card.labels for example in label.examples for stem in _stems(example)}
    return [rule for rule in card.rules if not _stems(rule) & shown]


def _stems(text: str) -> frozenset[str]:
    """Return the beginnings of a text's words, small words of its language left out.

    >>> sorted(_stems("A warning to stay away from it."))
    ['away', 'from', 'stay', 'warni']
    """
    small = KNOWN.get(language_of([text]) or "en", frozenset())
    return frozenset(word[:STEM] for word in re.findall(r"[^\W\d_]{4,}", text.casefold()) if word not in small)


def unmet_weak_rules(card: Card, texts: Sequence[str]) -> list[str]:
    """Name weak rules that neither a labelled text nor an example on the card meets."""
    examples = [example for label in card.labels for example in label.examples]
    return [rule.name for rule in card.weak_rules if not matches(rule.pattern, [*texts, *examples]).any()]


def contradictions(card: Card) -> Iterator[Contradiction]:
    """Find examples that a weak rule gives another label, and those that stand under two labels.

    Where a text may have several labels neither is a contradiction, and there are none.
    """
    if card.is_many:
        return
    under: dict[str, str] = {}
    for label in card.labels:
        for example in label.examples:
            first = under.setdefault(normalise(example) or example, label.name)
            if first != label.name:
                yield Contradiction(example, label.name, first, "it is an example of both")
            for rule in card.weak_rules:
                if rule.label != label.name and matches(rule.pattern, [example])[0]:
                    yield Contradiction(example, label.name, rule.label, f"the weak rule '{rule.name}'")


def torn(settled: pl.DataFrame, space: LabelSpace) -> list[dict[str, Any]]:
    """Find texts that nearly repeat one before them and have another label, the most similar first.

    Args:
        settled: as `majority` returns it, no text null; of many the first are compared.
        space: the labels.
    """
    texts, labels = (settled[name].head(MOST_COMPARED).to_list() for name in ("text", "label"))
    said = [space.words(label) for label in labels]
    pairs = [
        {
            "first": texts[match.index],
            "first_label": said[match.index],
            "second": texts[place],
            "second_label": said[place],
            "similarity": match.similarity,
        }
        for place, match in enumerate(duplicates.fold(texts, NEAR))
        if match is not None and labels[match.index] != labels[place]
    ]
    return sorted(pairs, key=lambda pair: -pair["similarity"])
