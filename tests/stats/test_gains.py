import numpy as np
import pytest

from understudy.stats import gains
from understudy.stats.metrics import f1

LABELS = np.array([200.0, 300, 400, 500, 600, 700])


def curve(bend, fall=4.0, top=0.9):
    return top - fall * LABELS**-bend


def test_the_outlook_covers_what_the_next_labels_truly_gain():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        bend = rng.uniform(0.3, 1.2)
        fall = rng.uniform(0.1, 0.3) * LABELS[0] ** bend
        true = fall * (700.0**-bend - 800.0**-bend)
        figures = curve(bend, fall) + rng.normal(0, 0.007, 6) + rng.normal(0, 0.02)  # own noise, and the texts' share
        draws = figures + rng.normal(0, 0.02, (200, 1))
        coming = gains.outlook(LABELS, draws, 100)
        covered.append(coming.gain.low - 1e-9 <= true <= coming.gain.high + 1e-9)
    assert np.mean(covered) >= 0.9


def test_a_flat_curve_buys_too_little_and_a_steep_one_does_not():
    flat, steep = np.tile(np.full(6, 0.8), (500, 1)), np.tile(0.5 + 0.05 * np.arange(6), (500, 1))
    assert gains.outlook(LABELS, flat, 100).is_too_little
    assert not gains.outlook(LABELS, steep, 100).is_too_little


def test_two_cycles_say_nothing_of_the_third():
    assert gains.outlook(LABELS[:2], np.full((100, 2), 0.8), 100) is None
    assert gains.outlook(np.array([200.0, 200.0, 200.0]), np.full((100, 3), 0.8), 100) is None


def test_undefined_resamples_are_left_out():
    draws = np.tile(curve(0.5), (50, 1))
    draws[::2, 3] = np.nan
    assert np.isfinite(gains.outlook(LABELS, draws, 100).gain.high)
    assert gains.outlook(LABELS, np.full((5, 6), np.nan), 100) is None


def test_cycles_are_compared_on_the_same_resamples():
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.4
    answer = np.where(rng.random(300) < 0.7, truth, ~truth)
    values, draws = gains.drawn_figures(f1, truth, [answer, answer], np.arange(300))
    assert (draws[:, 0] == draws[:, 1]).all()
    found = gains.gain(values, draws, 300)
    assert (found.verdict, found.gain.low, found.gain.high) == ("no", 0.0, 0.0)


@pytest.mark.parametrize(("gained", "wanted"), [(0.035, 1559), (0.01, None), (0.0101, None), (0.2, None)])
def test_texts_that_would_tell_are_named_where_a_number_would_and_more_are_needed(gained, wanted):
    assert gains.texts_to_tell(gained, 0.03, 400) == wanted
