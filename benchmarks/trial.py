"""Count how often the trial of step label stops a good teacher, and how often a hopeless one.

    python -m benchmarks.trial --runs 200

Each run draws a test split and a teacher's answers of a known kappa, and goes through the looks as the step does. It
prints a line a case: the task, the true kappa of the teacher and of the weak rules, and how the runs ended.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from understudy.stats.metrics import Codes
from understudy.steps.label import rules
from understudy.task.baselines import MAJORITY, RULES, commonest
from understudy.task.labels import LabelSpace
from understudy.teacher import worth

TEST_TEXTS, TRIAL_TEXTS = 1000, 200
BINARY = LabelSpace(("other", "tip"), "tip")
SEVEN = LabelSpace(tuple("abcdefg"))
SETS = LabelSpace(tuple("abcd"), is_many=True)


@dataclass(frozen=True, slots=True)
class Case:
    """A task, a teacher and weak rules.

    Attributes:
        name: what it is.
        space: the labels.
        shares: of the labels; of each by itself where a text may have several.
        kappa: the teacher's, true.
        rules_kappa: of the weak rules; none where the card has none.
    """

    name: str
    space: LabelSpace
    shares: tuple[float, ...]
    kappa: float
    rules_kappa: float | None = None


def cases() -> Iterator[Case]:
    """List teachers from hopeless to good, of each kind of task, and rules that are worse, as good, and better."""
    for kappa in (0.5, 0.0, 0.2, 0.3):
        yield Case("two labels", BINARY, (0.5, 0.5), kappa)
        yield Case("two labels, scarce", BINARY, (0.92, 0.08), kappa)
        yield Case("seven labels", SEVEN, (0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05), kappa)
        yield Case("sets of four", SETS, (0.4, 0.2, 0.1, 0.05), kappa)
    for rules_kappa in (0.5, 0.7, 0.95):
        yield Case("two labels, scarce, rules", BINARY, (0.9, 0.1), 0.5, rules_kappa)


def answered(truth: Codes, case: Case, kappa: float, rng: np.random.Generator) -> Codes:
    """Answer with a true kappa: a share of the texts rightly, the others by chance; below 0, rightly is wrongly."""
    is_known = rng.random(truth.shape) < abs(kappa)
    known = truth
    if kappa < 0:
        known = ~truth if case.space.is_many else (truth + 1) % len(case.space)
    return np.where(is_known, known, drawn(case, len(truth), rng))


def drawn(case: Case, texts: int, rng: np.random.Generator) -> Codes:
    """Draw labels by their shares."""
    if case.space.is_many:
        return np.asarray(rng.random((texts, len(case.space))) < np.array(case.shares))
    return rng.choice(len(case.space), size=texts, p=case.shares)


def tried(case: Case, rng: np.random.Generator) -> str:
    """Go through the looks; say how they end."""
    truth = drawn(case, TEST_TEXTS, rng)
    given = answered(truth, case, case.kappa, rng)
    by_rules = None if case.rules_kappa is None else answered(truth, case, case.rules_kappa, rng)
    for number in rules.looks(TEST_TEXTS, TRIAL_TEXTS):
        part = truth[:number]
        rivals = {MAJORITY: commonest(part, case.space)} | ({} if by_rules is None else {RULES: by_rules[:number]})
        verdict = worth.measure(part, given[:number], np.arange(number), rivals, case.space).verdict
        if verdict == "hopeless":
            return f"stopped at {number}"
        if verdict == "worth asking":
            return f"on after {number}"
    return "on, undecided"


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    for case in cases():
        rng = np.random.default_rng(7)
        ends = Counter(tried(case, rng) for _ in range(runs))
        told = ", ".join(f"{end} {times / runs:.1%}" for end, times in sorted(ends.items()))
        rules_told = "" if case.rules_kappa is None else f", rules' kappa {case.rules_kappa}"
        print(f"{case.name}: kappa {case.kappa}{rules_told}: {told}", flush=True)


if __name__ == "__main__":
    main()
