"""What the first stage gains and loses on real sentences, and whether its promise holds.

    make benchmark-cascade

Needs ../shared/data/hotel-reviews. A MiniLM student is trained on the demo's labels (and kept under build/). The
reviews are cut into four parts. Each part in turn is what nobody has seen: export fits the first stage on the other
three and holds texts of them out, calibrate chooses the cut, as in a training run.

cascade_gain     texts a second of the four bundles over those of the same bundles without their first stages, from
                 Parquet to Parquet; both take turns, each bundle on the sentences that it has not seen, repeated to a
                 segment of the nightly run
cascade_missed   share of all sentences that are lost: settled, although the student calls them positive
cascade_settled  share of all sentences that need no student
cascade_bound    the largest of the four promises: share that is lost at most, with 95% confidence
guarantee_held   share of simulated data sets in which the true loss stayed within the promise; 1,000 are simulated, and
                 those in which there is a cut count (guarantee_sets). Some have independent texts, some reviews whose
                 sentences are alike, some a rare kind, rich in positives, of which the student has learned nearly all;
                 guarantee_held_worst is that of the least favourable kind
guarantee_blind_groups
                 the same where the promise's assumption fails, so no part of guarantee_held: the groups in which the
                 first stage sees nothing hold forty times the positives of the others
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl

from benchmarks import hotel
from benchmarks.figures import BUILD, Figure, report
from understudy.model.engine import Bools, Floats
from understudy.model.scoring import Bundle
from understudy.runtime.shell import execute
from understudy.stats.metrics import Column
from understudy.steps.calibrate import cut as cuts
from understudy.steps.calibrate.cut import HeldOut
from understudy.steps.infer.config import InferConfig
from understudy.store import tables
from understudy.store.bundles import read_settings

FOLDER = BUILD / "benchmark-cascade"
PARTS = 4
ROUNDS = 8
SEED = 20261121
PROMISE = 0.005
RESAMPLES = 2000
POPULATION_TEXTS = 3_000_000  # among which what is lost is the truth


@dataclass(frozen=True, slots=True)
class Kind:
    """How simulated texts hang together.

    Attributes:
        name: in the settings.
        sizes: mean size of a group; 1 for independent texts.
        tips: standard deviation, between groups, of the log-odds of being positive.
        blind: share of the groups in which the first stage sees nothing.
        base: mean log-odds of being positive.
        rich: share of positives in groups in which the first stage sees nothing; None for that of the others.
        likely: share of texts that the weak rules find: 3 in 10 are positive, and the first stage hardly sees them.
        learned: share of those that the student has learned, which therefore are not held out.
        texts: of a data set, about.
    """

    name: str
    sizes: float
    tips: float = 0.0
    blind: float = 0.0
    base: float = -3.2
    rich: float | None = None
    likely: float = 0.0
    learned: float = 0.0
    texts: int = 1500


KINDS = (
    Kind("independent", 1.0),
    Kind("reviews", 4.0, 0.8, 0.0),
    Kind("alike", 4.0, 1.5, 0.02),
    Kind("long", 12.0, 1.0, 0.02),
    Kind("learned", 1.0, likely=0.02, learned=0.9, texts=20_000),
    Kind("learned reviews", 4.0, 0.8, likely=0.02, learned=0.9, texts=20_000),
)
BLIND_GROUPS = Kind("blind groups", 12.0, blind=0.01, base=-4.2, rich=0.6)


@dataclass(frozen=True, slots=True)
class Simulated:
    """Texts of a kind.

    Attributes:
        groups: of each, shape (texts,).
        scores: of the first stage, shape (texts,).
        is_positive: what the student says, shape (texts,).
        is_likely: what the weak rules say, shape (texts,).
        is_learned: whether the student has learned it, shape (texts,).
    """

    groups: Column
    scores: Floats
    is_positive: Bools
    is_likely: Bools
    is_learned: Bools

    def held_out(self) -> HeldOut:
        """Leave out what the student has learned; the others stand for those of their kind."""
        kept = ~self.is_learned
        every, left = (np.bincount(kinds, minlength=2) for kinds in (self.is_likely, self.is_likely[kept]))
        weights = (every / np.maximum(1, left))[self.is_likely[kept].astype(int)]
        return HeldOut(self.scores[kept], np.zeros(kept.sum()), self.is_positive[kept], self.groups[kept], weights)


def simulated(rng: np.random.Generator, kind: Kind, texts: int) -> Simulated:
    """Draw groups of a kind that hold about so many texts."""
    sizes = rng.geometric(1 / kind.sizes, round(texts / kind.sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    log_odds = rng.normal(kind.base, kind.tips, len(sizes))[groups]
    is_seen = (rng.random(len(sizes)) >= kind.blind)[groups]
    chance = 1 / (1 + np.exp(-log_odds))
    if kind.rich is not None:
        chance = np.where(is_seen, chance, kind.rich)
    lot = rng.random(len(groups))
    is_likely = rng.random(len(groups)) < kind.likely
    is_positive = lot < np.where(is_likely, 0.3, chance)
    is_learned = is_likely & (rng.random(len(groups)) < kind.learned)
    scores = rng.normal(np.where(is_positive & is_seen, np.where(is_likely, 0.5, 2.5), 0.0), 1.0)
    return Simulated(groups, scores, is_positive, is_likely, is_learned)


def held(rng: np.random.Generator, kind: Kind, times: int) -> Bools:
    """Choose a cut on data sets of a kind, and tell for each with a cut whether the true loss is within the promise."""
    found = [cuts.choose(simulated(rng, kind, kind.texts).held_out(), PROMISE, 0.01).cut for _ in range(times)]
    chosen = np.array([cut for cut in found if cut is not None])
    world = simulated(rng, kind, POPULATION_TEXTS)
    scores = np.sort(world.scores[world.is_positive])
    return np.asarray(np.searchsorted(scores, chosen) / len(world.groups) <= PROMISE)


def guarantee(sets: int) -> dict[str, Figure]:
    """Simulate data sets of all kinds."""
    rng = np.random.default_rng(SEED)
    each = -(-sets // len(KINDS))
    by_kind = {kind.name: held(rng, kind, each) for kind in KINDS}
    worst = min(by_kind.values(), key=lambda one: float(one.mean()))
    every = np.concatenate(list(by_kind.values()))
    return {
        "guarantee_sets": Figure(float(len(every))),
        "guarantee_held": share(every),
        "guarantee_held_worst": share(worst),
        "guarantee_blind_groups": share(held(rng, BLIND_GROUPS, each)),
    }


def share(is_true: Bools) -> Figure:
    """Return a share with its Clopper-Pearson interval."""
    from scipy.stats import binomtest

    interval = binomtest(int(is_true.sum()), len(is_true)).proportion_ci()
    return Figure(float(is_true.mean()), interval.low, interval.high)


def bundle_for(part: int, sentences: pl.DataFrame, student: Path) -> Path:
    """Run export and calibrate with a part of the reviews left out of the pool."""
    folder = FOLDER / f"part-{part}"
    folder.mkdir(parents=True)
    pool = sentences.filter(pl.col("part") != part).with_columns(time=pl.lit(None, pl.String))
    tables.write(pool, tables.Texts, folder / "pool")
    tables.write(hotel.gold(), tables.Gold, folder / "gold")
    given = {"card": hotel.TASK, "gold": folder / "gold", "overrides": f"cascade.max_missed={PROMISE}"}
    graphs, bundle = folder / "graphs", folder / "bundle"
    execute("export", {**given, "pool": folder / "pool", "student": student, "graphs": graphs})
    execute("calibrate", {**given, "graphs": graphs, "bundle": bundle})
    return bundle


@dataclass(frozen=True, slots=True)
class Found:
    """What a bundle does to the sentences that nobody has seen, each of shape (sentences,)."""

    groups: Column
    is_settled: Bools
    is_missed: Bools
    settings: Mapping[str, Any]


def look(bundle: Bundle, unseen: pl.DataFrame) -> Found:
    """Compare the bundle with its student alone."""
    texts = unseen["text"].to_list()
    scored = bundle.score(texts)
    alone = replace(bundle, cascade=None)
    is_positive = alone.choose(alone.probabilities(texts)) == alone.space.positive_index
    is_missed = is_positive & scored.is_settled
    return Found(unseen["group"].to_numpy(), scored.is_settled, is_missed, bundle.settings["cascade"])


def loss(found: list[Found]) -> dict[str, Figure]:
    """Put the parts together; the intervals are by review."""
    groups = np.concatenate([one.groups for one in found])
    rng = np.random.default_rng(SEED)
    index, sizes = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), RESAMPLES)

    def figure(values: Floats) -> Figure:
        drawn = times @ np.bincount(index, weights=values) / (times @ sizes)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Figure(float(values.mean()), float(low), float(high))

    missed = np.concatenate([one.is_missed for one in found]).astype(float)
    settled = np.concatenate([one.is_settled for one in found]).astype(float)
    bound = max(one.settings["bound"] for one in found)
    return {"cascade_missed": figure(missed), "cascade_settled": figure(settled), "cascade_bound": Figure(bound)}


def gain(bundles: list[Bundle], unseen: list[pl.DataFrame], rounds: int) -> dict[str, Figure]:
    """Let the bundles with and without their first stage take turns, from Parquet to Parquet."""
    sources = [FOLDER / f"texts-{part}.parquet" for part in range(len(bundles))]
    texts = [_segment(table, source) for table, source in zip(unseen, sources, strict=True)]
    seconds = {"with": np.zeros(rounds + 1), "without": np.zeros(rounds + 1)}
    for turn in range(rounds + 1):
        for bundle, source in zip(bundles, sources, strict=True):
            ways = {"with": bundle, "without": replace(bundle, cascade=None)}
            for name in sorted(ways, reverse=turn % 2 == 1):
                started = time.perf_counter()
                label(ways[name], source, FOLDER / "scored.parquet")
                seconds[name][turn] += time.perf_counter() - started
    ratios = (seconds["without"] / seconds["with"])[1:]  # the first warms up
    rng = np.random.default_rng(SEED)
    medians = np.median(rng.choice(ratios, (RESAMPLES, rounds)), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "cascade_gain": Figure(float(np.median(ratios)), float(low), float(high)),
        "texts_per_s_with": Figure(sum(texts) / float(np.median(seconds["with"][1:]))),
        "texts_per_s_without": Figure(sum(texts) / float(np.median(seconds["without"][1:]))),
    }


def _segment(texts: pl.DataFrame, file: Path) -> int:
    """Write texts, repeated to a segment of the nightly run; return how many."""
    repeated = pl.concat([texts.select("id", "text")] * -(-InferConfig().texts_per_segment // len(texts)))
    repeated.write_parquet(file)
    return len(repeated)


def label(bundle: Bundle, source: Path, target: Path) -> None:
    """Label a file of texts."""
    table = pl.read_parquet(source)
    scored = bundle.score(table["text"].to_list())
    probability = pl.Series("probability", scored.probabilities[:, 1])
    settled = pl.Series("is_settled", scored.is_settled)
    table.select("id").with_columns(probability, settled).write_parquet(target)


@click.command()
@click.option("--sets", default=1000, show_default=True, help="Data sets to simulate.")
@click.option("--rounds", default=ROUNDS, show_default=True, help="Turns of either way.")
def main(sets: int, rounds: int) -> None:
    """Measure, simulate, report."""
    print("Trains a student unless there is one (3 minutes), then takes about 3 minutes on two cores.", flush=True)
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    student, sentences = hotel.student(), hotel.sentences()
    reviews = sentences["group"].unique(maintain_order=True)
    part = np.random.default_rng(SEED).permutation(len(reviews)) % PARTS
    parts = pl.DataFrame({"group": reviews, "part": part})
    sentences = sentences.join(parts, on="group", maintain_order="left")
    bundles = [Bundle.open(bundle_for(number, sentences, student)) for number in range(PARTS)]
    unseen = [sentences.filter(pl.col("part") == number) for number in range(PARTS)]
    found = [look(bundle, texts) for bundle, texts in zip(bundles, unseen, strict=True)]
    figures = gain(bundles, unseen, rounds) | loss(found) | guarantee(sets)
    settings = {
        "sentences": len(sentences),
        "reviews": len(reviews),
        "graph": read_settings(bundles[0].folder)["graph"],
        "threshold": [round(bundle.threshold, 4) for bundle in bundles],
        "cascades": [dict(one.settings) for one in found],
        "rounds": rounds,
        "sets": sets,
        "kinds": [kind.name for kind in KINDS],
    }
    file = report("cascade", figures, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
