"""The watch on simulated years of many labels: false alarms of the shares, and nights until one that doubles is seen.

    python -m benchmarks.label_watch

A night draws whole groups of one to eight texts; half of the texts share their group's label, the others have labels
of their own. Half of the labels' weight is spread by Zipf's law, half evenly, so that many labels are rare. In a quiet
year nothing changes; false alarms are those of the series of the shares alone, for which the promise is one in
`false_alarm_nights` times the number of series. For the delay a label of 5% doubles at the others' cost, after a month
of quiet nights. No data is needed.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import click
import numpy as np

from benchmarks.figures import Figure, report
from understudy.stats.drift import detector, series
from understudy.stats.drift.series import SHARES, Shares
from understudy.stats.drift.summary import empty
from understudy.stats.metrics import Floats
from understudy.steps.watch import rules
from understudy.steps.watch.config import WatchConfig

SEED = 20261130
LABELS, TEXTS, REFERENCE_TEXTS = (5, 77), 2000, 2000
PART_OF_TIME = {5: 0.2, 77: 0.8}  # years of many labels take longer
NIGHTS, BEFORE, AFTER = 365, 30, 60
LARGEST_GROUP, ALIKE = 8, 0.5
DOUBLED = 0.05
QUANTILES = (0.05, 0.95)


def shares_of(labels: int) -> Floats:
    """Shares of the labels: one of 5%, the others half by Zipf's law and half even. Shape (labels,).

    >>> shares_of(5).round(3).tolist()
    [0.05, 0.347, 0.233, 0.195, 0.176]
    """
    rank = np.arange(1, labels)
    zipf = 1 / rank
    others = zipf / zipf.sum() / 2 + 0.5 / len(rank)
    return np.concatenate([[DOUBLED], others * (1 - DOUBLED)])


def doubled(shares: Floats) -> Floats:
    """Let the first label double at the others' cost."""
    return np.concatenate([[2 * shares[0]], shares[1:] * (1 - 2 * shares[0]) / (1 - shares[0])])


def night(rng: np.random.Generator, shares: Floats, texts: int) -> Shares:
    """Draw a night's groups, and return the shares of its labels."""
    labels = len(shares)
    sizes = rng.integers(1, LARGEST_GROUP + 1, size=round(texts * 2 / (LARGEST_GROUP + 1)))
    group = np.repeat(np.arange(len(sizes)), sizes)
    own, alike = rng.choice(labels, size=len(group), p=shares), rng.choice(labels, size=len(sizes), p=shares)
    codes = np.where(rng.random(len(group)) < ALIKE, alike[group], own)
    met, times = np.unique(group * labels + codes, return_counts=True)
    code, count = met % labels, times.astype(float)
    found = replace(
        empty(labels, 1, 1),
        texts=float(len(group)),
        groups=len(sizes),
        group_squares=float(sizes @ sizes),
        counts=np.bincount(code, weights=count, minlength=labels),
        count_squares=np.bincount(code, weights=count**2, minlength=labels),
        count_crosses=np.bincount(code, weights=count * sizes[met // labels], minlength=labels),
    )
    known = series.shares(found, found, range(labels))
    assert known is not None  # noqa: S101 - there are texts
    return known


def alarms(rng: np.random.Generator, plan: Sequence[tuple[Floats, int]], config: WatchConfig) -> list[tuple[int, int]]:
    """Draw nights by their shares, and return the alarms: the night, and the label that is named."""
    reference = night(rng, plan[0][0], REFERENCE_TEXTS)
    nights = [night(rng, shares, TEXTS) for shares, count in plan for _ in range(count)]
    found = detector.follow_together(nights, reference, rules.tolerances(config)[SHARES], rules.limit(config))
    return [(place, one.leading) for place, one in enumerate(found) if one and one.is_alarm]


def poisson(count: int, years: int) -> Figure:
    """A mean number a year with its exact 95% interval.

    >>> found = poisson(0, 10)
    >>> found.value, found.low, round(found.high, 3)
    (0.0, 0.0, 0.369)

    Source: Garwood, "Fiducial limits for the Poisson distribution", 1936.
    """
    from scipy.stats import chi2

    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return Figure(count / years, low / years, float(chi2.ppf(0.975, 2 * count + 2)) / 2 / years)


def measure(seconds: float) -> dict[str, Figure]:
    """Measure false alarms and delays for each number of labels, within about so many seconds in all.

    Returns:
        `watch_false_alarms_per_year_<labels>` with its Poisson interval, `nights_until_doubled_<labels>`: the median
        with the 5% and 95% quantiles, and how many years and changes were simulated.
    """
    figures: dict[str, Figure] = {}
    for labels in LABELS:
        rng, config, shares = np.random.default_rng([SEED, labels]), WatchConfig(), shares_of(labels)
        until, count, years = time.monotonic() + seconds * PART_OF_TIME[labels] * 3 / 4, 0, 0
        while time.monotonic() < until or not years:
            count, years = count + len(alarms(rng, [(shares, NIGHTS)], config)), years + 1
        until, delays, right = time.monotonic() + seconds * PART_OF_TIME[labels] / 4, list[float](), 0
        while time.monotonic() < until or not delays:
            later = [
                one for one in alarms(rng, [(shares, BEFORE), (doubled(shares), AFTER)], config) if one[0] >= BEFORE
            ]
            delays.append(later[0][0] - BEFORE + 1 if later else math.inf)
            right += bool(later) and later[0][1] == 0
        low, middle, high = np.quantile(delays, [QUANTILES[0], 0.5, QUANTILES[1]], method="inverted_cdf")
        figures[f"watch_false_alarms_per_year_{labels}"] = poisson(count, years)
        figures[f"nights_until_doubled_{labels}"] = Figure(float(middle), float(low), float(high))
        figures[f"share_named_rightly_{labels}"] = Figure(right / len(delays))
        figures[f"years_{labels}"], figures[f"changes_{labels}"] = Figure(years), Figure(len(delays))
    return figures


@click.command()
@click.option("--seconds", default=90.0, show_default=True, help="About how long to simulate.")
def main(seconds: float) -> None:
    """Simulate years of nights, and report."""
    started = time.monotonic()
    figures = measure(seconds)
    settings = {
        "texts": TEXTS,
        "reference_texts": REFERENCE_TEXTS,
        "largest_group": LARGEST_GROUP,
        "alike": ALIKE,
        "doubled_share": DOUBLED,
        "nights_before_change": BEFORE,
        "false_alarm_nights": WatchConfig().false_alarm_nights,
        "series": len(series.SERIES),
    }
    file = report("label-watch", figures, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
