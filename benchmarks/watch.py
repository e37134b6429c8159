"""The watch on simulated years: how often it cries wolf, and how soon it sees a wolf.

    make benchmark-watch

A night draws whole reviews, with replacement, from the demo's texts: their words, lengths and ties within a review are
real, their scores are drawn once from two normal distributions, and tips are thinned out until they are the share that
the night must have. A shift of the base rate thins them less. A shift of content lets sentences from the help pages of
Python's standard library take the place of a fifth of the reviews; they get scores and labels like everything else.

Beside it stands the Kolmogorov-Smirnov test of scores, lengths and surprise against the reference and all nights
before, which raises an alarm when the largest of the three passes a limit. The limit is set, on the very same quiet
years, to the false alarms that the watch has there, and once more to one a year.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import click
import numpy as np
import polars as pl

from benchmarks.figures import Figure, report
from understudy.stats.drift import detector, series, words
from understudy.stats.drift.series import CONTENT, SHARES, Point
from understudy.stats.drift.summary import Reference, Summary, describe, measured, of_columns
from understudy.stats.metrics import Codes, Floats
from understudy.steps.watch import rules
from understudy.steps.watch.config import WatchConfig
from understudy.task.labels import LabelSpace

TASK = Path(__file__).parents[1] / "pipelines/tasks/hotel-tips"
SEED = 20261122
QUIET, RAISED, STRANGE = 0.08, 0.14, 0.2
THRESHOLD, DISTANCE = 0.4, 2.6  # of the two labels' scores, in standard deviations: F1 about 0.75 at 8%
REFERENCE_TEXTS, NIGHTS, BEFORE, AFTER, CALM = 400, 365, 30, 60, 7
SIZES = (200, 2000)
SHIFTS = ("prior", "content")
TIPS = LabelSpace(("other", "tip"), "tip")


@dataclass(frozen=True, slots=True)
class Drawn:
    """Groups in numbers, one row each, so that a night is a sum of rows.

    Attributes:
        texts: of each group, shape (groups,).
        rows: summaries, flat, shape (groups, numbers).
        ranks: for each of the three measures, texts by the rank of their value, shape (3, groups, ranks).
    """

    texts: Floats
    rows: Floats
    ranks: Floats


def corpus() -> pl.DataFrame:
    """Read the demo's texts with their labels, and the help pages' sentences: group, text, is_tip, strange."""
    from pydoc_data.topics import topics

    answers = pl.read_csv(TASK / "answers.csv").unique("text")
    own = pl.read_csv(TASK / "texts.csv").join(answers, on="text", how="left", maintain_order="left")
    own = own.select(
        "group", "text", is_tip=(pl.col("label") == "tip").fill_null(value=False), strange=pl.lit(value=False)
    )
    pairs = [
        (f"help-{name}", " ".join(sentence.split()))
        for name, page in sorted(topics.items())
        for sentence in re.split(r"(?<=[.:])\s+(?=[A-Z])", page)[:10]
        if 20 <= len(sentence) <= 300
    ]
    help_pages = pl.DataFrame(pairs, schema=["group", "text"], orient="row")
    share = own["is_tip"].mean()
    rng = np.random.default_rng(SEED)
    said = pl.Series("is_tip", rng.random(len(help_pages)) < share)
    return pl.concat([own, help_pages.with_columns(said, strange=pl.lit(value=True))])


def scored(texts: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Give each text a calibrated probability of a tip at the quiet share, a label by the threshold, and a lot.

    By its lot a tip is thinned out.
    """
    is_tip = texts["is_tip"].to_numpy()
    score = rng.normal(is_tip * DISTANCE, 1.0)
    log_odds = DISTANCE * score - DISTANCE**2 / 2 + math.log(QUIET / (1 - QUIET))
    tip = 1 / (1 + np.exp(-log_odds))
    is_found = pl.Series(tip >= THRESHOLD)
    return texts.with_columns(
        tip=pl.Series(tip),
        label=pl.select(pl.when(is_found).then(pl.lit("tip")).otherwise(pl.lit("other"))).to_series(),
        probability=pl.Series(np.where(tip >= THRESHOLD, tip, 1 - tip)),
        lot=pl.Series(rng.random(len(texts))),
    )


