"""Choose the cut of the first stage, so that with 95% confidence it loses no more than was promised.

Lost is a text that the first stage settles although the student would give it another label than the settled one. What
is bounded is the share of all texts that are lost.

The bound is Clopper and Pearson's, which is exact, when every held-out text is a group of its own and stands for one
text. Otherwise the binomial is that of an effective number of texts. Texts may stand for several: all that is lost
may be of the heaviest kind, so there are as many as the heaviest text goes into all of them. The sentences of a
review are not independent: the number is divided by the design effect of groups. Lost texts are too few to measure
theirs, so it is taken from the texts with another label, of which they are a part. This trusts that groups which lose
texts hold no more of these than other groups that have some (docs/decisions/0008-first-stage.md). Where that fails,
so does the promise, and it is the nightly check of what was settled (`cascade.checked_share`) that tells.

A higher cut never loses less. So the highest cut up to which every bound holds needs no correction for the choice among
many: it is too high only if the bound at the one true limit failed. The 5% are the chance that there is a cut and it
loses too much.

Sources: Clopper and Pearson, "The use of confidence or fiducial limits", 1934; Korn and Graubard, "Confidence intervals
for proportions with small expected number of positive counts estimated from survey data", 1998, for the effective
number; Fay and Feuer, "Confidence intervals for directly standardized rates", 1997, whose bound on weighted counts is
of this kind where all that is lost is of the heaviest; Kish, "Survey sampling", 1965, for the design effect; Bates,
Angelopoulos, Lei, Malik and Jordan, "Distribution-free, risk-controlling prediction sets", 2021, theorem 1, for the
choice.
"""

from dataclasses import dataclass

import numpy as np

from understudy.model.calibration import Calibrator, log_odds
from understudy.model.cascade import CONFIDENCE, sigmoid
from understudy.model.engine import Bools, Floats
from understudy.stats.metrics import Column


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Texts that neither the student nor the first stage has learned from.

    Attributes:
        scores: of the first stage, shape (texts,).
        logits: of the student, shape (texts, labels).
        probabilities: of the student, calibrated, shape (texts, labels).
        is_other: to which the student gives another label than the settled one, shape (texts,).
        groups: review, thread or dialogue of each, shape (texts,).
        weights: texts that each stands for, shape (texts,).
    """

    scores: Floats
    logits: Floats
    probabilities: Floats
    is_other: Bools
    groups: Column
    weights: Floats

    def share(self, chosen: Bools) -> float:
        """Weighted share of some of the texts among all."""
        return float(self.weights[chosen].sum() / self.weights.sum())


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut and what it costs on the held-out texts; `cut` is None where there is none, and `reason` says why.

    Attributes:
        cut: texts that score below it are settled.
        reason: in a sentence.
        settled: share of the texts below the cut.
        missed: share of the texts that are lost.
        missed_others: share of the texts with another label that are lost.
        bound: share that is lost at most, with 95% confidence, under what is trusted of groups (above).
        texts: held out.
        effective_texts: independent texts that tell as much.
    """

    cut: float | None
    reason: str
    settled: float = 0.0
    missed: float = 0.0
    missed_others: float = 0.0
    bound: float = 0.0
    texts: int = 0
    effective_texts: float = 0.0


def choose(held: HeldOut, max_missed: float, min_settled: float) -> Cut:
    """Choose a cut whose bound keeps the promise, if that settles enough to pay.

    The highest one lies just under the first text that may not be lost. The cut is midway from there to the last
    that may: it settles hardly less, and loses less of what is to come.

    Args:
        held: the held-out texts.
        max_missed: share of all texts that may be lost.
        min_settled: share of all texts below which the first stage does not pay.
    """
    effective = effective_texts(held)
    if bound(0.0, effective) > max_missed:
        return Cut(
            None,
            f"too few texts: the {len(held.scores):,} held out tell as much as {effective:,.0f} independent ones, too "
            f"few to promise cascade.max_missed {max_missed:g}",
        )
    scores, lost = lost_below(held)
    first_kept = next((place for place, share in enumerate(lost) if bound(share, effective) > max_missed), None)
    if first_kept is None:
        share = held.share(held.is_other)
        return Cut(
            None,
            f"nothing to promise: the student gives {100 * share:.2g}% of the texts another label, and "
            f"cascade.max_missed {max_missed:g} would let all of them go",
        )
    cut = float((scores[max(0, first_kept - 1)] + scores[first_kept]) / 2)
    is_settled = held.scores < cut
    settled, missed = held.share(is_settled), held.share(is_settled & held.is_other)
    if settled < min_settled:
        return Cut(
            None,
            f"it does not pay: it would settle {100 * settled:.1f}% of the texts, less than cascade.min_settled "
            f"{min_settled:g}",
        )
    most = bound(missed, effective)
    return Cut(
        cut=cut,
        reason=f"settles {100 * settled:.0f}% of the texts and loses at most {100 * most:.2f}% of all",
        settled=settled,
        missed=missed,
        missed_others=missed / held.share(held.is_other),
        bound=most,
        texts=len(held.scores),
        effective_texts=effective,
    )


