"""Search for slices that nobody named in which a judge errs more often, and confirm them on labels not searched.

The human labels are parted in two halves by group. One half is searched: every cut of the texts is ranked by Fisher's
test, and the few that look worst, and are not almost the same texts as one another or as a slice of the card, go to
confirmation. There the other half alone is asked, with Holm's correction for these few. Then the halves change places,
and each may spend half of alpha (Bonferroni): all labels serve both ends, and none serves both for one slice. So the
chance that anything is called a hidden slice when none is stays below alpha, however many cuts were searched. This
alpha is the search's own, beside that of the named slices. Texts of slices where a bias is proven are left out of the
search for this label: their errors have a name.

Source: Cox, "A note on data-splitting for the evaluation of significance levels", 1975.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from understudy.review.cuts import Cut, Cuts
from understudy.review.slice_tests import Question, SliceTest, corrected, put_to
from understudy.stats.draw import share
from understudy.stats.metrics import Bools, Codes, Floats, of_label
from understudy.task.labels import LabelSpace

WORDS_PAIRED = 150  # words that look worst, of which each two are tried together
RANKED = 200  # cuts whose exact p is computed, those that stand out most
HALVES = 2  # each may spend its share of alpha
ALIKE = 0.5  # of the texts of two cuts together are in both: the two are one
DIRECTIONS: tuple[Literal["under-labels", "over-labels"], ...] = ("under-labels", "over-labels")


class Search(Protocol):
    """How the search goes: the settings of the step audit are one."""

    @property
    def alpha(self) -> float:
        """Chance of any false alarm, over all cuts and kinds of errors."""

    @property
    def min_labels(self) -> int:
        """Fewest human labels of a kind inside of a cut, and outside."""

    @property
    def search_candidates(self) -> int:
        """Most cuts that each half sends to the other for confirmation."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cut that looks worse in the half that was searched.

    Attributes:
        question: the kind of error.
        columns: of the cuts: one, or two words.
        p: of Fisher's test in the searched half, uncorrected: an order, no proof.
    """

    question: Question
    columns: tuple[int, ...]
    p: float


@dataclass(frozen=True, slots=True)
class HiddenTest:
    """What the half that was not searched says of a candidate; its `p_adjusted` holds over both halves.

    Attributes:
        cut: the texts.
        columns: of the cuts.
        members: which texts they are, shape (texts,).
        test: counts and p of the confirming half alone.
        corrected_for: tests that the correction is for: those of the half, once for each half.
    """

    cut: Cut
    columns: tuple[int, ...]
    members: Bools
    test: SliceTest
    corrected_for: int = 0


def halves_of(groups: Sequence[str], seed: int) -> Bools:
    """Part the groups in two halves by lot. Shape (texts,)."""
    drawn = {group: share(seed, "audit-half", group) < 0.5 for group in set(groups)}
    return np.array([drawn[group] for group in groups], dtype=bool)


def find(
    truth: Codes,
    judged: Codes,
    cuts: Cuts,
    half: Bools,
    slices: Mapping[str, Bools],
    tests: Sequence[SliceTest],
    space: LabelSpace,
    config: Search,
) -> list[HiddenTest]:
    """Search each half and confirm on the other.

    Args:
        truth: human labels, as `LabelSpace` has them.
        judged: the labels of the judge: the teacher, or the student.
        cuts: of the texts.
        half: which texts are of the first half, shape (texts,).
        slices: those of the card, each of shape (texts,).
        tests: of these.
        space: the labels.
        config: `alpha`, `min_labels` and `search_candidates`.

    Returns:
        the candidates of both halves, the least p first; a cut that both halves propose stands once.
    """
    proven = [test for test in tests if test.is_biased(config.alpha)]
    tried = {
        question: question.tried(truth) & ~_explained(question, proven, slices, len(half))
        for question in (Question(direction, label) for label in space.sides for direction in DIRECTIONS)
    }
    wrong = {question: of_label(truth, question.label) != of_label(judged, question.label) for question in tried}
    found = []
    for searched in (half, ~half):
        ranked = sorted(
            (
                candidate
                for question in tried
                for candidate in _ranked(question, tried[question] & searched, wrong[question], cuts, config)
            ),
            key=lambda candidate: candidate.p,
        )
        chosen = _unlike(ranked, cuts, tried, list(slices.values()), config.search_candidates)
        found += _confirmed(chosen, cuts, ~searched, tried, wrong)
    best: list[HiddenTest] = []
    for one in sorted(found, key=lambda one: (one.test.p_adjusted is None, one.test.p_adjusted, one.test.p)):
        before = [other for other in best if other.test.question == one.test.question]
        of = tried[one.test.question]
        if not any(is_same(one.columns, other.columns, one.members & of, other.members & of) for other in before):
            best.append(one)
    return best


def _explained(question: Question, proven: Sequence[SliceTest], slices: Mapping[str, Bools], texts: int) -> Bools:
    """Which texts lie in a named slice whose bias on the label is proven. Shape (texts,)."""
    named = [slices[test.slice] for test in proven if question.label in (test.question.label, test.question.given)]
    return np.asarray(np.any([np.zeros(texts, dtype=bool), *named], axis=0))


def _ranked(question: Question, tried: Bools, wrong: Bools, cuts: Cuts, config: Search) -> Iterator[Candidate]:
    """Rank the cuts of the searched half, words two by two as well, by p; only those that look worse inside."""
    from scipy.stats import hypergeom

    members, errors = cuts.members[tried], wrong[tried].astype(float)
    texts, all_wrong, words = len(errors), errors.sum(), len(cuts.words)
    if not all_wrong or all_wrong == texts:
        return
    sizes, hits = np.asarray(members.sum(axis=0)).ravel(), np.asarray(errors @ members).ravel()
    score = excess(sizes, hits, texts, all_wrong, config.min_labels)
    worst = np.argsort(-score[:words], kind="stable")[:WORDS_PAIRED]
    paired = members[:, worst].toarray()
    pair_sizes, pair_hits = paired.T @ paired, paired.T @ (paired * errors[:, None])
    first, second = np.triu_indices(len(worst), k=1)
    columns: list[tuple[int, ...]] = [(index,) for index in range(len(sizes))]
    columns += [(int(worst[one]), int(worst[other])) for one, other in zip(first, second, strict=True)]
    sizes, hits = np.concatenate([sizes, pair_sizes[first, second]]), np.concatenate([hits, pair_hits[first, second]])
    score = excess(sizes, hits, texts, all_wrong, config.min_labels)
    for index in np.argsort(-score, kind="stable")[:RANKED]:
        if score[index] > 0:
            p = hypergeom.sf(hits[index] - 1, texts, all_wrong, sizes[index])
            yield Candidate(question, columns[index], float(p))


def excess(sizes: Floats, hits: Floats, texts: int, wrong: float, least: int) -> Floats:
    """Say by how many standard deviations each cut holds more errors than its share.

    Args:
        sizes: texts inside, shape (cuts,).
        hits: errors inside, shape (cuts,).
        texts: in all.
        wrong: errors in all.
        least: fewest texts inside and outside; and a cut of more than half is no slice, its complement is.

    Returns:
        shape (cuts,); minus infinity for a cut that is too small or too large.

    >>> excess(np.array([10.0, 1.0]), np.array([6.0, 1.0]), texts=40, wrong=12, least=5).round(2).tolist()
    [2.36, -inf]
    """
    is_slice = (sizes >= least) & (sizes <= texts / 2)
    inside = np.where(is_slice, sizes, 1.0)
    rate = wrong / texts
    deviation = np.sqrt(inside * rate * (1 - rate) * (texts - inside) / (texts - 1))
    return np.where(is_slice, (hits - inside * rate) / np.maximum(deviation, 1e-9), -np.inf)


def _unlike(
    ranked: Sequence[Candidate], cuts: Cuts, tried: Mapping[Question, Bools], named: Sequence[Bools], most: int
) -> list[Candidate]:
    """Take the first candidates that are not the same as one before, or as a slice of the card."""
    chosen: list[Candidate] = []
    for candidate in ranked:
        if len(chosen) == most:
            break
        of = tried[candidate.question]
        own = cuts.holds(candidate.columns) & of
        before = [(one.columns, cuts.holds(one.columns)) for one in chosen if one.question == candidate.question]
        others = [*(((), members) for members in named), *before]
        if not any(is_same(candidate.columns, columns, own, members & of) for columns, members in others):
            chosen.append(candidate)
    return chosen


def is_same(columns: tuple[int, ...], others: tuple[int, ...], one: Bools, other: Bools) -> bool:
    """Whether two cuts share a word or hold almost the same texts, so that one of them is told."""
    return bool(set(columns) & set(others)) or likeness(one, other) >= ALIKE


def likeness(one: Bools, other: Bools) -> float:
    """Share of the texts of two cuts together that are in both (Jaccard).

    >>> likeness(np.array([True, True, False]), np.array([False, True, True]))
    0.3333333333333333
    """
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 0.0


def _confirmed(
    chosen: Sequence[Candidate],
    cuts: Cuts,
    asked: Bools,
    tried: Mapping[Question, Bools],
    wrong: Mapping[Question, Bools],
) -> list[HiddenTest]:
    """Put the candidates to the half that was not searched, corrected for their number and for the two halves."""
    found = []
    for candidate in chosen:
        cut, members, question = cuts.of(candidate.columns), cuts.holds(candidate.columns), candidate.question
        test = put_to(cut.name, question, tried[question] & asked, wrong[question], members)
        found.append(HiddenTest(cut, candidate.columns, members, test))
    made = sum(one.test.p is not None for one in found)
    return [
        one
        if test.p_adjusted is None
        else replace(
            one,
            test=replace(test, p_adjusted=min(1.0, HALVES * test.p_adjusted)),
            corrected_for=HALVES * made,
        )
        for one, test in zip(found, corrected([one.test for one in found]), strict=True)
    ]
