"""What the first stage gains and loses on real sentences, and whether its promise holds.

    make benchmark-cascade

Needs ../shared/data/hotel-reviews. A MiniLM student is trained on the demo's labels (and kept under build/). The
reviews are cut into four parts. Each part in turn is what nobody has seen: export fits the first stage on the other
three and holds texts of them out, calibrate chooses the cut, as in a training run.

cascade_gain     texts a second of the whole bundle over those of the same bundle without its first stage, from Parquet
                 to Parquet; both take turns on the sentences of the first part, repeated to a segment of the nightly
                 run
cascade_missed   share of all sentences that are lost: settled, although the student calls them positive
cascade_settled  share of all sentences that need no student
cascade_bound    the largest of the four promises: share that is lost at most, with 95% confidence
guarantee_held   share of 1,000 simulated data sets in which the true loss stayed within the promise, in which there is
                 a cut; some have independent texts, some reviews whose sentences are alike; guarantee_held_worst is
                 that of the least favourable kind
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
from understudy import records
from understudy.bundles import read_settings
from understudy.engine import Bools, Floats
from understudy.metrics import Column
from understudy.scoring import Bundle
from understudy.shell import execute
from understudy.steps.calibrate import cut as cuts
from understudy.steps.calibrate.cut import HeldOut
from understudy.steps.infer.config import InferConfig

FOLDER = BUILD / "benchmark-cascade"
PARTS = 4
ROUNDS = 12
SEED = 20261121
PROMISE = 0.005
RESAMPLES = 2000
DRAWN_TEXTS = 1500
POPULATION_GROUPS = 300_000


@dataclass(frozen=True, slots=True)
class Kind:
    """How simulated texts hang together.

    Attributes:
        name: in the settings.
        sizes: mean size of a group; 1 for independent texts.
        tips: standard deviation, between groups, of the log-odds of being positive.
        blind: share of the groups in which the first stage sees nothing.
    """

    name: str
    sizes: float
    tips: float
    blind: float


KINDS = (
    Kind("independent", 1.0, 0.0, 0.0),
    Kind("reviews", 4.0, 0.8, 0.0),
    Kind("alike", 4.0, 1.5, 0.02),
    Kind("long", 12.0, 1.0, 0.02),
)


@dataclass(frozen=True, slots=True)
class Simulated:
    """Texts of a kind: group, score of the first stage, and what the student says; each of shape (texts,)."""

    groups: Column
    scores: Floats
    is_positive: Bools

    def drawn(self, rng: np.random.Generator, texts: int) -> HeldOut:
        """Draw groups until they hold so many texts."""
        first = int(rng.integers(0, len(self.groups) - 4 * texts))
        start = int(np.searchsorted(self.groups, self.groups[first] + 1))
        end = int(np.searchsorted(self.groups, self.groups[start + texts]))
        part = slice(start, end)
        zeros = np.zeros(end - start)
        return HeldOut(self.scores[part], zeros, self.is_positive[part], self.groups[part], zeros + 1)


def simulated(rng: np.random.Generator, kind: Kind) -> Simulated:
    """Make so many groups that what is lost among them is the truth."""
    sizes = rng.geometric(1 / kind.sizes, POPULATION_GROUPS)
    groups = np.repeat(np.arange(POPULATION_GROUPS), sizes)
    log_odds = rng.normal(-3.2, kind.tips, POPULATION_GROUPS)[groups]
    is_positive = rng.random(len(groups)) < 1 / (1 + np.exp(-log_odds))
    is_seen = (rng.random(POPULATION_GROUPS) >= kind.blind)[groups]
    scores = rng.normal(np.where(is_positive & is_seen, 2.5, 0.0), 1.0)
    return Simulated(groups, scores, is_positive)


def held(rng: np.random.Generator, kind: Kind, times: int) -> Bools:
    """Choose a cut on data sets of a kind, and tell for each with a cut whether the true loss is within the promise."""
    world = simulated(rng, kind)
    found = [cuts.choose(world.drawn(rng, DRAWN_TEXTS), PROMISE, 0.01).cut for _ in range(times)]
    chosen = np.array([cut for cut in found if cut is not None])
    scores = np.sort(world.scores[world.is_positive])
    return np.asarray(np.searchsorted(scores, chosen) / len(world.groups) <= PROMISE)


def guarantee(sets: int) -> dict[str, Figure]:
    """Simulate data sets of all kinds."""
    rng = np.random.default_rng(SEED)
    by_kind = {kind.name: held(rng, kind, sets // len(KINDS)) for kind in KINDS}
    worst = min(by_kind.values(), key=lambda one: float(one.mean()))
    return {"guarantee_held": share(np.concatenate(list(by_kind.values()))), "guarantee_held_worst": share(worst)}


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
    records.write(pool, records.Texts, folder / "pool")
    records.write(hotel.gold(), records.Gold, folder / "gold")
    given = {"card": hotel.TASK, "gold": folder / "gold", "overrides": f"infer.max_missed={PROMISE}"}
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
    is_positive = alone.decide(alone.probabilities(texts))
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


def gain(bundle: Bundle, texts: pl.DataFrame, rounds: int) -> dict[str, Figure]:
    """Let the bundle with and without its first stage take turns, from Parquet to Parquet."""
    source, target = FOLDER / "texts.parquet", FOLDER / "scored.parquet"
    repeated = pl.concat([texts.select("id", "text")] * -(-InferConfig().texts_per_segment // len(texts)))
    repeated.write_parquet(source)
    ways = {"with": bundle, "without": replace(bundle, cascade=None)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in sorted(ways, reverse=turn % 2 == 1):
            started = time.perf_counter()
            label(ways[name], source, target)
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    ratios = np.array(seconds["without"]) / np.array(seconds["with"])
    middle = {name: len(repeated) / float(np.median(one)) for name, one in seconds.items()}
    rng = np.random.default_rng(SEED)
    medians = np.median(rng.choice(ratios, (RESAMPLES, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "cascade_gain": Figure(float(np.median(ratios)), float(low), float(high)),
        "texts_per_s_with": Figure(middle["with"]),
        "texts_per_s_without": Figure(middle["without"]),
    }


def label(bundle: Bundle, source: Path, target: Path) -> None:
    """Label a file of texts."""
    table = pl.read_parquet(source)
    scored = bundle.score(table["text"].to_list())
    probability = pl.Series("probability", scored.probabilities[:, bundle.positive_index])
    settled = pl.Series("is_settled", scored.is_settled)
    table.select("id").with_columns(probability, settled).write_parquet(target)


@click.command()
@click.option("--sets", default=1000, show_default=True, help="Data sets to simulate.")
@click.option("--rounds", default=ROUNDS, show_default=True, help="Turns of either way.")
def main(sets: int, rounds: int) -> None:
    """Measure, simulate, report."""
    print("Trains a student unless there is one (3 minutes), then takes about 6 minutes on two cores.", flush=True)
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
    figures = gain(bundles[0], unseen[0], rounds) | loss(found) | guarantee(sets)
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
