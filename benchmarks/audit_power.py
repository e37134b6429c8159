"""Simulate teachers and audit them: how often a bias is found that is there, and how often one that is not.

No model is trained. A teacher finds 80% of 400 labelled positives and raises 5% false alarms; in a slice of 15% of the
positives, 60 of them, a biased one finds half as many. Texts are 15 words by Zipf's law, and those of the slice hold
one word more, so that the search for hidden slices has 3,000 words to be misled by.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl

from benchmarks.figures import Figure
from understudy.review import hidden
from understudy.review.cuts import cuts_of
from understudy.stats.metrics import Bools, Codes, wilson
from understudy.steps.audit import rules
from understudy.steps.audit.config import AuditConfig
from understudy.task.labels import LabelSpace

SPACE = LabelSpace(("other", "tip"), "tip")
POSITIVES, INSIDE, OTHERS = 400, 60, 400
RECALL, FALSE_ALARMS = 0.8, 0.05
SLICES = 8
VOCABULARY = tuple(f"w{number:04}" for number in range(3000))
WORDS, FLATTENED = 15, 10  # of a text; the rank at which Zipf's law begins, so that no word is in every text
MARK = "avoid"


def answers(rng: np.random.Generator, *, is_biased: bool) -> tuple[Codes, Codes, Bools]:
    """Draw human labels, the teacher's, and which texts are in the slice. Each of shape (texts,)."""
    truth = np.repeat([1, 0], [POSITIVES, OTHERS])
    inside = np.zeros(len(truth), dtype=bool)
    inside[:INSIDE] = inside[POSITIVES : POSITIVES + INSIDE * OTHERS // POSITIVES] = True
    recall = np.where(inside & is_biased, RECALL / 2, RECALL)
    given = rng.random(len(truth)) < np.where(truth == 1, recall, FALSE_ALARMS)
    return truth, given.astype(np.int64), inside


def named(seed: int, *, is_biased: bool) -> bool:
    """Audit eight named slices, of which the first is the one with the bias; tell whether it was found.

    Without a bias: whether any slice was called biased.
    """
    rng = np.random.default_rng([seed, is_biased])
    truth, judged, inside = answers(rng, is_biased=is_biased)
    others = {f"slice {number}": rng.random(len(truth)) < INSIDE / POSITIVES for number in range(1, SLICES)}
    tests = rules.compare_slices(truth, judged, {MARK: inside, **others}, SPACE, AuditConfig())
    alarms = {test.slice for test in tests if test.is_biased(AuditConfig().alpha)}
    return MARK in alarms if is_biased else bool(alarms)


def searched(seed: int, *, is_biased: bool) -> bool:
    """Audit a card without slices; tell whether the search found the one with the bias.

    Without a bias: whether it called anything a hidden slice.
    """
    config = AuditConfig()
    rng = np.random.default_rng([seed, is_biased])
    truth, judged, inside = answers(rng, is_biased=is_biased)
    shares = 1 / np.arange(FLATTENED, FLATTENED + len(VOCABULARY))
    words = rng.choice(VOCABULARY, size=(len(truth), WORDS), p=shares / shares.sum())
    texts = [" ".join([*row, MARK] if held else row) for row, held in zip(words, inside, strict=True)]
    cuts = cuts_of(pl.DataFrame({"text": texts}), [], config.min_labels)
    half = hidden.halves_of([f"{seed}-{row}" for row in range(len(texts))], config.seed)
    found = hidden.find(truth, judged, cuts, half, {}, [], SPACE, config)
    alarms = {one.cut.name for one in found if one.test.is_biased(config.alpha)}
    return MARK in alarms if is_biased else bool(alarms)


def measure(seeds: range) -> dict[str, Figure]:
    """Simulate each kind of audit once a seed; shares with their 95% Wilson intervals."""
    audits: dict[str, Callable[[int], bool]] = {
        "bias_found": partial(named, is_biased=True),
        "bias_false": partial(named, is_biased=False),
        "hidden_slice_found": partial(searched, is_biased=True),
        "hidden_slice_false": partial(searched, is_biased=False),
    }
    return {name: Figure.of(wilson(sum(audit(seed) for seed in seeds), len(seeds))) for name, audit in audits.items()}