def thinned(texts: pl.DataFrame, share: float) -> pl.DataFrame:
    """Keep as many tips as make the share, those of a smaller share always among them."""
    tips, others = texts["is_tip"].sum(), (~texts["is_tip"]).sum()
    keep = share / (1 - share) * others / tips
    return texts.filter(~pl.col("is_tip") | (pl.col("lot") < keep))


def drawn(texts: pl.DataFrame, reference: Reference, cuts: Sequence[Floats]) -> Drawn:
    """Put each group into numbers."""
    index = np.unique(texts["group"].to_numpy(), return_inverse=True)[1]
    rows = _rows(texts, index, reference)
    ranks = [
        _ranked(np.searchsorted(cut, values, side="right"), index, len(cut) + 1)
        for cut, values in zip(cuts, measures(texts, reference), strict=True)
    ]
    return Drawn(np.bincount(index).astype(float), rows, np.stack(ranks))


def measures(texts: pl.DataFrame, reference: Reference) -> tuple[Floats, Floats, Floats]:
    """Return probability of a tip, length and surprise of each text."""
    bits = words.mean_surprise(words.words_of(texts["text"]), reference.counts, len(texts))
    lengths = np.log1p(texts["text"].str.count_matches(words.WORD).to_numpy())
    return texts["tip"].to_numpy(), lengths, np.nan_to_num(bits, nan=float(reference.overall[2]))


def _rows(texts: pl.DataFrame, index: Codes, reference: Reference) -> Floats:
    """Summarise each group alone, shape (groups, numbers)."""
    codes = TIPS.codes(texts["label"])
    bits = words.mean_surprise(words.words_of(texts["text"]), reference.counts, len(texts))
    residuals = np.nan_to_num(measured(texts, TIPS, codes, bits) - reference.means[codes], nan=0.0)
    cells = reference.cells.of_texts(codes, texts["probability"].to_numpy())
    levels = reference.cells.levels_of_texts(codes, texts["probability"].to_numpy())
    rows = []
    for group in range(int(index.max()) + 1):
        own = index == group
        found = of_columns(
            index[own],
            codes[own],
            labels=len(TIPS),
            residuals=residuals[own],
            cells=cells[own],
            levels=levels[own],
            sizes=reference.cells.sizes,
        )
        rows.append(_flat(found))
    return np.stack(rows)


def _flat(found: Summary) -> Floats:
    return np.concatenate([np.ravel(getattr(found, one.name)) for one in fields(Summary)])


def _ranked(place: Floats, index: Floats, size: int) -> Floats:
    table = np.zeros((int(index.max()) + 1, size))
    np.add.at(table, (index, place), 1)
    return table


def summary_of(row: Floats, like: Summary) -> Summary:
    """Read a night's sum of rows; `like` is of the same shapes."""
    found, start = {}, 0
    for one in fields(Summary):
        shape = np.shape(getattr(like, one.name))
        size = math.prod(shape)
        part = row[start : start + size].reshape(shape)
        found[one.name], start = (part if shape else float(part)), start + size
    return Summary(**{**found, "groups": int(found["groups"])})


def choose(rng: np.random.Generator, source: Drawn, texts: int, nights: int) -> Floats:
    """Draw the groups of so many nights, as many as have about `texts` texts: times drawn, shape (nights, groups)."""
    groups = len(source.texts)
    return rng.multinomial(round(texts / source.texts.mean()), np.full(groups, 1 / groups), size=nights).astype(float)


@dataclass(frozen=True, slots=True)
class Year:
    """Nights in numbers: summaries, and texts by rank of each measure, shape (nights, 3, ranks)."""

    summaries: list[Summary]
    ranks: Floats


def nights_of(times: Floats, source: Drawn) -> tuple[Floats, Floats]:
    """Sum the rows of the groups that were drawn: rows and ranks of each night."""
    return times @ source.rows, np.einsum("ng,mgr->nmr", times, source.ranks, optimize=True)