def lost_below(held: HeldOut) -> tuple[Floats, Floats]:
    """Return the cuts at which one more text is lost, and the share of all texts lost just above each.

    Returns:
        scores of the texts with another label, ascending, and shares; place k tells of a cut above the first k + 1.
    """
    order = np.argsort(held.scores[held.is_other], kind="stable")
    weights = held.weights[held.is_other][order]
    return held.scores[held.is_other][order], np.cumsum(weights) / held.weights.sum()


def bound(share: float, effective: float) -> float:
    """Upper end of the one-sided 95% interval of a share, by Clopper and Pearson.

    Args:
        share: that was seen.
        effective: independent texts that tell as much as those it was seen among.

    >>> round(bound(0.0, 598), 5), round(bound(2 / 1500, 1500), 5)
    (0.005, 0.00419)
    """
    from scipy.stats import beta

    return float(beta.ppf(CONFIDENCE, share * effective + 1, (1 - share) * effective)) if share < 1 else 1.0


def effective_texts(held: HeldOut) -> float:
    """Independent texts of weight 1 that tell at least as much: all weight over the largest and the design effect."""
    return float(held.weights.sum() / held.weights.max()) / design_effect(held)


def design_effect(held: HeldOut) -> float:
    """Variance of the share of texts with another label by groups, over that of as many independent texts.

    Returns:
        at least 1; exactly 1 when every text is a group of its own.
    """
    index, sizes = np.unique(held.groups, return_inverse=True, return_counts=True)[1:]
    share = held.share(held.is_other)
    if sizes.max(initial=1) == 1 or share in {0.0, 1.0}:
        return 1.0
    residuals = held.weights * (held.is_other - share)
    by_group = np.bincount(index, weights=residuals)
    variance = (by_group**2).sum() * len(sizes) / max(1, len(sizes) - 1)
    return max(1.0, float(variance / (residuals**2).sum()))


def rest(held: HeldOut, cut: float, label: int) -> Floats:
    """Find how the student shares out the probability of other labels among settled texts, shape (labels,)."""
    is_settled = held.scores < cut
    found = held.weights[is_settled] @ held.probabilities[is_settled]
    found[label] = 0.0
    total = float(found.sum())
    if total <= 0:
        found = (np.arange(len(found)) != label).astype(np.float64)
        total = float(found.sum())
    return np.asarray(found / total)


def line(held: HeldOut, cut: float, calibrator: Calibrator, label: int) -> tuple[float, float]:
    """Find slope and bias that make log-odds of another label of a settled text's score.

    The slope is the calibrator's own, from the student's log-odds to calibrated ones; the bias makes the mean
    probability of settled texts the student's own mean on them.
    """
    from scipy.optimize import brentq

    raw = -log_odds(held.logits, label)
    calibrated = -log_odds(calibrator.scaled(held.logits), label)
    spread = np.average((raw - np.average(raw, weights=held.weights)) ** 2, weights=held.weights)
    slope = 1.0
    if spread > 0:
        slope = max(0.0, float(np.polyfit(raw, calibrated, 1, w=np.sqrt(held.weights))[0])) or 1.0
    is_settled = held.scores < cut
    weights, scores = held.weights[is_settled], slope * held.scores[is_settled]
    wanted = np.average(1.0 - held.probabilities[is_settled, label], weights=weights)
    width = float(np.abs(calibrated).max() + np.abs(scores).max()) + 1.0

    def gap(bias: float) -> float:
        return float(np.average(sigmoid(scores + bias), weights=weights) - wanted)

    return slope, float(brentq(gap, -width, width, xtol=1e-13))
