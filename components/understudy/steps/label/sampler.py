"""Choose which parts of the pool the draw is richer in, each text with a known chance.

Where the parts come of the teacher's own first answers, these are a set of their own, drawn at random before: each of
its texts stands for itself, and the parts are of the rest of the pool alone. So no text that a part was learned from
is counted in it, and the weights are exact.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from understudy.model.words import log_odds
from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Floats
from understudy.steps.label import rules
from understudy.steps.label.config import LabelConfig
from understudy.task.card import Card
from understudy.task.labels import Integers, LabelSpace
from understudy.task.slices import NO_RULE, in_slice, weak_hints, weak_labels
from understudy.text.normalise import word_counts
from understudy.text.seen import seen_of

First = Callable[[pl.DataFrame], pl.DataFrame]
FIRST = -2  # the stratum of the first set
FIRST_TEXTS = 200
LENGTHS = (1 / 3, 2 / 3)  # of the pool's texts in words: short, middle and long ones
AMBIGUOUS = 0.2  # of the pool, as a share: the texts nearest to the boundary, which are half of the draw
FEWEST_OF_EITHER = 3  # first answers with and without a label, for that label to be learned


def asks_first(card: Card, config: LabelConfig) -> bool:
    """Whether the rest of the draw waits for the answers to a first set."""
    is_without_rules = config.sampler == "balanced" and not card.weak_rules
    return (config.sampler == "boundary" or is_without_rules) and config.texts > FIRST_TEXTS


def draw(card: Card, pool: pl.DataFrame, config: LabelConfig, first: First) -> pl.DataFrame:
    """Draw texts as the card's sampler says: see `rules.draw` for the columns.

    Args:
        card: for its rules, slices and labels.
        pool: columns id and text, and context where the card has it.
        config: the sampler, how many texts, and the seed.
        first: gives the answers, columns id and label, to texts of the first set, where `asks_first`; where it gives
            none, the rest of the draw is uniform.
    """
    if not asks_first(card, config):
        return rules.draw(pool, strata(card, pool, config), config)
    uniform = np.full(len(pool), NO_RULE, dtype=np.int64)
    own = rules.draw(pool, uniform, replace(config, texts=FIRST_TEXTS))
    own = own.with_columns(stratum=pl.lit(FIRST, pl.Int64), population=pl.lit(len(own), pl.Int64), weight=pl.lit(1.0))
    rest = pool.join(own.select("id"), on="id", how="anti", maintain_order="left")
    answered = own.join(first(own).select("id", "label"), on="id", how="inner", maintain_order="left")
    hints = learned_strata(answered, rest, LabelSpace.of(card), config)
    return pl.concat([own, rules.draw(rest, hints, replace(config, texts=config.texts - FIRST_TEXTS))])


def words_of(card: Card, config: LabelConfig, drawn: pl.DataFrame) -> str:
    """Say what the draw is richer in."""
    is_uniform = drawn.filter(pl.col("stratum") != FIRST)["stratum"].n_unique() < 2
    if config.sampler == "uniform" or is_uniform:
        return "drawn uniformly" if config.sampler == "uniform" else f"drawn uniformly: {_why_uniform(card, config)}"
    if config.sampler == "stratified":
        return "as many of each length and slice as there are"
    learned = f"by the answers to the first {FIRST_TEXTS}"
    if config.sampler == "boundary":
        return f"about half from the texts that are ambiguous {learned}"
    return f"about half from likely ones {'by the weak rules' if card.weak_rules else learned}"


def _why_uniform(card: Card, config: LabelConfig) -> str:
    if config.sampler == "stratified":
        return "texts of one length in no slice"
    if card.weak_rules and config.sampler == "balanced":
        return "the weak rules find none of these texts, or all"
    if config.texts <= FIRST_TEXTS:
        return f"{FIRST_TEXTS} texts or fewer are all drawn at random"
    return f"the answers to the first {FIRST_TEXTS} texts tell no label apart"


def strata(card: Card, pool: pl.DataFrame, config: LabelConfig) -> Integers:
    """Part the pool by what is known before any answer, shape (texts,); `NO_RULE` is the rest."""
    if config.sampler == "balanced" and card.weak_rules:
        texts = pool["text"].to_list()
        return rules.scarcest(weak_labels(card, texts)) if card.is_many else weak_hints(card, texts)
    if config.sampler == "stratified":
        return by_length_and_slice(card, pool)
    return np.full(len(pool), NO_RULE, dtype=np.int64)


def by_length_and_slice(card: Card, pool: pl.DataFrame) -> Integers:
    """Part the pool by thirds of its length, and by the first slice of the card that a text is in, shape (texts,)."""
    words = word_counts(pool["text"]).astype(float)
    lengths = np.searchsorted(np.quantile(words, LENGTHS), words) if len(words) else np.zeros(0, dtype=np.int64)
    slices: Integers = np.zeros(len(pool), dtype=np.int64)
    for number, part in reversed(list(enumerate(card.slices, start=1))):
        slices[in_slice(part, pool)] = number
    return np.asarray(lengths * (len(card.slices) + 1) + slices, dtype=np.int64)


def learned_strata(answered: pl.DataFrame, rest: pl.DataFrame, space: LabelSpace, config: LabelConfig) -> Integers:
    """Part the rest of the pool by what the first answers teach, shape (texts,).

    Args:
        answered: columns id, text and label: the first set's.
        rest: columns id and text.
        space: the labels.
        config: "boundary" parts the texts nearest to a label's boundary from the others; "balanced" those that are
            likeliest to have a label, as many as have it by the first answers' share, each by the scarcest one.
    """
    nobody: Integers = np.full(len(rest), NO_RULE, dtype=np.int64)
    codes = space.codes(answered["label"])
    margins = _margins(seen_of(answered).to_list(), codes, seen_of(rest).to_list(), space)
    if not margins:
        return nobody
    if config.sampler == "boundary":
        distance = np.abs(np.stack(list(margins.values()), axis=1)).min(axis=1)
        nearest = np.argsort(distance, kind="stable")[: int(AMBIGUOUS * len(rest))]
        nobody[nearest] = 0
        return nobody
    likely: Bools = np.zeros((len(rest), len(space)), dtype=np.bool_)
    for label, margin in margins.items():
        share = metrics.of_label(codes, label).mean()
        likely[np.argsort(-margin, kind="stable")[: math.ceil(share * len(rest))], label] = True
    return rules.scarcest(likely)


def _margins(texts: Sequence[str], codes: Codes, others: Sequence[str], space: LabelSpace) -> dict[int, Floats]:
    """Learn each label that is looked at from a few texts, and return how far other texts are on its side, in log-odds.

    Labels of which there are too few on either side are left out.
    """
    marks = {label: metrics.of_label(codes, label) for label in space.sides}
    known = {label: has for label, has in marks.items() if FEWEST_OF_EITHER <= has.sum() <= len(has) - FEWEST_OF_EITHER}
    return log_odds(texts, known, others) if known and len(others) else {}