def year(rng: np.random.Generator, texts: int, plan: Sequence[tuple[Drawn, Drawn | None, int]], like: Summary) -> Year:
    """Draw nights: for each part of the plan its source, what takes the place of a fifth of it, and its nights."""
    rows, ranks = [], []
    for source, strange, nights in plan:
        share = 1.0 - (STRANGE if strange else 0.0)
        found = nights_of(choose(rng, source, round(texts * share), nights), source)
        if strange:
            more = nights_of(choose(rng, strange, round(texts * STRANGE), nights), strange)
            found = (found[0] + more[0], found[1] + more[1])
        rows.append(found[0])
        ranks.append(found[1])
    return Year([summary_of(row, like) for row in np.concatenate(rows)], np.concatenate(ranks))


def watch_alarms(found: Year, reference: Reference, config: WatchConfig) -> list[int]:
    """Return the nights on which the watch raises an alarm."""
    limit, tolerances = rules.limit(config), rules.tolerances(config)
    nights = [series.shares(night, reference.summary, TIPS.sides) for night in found.summaries]
    known = series.shares(reference.summary, reference.summary, TIPS.sides)
    together = detector.follow_together(nights, known, tolerances[SHARES], limit)
    alarms = [place for place, one in enumerate(together) if one and one.is_alarm]
    points = [series.points(night, reference) for night in found.summaries]
    expected = series.points(reference.summary, reference)
    for name in CONTENT:
        values: list[Point | None] = [night[name] for night in points]
        verdicts = detector.follow(values, expected[name], tolerances[name], limit)
        alarms += [place for place, verdict in enumerate(verdicts) if verdict and verdict.is_alarm]
    return sorted(alarms)


def smirnov(found: Year, reference: Floats) -> Floats:
    """Largest scaled Kolmogorov-Smirnov distance of the three measures, each night from all before. Shape (nights,)."""
    before = np.concatenate([reference[None], found.ranks[:-1]]).cumsum(axis=0)
    sizes, known = found.ranks.sum(axis=2), before.sum(axis=2)
    apart = np.abs(found.ranks.cumsum(axis=2) / sizes[:, :, None] - before.cumsum(axis=2) / known[:, :, None]).max(
        axis=2
    )
    return np.asarray((apart * np.sqrt(sizes * known / (sizes + known))).max(axis=1))


def episodes(statistics: Floats, limit: float) -> list[int]:
    """Return the nights on which an alarm begins: the week before was calm.

    >>> episodes(np.array([0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]), 1.0)
    [1, 10]
    """
    above = np.flatnonzero(statistics > limit)
    return [int(night) for place, night in enumerate(above) if place == 0 or night - above[place - 1] > CALM]


def limit_for(years: Sequence[Floats], alarms: float) -> float:
    """Find the limit at which the quiet years have at most so many alarms in all."""
    low, high = 0.0, max(float(one.max()) for one in years)
    for _ in range(50):
        middle = (low + high) / 2
        if sum(len(episodes(one, middle)) for one in years) > alarms or middle < np.median(years[0]):
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True, slots=True)
class Simulator:
    """All that nights are drawn from.

    Attributes:
        quiet: groups at the quiet share.
        raised: the same at the raised share.
        strange: help pages at the quiet share.
        reference: with the words that surprise is measured by.
    """

    quiet: Drawn
    raised: Drawn
    strange: Drawn
    reference: Reference

    def reference_of(self, rng: np.random.Generator) -> tuple[Reference, Floats]:
        """Draw a reference of its own for a year, of the quiet texts."""
        rows, ranks = nights_of(choose(rng, self.quiet, REFERENCE_TEXTS, 1), self.quiet)
        return replace(self.reference, summary=summary_of(rows[0], self.reference.summary)), ranks[0]

    def shifted(self, rng: np.random.Generator, texts: int, shift: str) -> Year:
        """Draw quiet nights, then nights after a shift."""
        source, strange = (self.raised, None) if shift == "prior" else (self.quiet, self.strange)
        plan = [(self.quiet, None, BEFORE), (source, strange, AFTER)]
        return year(rng, texts, plan, self.reference.summary)


