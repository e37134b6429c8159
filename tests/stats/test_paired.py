"""Two judges on the same texts: the exact test, its power, and how many texts it would take."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial

from understudy.stats import agreement
from understudy.stats.paired import POWER, Paired, least_texts, sign_flip_p
from understudy.steps.audit.agreement import krippendorff_alpha

TAKEMETER = Paired(texts=30, both=26, first=4, second=0)


def test_four_to_nothing_of_thirty_is_no_proof_and_twenty_eight_more_would_be() -> None:
    assert TAKEMETER.p == 0.125
    needed = TAKEMETER.texts_to_tell(margin=0.03)
    assert needed == 58
    assert TAKEMETER.power(needed - 1) < POWER <= TAKEMETER.power(needed)


def test_the_power_is_what_a_simulation_finds() -> None:
    found = Paired(texts=100, both=70, first=16, second=6)
    rng = np.random.default_rng(0)
    apart = rng.multinomial(200, [0.16, 0.06, 0.78], size=4000)
    told = np.mean([Paired(200, 0, first, second).p < 0.05 for first, second, _ in apart])
    assert found.power(200) == pytest.approx(told, abs=0.03)


def test_judges_that_err_alike_are_alike_when_there_are_texts_enough() -> None:
    even = Paired(texts=100, both=90, first=2, second=2)
    assert not even.is_alike(0.03)
    needed = even.texts_to_tell(0.03)
    assert needed is not None
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(needed, [0.02, 0.02, 0.96], size=4000)
    found = [Paired(needed, 0, first, second) for first, second, _ in drawn]
    decided = np.mean([one.p < 0.05 or one.is_alike(0.03) for one in found])
    assert decided == pytest.approx(even.power(needed, 0.03), abs=0.03)
    assert decided >= POWER - 0.03  # as many as are alike by the mean alone decide in half of the repetitions
    assert Paired(texts=1000, both=900, first=20, second=20).is_alike(0.03)


def test_judges_that_never_differ_still_need_texts_to_be_called_alike() -> None:
    same = Paired(texts=10, both=10, first=0, second=0)
    assert (same.p, same.is_alike(0.03)) == (1.0, False)
    assert Paired(texts=100, both=100, first=0, second=0).is_alike(0.03)


@pytest.mark.parametrize(("first", "second"), [(12, 8), (20, 6), (5, 5), (3, 0), (0, 0)])
def test_the_power_counts_each_outcome_that_is_told_or_alike(first, second) -> None:
    seen, texts, margin = Paired(texts=150, both=100, first=first, second=second), 120, 0.08
    shares = [first / 150, second / 150, 1 - (first + second) / 150]
    outcomes = [(one, other, texts - one - other) for one in range(61) for other in range(61 - one)]
    chances = multinomial.pmf(outcomes, texts, shares)
    found = [Paired(texts, 0, one, other) for one, other, _ in outcomes]
    decided = sum(
        chance
        for one, chance in zip(found, chances, strict=True)
        if chance > 1e-9 and (one.p < 0.05 or one.is_alike(margin))
    )
    assert seen.power(texts, margin) == pytest.approx(decided, abs=1e-5)


def test_texts_of_one_group_are_not_proof_of_one_another() -> None:
    first = np.repeat([True, True, False], [12, 30, 3])
    second = np.repeat([False, True, True], [12, 30, 3])
    assert Paired.of(first, second).p < 0.05
    groups = np.concatenate([np.repeat([0, 1, 2], 4), np.arange(30) + 10, np.repeat([3], 3)])
    grouped = Paired.of(first, second, groups)
    assert grouped.gaps == (4, 4, 4, -3)
    assert grouped.p == pytest.approx(4 / 16)  # of the signs of 4, 4, 4, 3: all alike, and the three against the one
    assert grouped.spread == pytest.approx((3 * 16 + 9) / 15)
    alone = Paired.of(first, second).difference()
    assert grouped.difference().high - grouped.difference().low > 1.5 * (alone.high - alone.low)
    assert Paired.of(first, second, np.arange(45)) == Paired.of(first, second)


def test_many_groups_flipped_by_lot_are_what_the_exact_test_finds_where_each_has_one_text() -> None:
    by_lot = sign_flip_p([1] * 22 + [-1] * 10)
    assert by_lot == pytest.approx(Paired(texts=100, both=50, first=22, second=10).p, abs=0.01)


@given(st.integers(1, 5000))
def test_the_least_number_is_found_by_bisection(least: int) -> None:
    assert least_texts(lambda texts: texts >= least) == least


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40), st.randoms())
def test_alpha_of_any_number_of_annotators_is_the_audits_where_two_labelled_all(pairs, random) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    counts = np.eye(3)[first] + np.eye(3)[second]
    weights = np.array([[random.randint(0, 3) for _ in pairs] for _ in range(3)], dtype=float)
    known = krippendorff_alpha(first, second, labels=3)
    np.testing.assert_allclose(agreement.nominal_alpha(counts), known, equal_nan=True)
    np.testing.assert_allclose(
        agreement.nominal_alpha(counts, weights), krippendorff_alpha(first, second, weights, labels=3), equal_nan=True
    )


def test_a_text_that_one_person_labelled_says_nothing_of_agreement() -> None:
    counts = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    alone = np.array([[1.0, 0.0]] * 50)
    assert agreement.nominal_alpha(np.vstack([counts, alone])) == agreement.nominal_alpha(counts)