def simulator() -> Simulator:
    """Prepare the texts."""
    texts = scored(corpus(), np.random.default_rng(SEED))
    own, strange = texts.filter(~pl.col("strange")), texts.filter("strange")
    names = own["group"].unique(maintain_order=True)
    first = names[: len(names) // 7].implode()  # their words are the reference's; nights draw from the others
    base = thinned(own.filter(pl.col("group").is_in(first)), QUIET)
    tip = base["tip"].to_numpy()
    reference = describe(base, TIPS, np.stack([1 - tip, tip], axis=1))
    rest = own.filter(~pl.col("group").is_in(first))
    cuts = [
        np.unique(np.quantile(values, np.linspace(0, 1, 201))) for values in measures(thinned(rest, QUIET), reference)
    ]
    size = max(len(cut) for cut in cuts)
    cuts = [np.concatenate([cut, np.full(size - len(cut), np.inf)]) for cut in cuts]
    return Simulator(
        quiet=drawn(thinned(rest, QUIET), reference, cuts),
        raised=drawn(thinned(rest, RAISED), reference, cuts),
        strange=drawn(thinned(strange, QUIET), reference, cuts),
        reference=reference,
    )


def delay(alarms: Sequence[int]) -> int:
    """Nights from the shift to the first alarm, the first shifted night being 1; AFTER + 1 when there is none."""
    return next((night - BEFORE + 1 for night in alarms if night >= BEFORE), AFTER + 1)


def mean_interval(values: Sequence[float], rng: np.random.Generator) -> Figure:
    """A mean with its 95% bootstrap interval."""
    found = np.asarray(values, dtype=float)
    draws = rng.choice(found, size=(2000, len(found))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Figure(float(found.mean()), float(low), float(high))


def measure(world: Simulator, texts: int, years: int, config: WatchConfig) -> dict[str, Figure]:
    """Measure nights of one size."""
    rng = np.random.default_rng([SEED, texts])
    alarms, statistics = [], []
    for _ in range(years):
        reference, ranks = world.reference_of(rng)
        quiet = year(rng, texts, [(world.quiet, None, NIGHTS)], world.reference.summary)
        alarms.append(len(watch_alarms(quiet, reference, config)))
        statistics.append(smirnov(quiet, ranks))
    figures = {f"false_alarms_per_year_{texts}": mean_interval(alarms, rng)}
    limits = {"ks": limit_for(statistics, sum(alarms)), "ks_one_a_year": limit_for(statistics, years)}
    for shift in SHIFTS:
        delays: dict[str, list[float]] = {"": [], **{f"{name}_": [] for name in limits}}
        for _ in range(years):
            reference, ranks = world.reference_of(rng)
            found = world.shifted(rng, texts, shift)
            delays[""].append(delay(watch_alarms(found, reference, config)))
            distance = smirnov(found, ranks)
            for name, most in limits.items():
                delays[f"{name}_"].append(delay([int(night) for night in np.flatnonzero(distance > most)]))
        figures |= {f"{name}nights_to_{shift}_shift_{texts}": mean_interval(each, rng) for name, each in delays.items()}
    return figures


@click.command()
@click.option("--years", default=200, show_default=True, help="Quiet years, and shifts of each kind, to simulate.")
def main(years: int) -> None:
    """Simulate years of nights, and report."""
    print(f"Simulating {years} years at {' and '.join(map(str, SIZES))} texts a night; 200 take about 3 minutes.")
    started = time.monotonic()
    config, world = WatchConfig(), simulator()
    figures: dict[str, Figure] = {}
    for texts in SIZES:
        figures |= measure(world, texts, years, config)
    worst = max((figures[f"false_alarms_per_year_{texts}"] for texts in SIZES), key=lambda one: one.value)
    settings = {
        "years": years,
        "share": [QUIET, RAISED],
        "strange_share": STRANGE,
        "reference_texts": REFERENCE_TEXTS,
        "nights_before_shift": BEFORE,
        "nights_after_shift": AFTER,
        "false_alarm_nights": config.false_alarm_nights,
        "series": len(series.SERIES),
    }
    file = report("watch", {"false_alarms_per_year": worst, **figures}, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
