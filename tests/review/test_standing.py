from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.bundles import make_card
from understudy.review.standing import BUDGET, GAIN, GOAL, standing
from understudy.store import cycles
from understudy.store.cycles import Cycle
from understudy.task.card import parse_card

CARD = parse_card(make_card().replace("f1: 0.5", "f1: 0.9") + "\n")
TEXTS = 400


def cycle(number: int, taught: int, **changed) -> Cycle:
    made = Cycle(
        card="hotel-tips",
        bundle=f"hotel-tips-{number}",
        recorded="2026-12-01T00:00:00Z",
        taught_by_people=taught,
        human_labels=taught,
        trained_texts=taught,
        teacher_usd=1.0,
        decision="publish",
        queue="q",
        queued=100,
        is_rehearsal=True,
    )
    return replace(made, **changed)


def answers(right: float, texts: int = TEXTS, seed: int = 0, names: tuple[str, str] = ("other", "tip")) -> pl.DataFrame:
    """Answer so many texts, of which the lowest `right` share by lot is right: a better student keeps what it had."""
    rng = np.random.default_rng(seed)
    truth, lots = rng.random(texts) < 0.5, rng.random(texts)
    given = np.where(lots < right, truth, ~truth)
    numbers = [str(number) for number in range(texts)]
    named = np.array(names)
    return pl.DataFrame(
        {"id": numbers, "group": numbers, "label": named[truth.astype(int)], "answer": named[given.astype(int)]}
    )


def stands(rights, *, texts: int = TEXTS, first: int = 100, each: int = 100, **changed):
    found = [cycle(number, first + each * number) for number in range(len(rights))]
    found[-1] = replace(found[-1], **changed)
    return standing(CARD, found, [answers(right, texts) for right in rights], 0.5)


def test_a_loop_goes_on_while_its_cycles_gain():
    found = stands([0.55, 0.63, 0.70, 0.76])
    assert (found.stop, found.last.verdict) == ("", "yes")
    assert found.next_cycle.gain.low < 0.06 < found.next_cycle.gain.high + 0.03
    assert found.more_usd == 50.0
    assert found.lines()[0].startswith("go on: the chance that 100 more labels gain 0.01 F1 or more is")


def test_a_loop_stops_when_the_next_labels_are_sure_to_gain_too_little():
    found = stands([0.70, 0.705, 0.705, 0.7075, 0.7075, 0.7075, 0.7075])
    assert (found.stop, found.last.verdict) == (GAIN, "no")
    assert found.lines()[0].startswith("stop: the chance that 100 more labels gain")


def test_a_goal_is_met_when_that_is_sure():
    assert stands([0.5, 0.97]).stop == GOAL
    assert stands([0.5, 0.905]).stop == ""  # met by the figure alone, and as likely not


@pytest.mark.parametrize(
    ("changed", "said"), [({"human_labels": 1000}, "1,000 labels"), ({"teacher_usd": 4.99}, "the budget's $5.00")]
)
def test_a_budget_that_is_used_up_stops_the_loop(changed, said):
    found = stands([0.6, 0.7], **changed)
    assert found.stop == BUDGET
    assert said in found.reason


def test_few_validation_texts_say_how_many_would_tell():
    found = stands([0.70, 0.72, 0.74], texts=80)
    assert found.last.verdict == "cannot tell"
    assert found.last.texts_to_tell > 80
    assert f"cannot tell: {found.last.texts_to_tell:,} validation texts would" in found.lines()[1]


def test_cycles_are_compared_on_the_texts_that_all_have_answered_by_the_newest_labels():
    first, second = answers(0.7, 300), answers(0.8, 400)
    turned = pl.when(pl.col("label") == "tip").then(pl.lit("other")).otherwise(pl.lit("tip"))
    relabelled = second.with_columns(label=pl.when(pl.col("id") == "0").then(turned).otherwise("label"))
    recorded = [cycle(0, 100), cycle(1, 200)]
    found = standing(CARD, recorded, [first, relabelled], 0.5)
    assert found.texts == 300
    assert found.points != standing(CARD, recorded, [first, second], 0.5).points


def test_cycles_by_labels_that_the_card_has_no_more_are_passed_over_and_counted():
    found = standing(CARD, [cycle(0, 100), cycle(1, 200)], [answers(0.7, names=("no", "yes")), answers(0.8)], 0.5)
    assert (len(found.points), found.passed_over) == (1, 1)
    assert "1 cycle by other labels" in found.lines()[-1]


def test_cycles_are_kept_in_the_order_in_which_they_came(store):
    for number in (3, 1, 2):
        assert cycles.put(store, cycle(number, 100), answers(0.7, 10)) is not None
    assert cycles.put(store, cycle(1, 999), answers(0.1, 10)) is None  # the same bundle is the same cycle
    assert [one.bundle for one in cycles.read_all(store, "hotel-tips")] == [f"hotel-tips-{n}" for n in (3, 1, 2)]


def test_a_cycle_that_was_killed_between_its_two_objects_is_recorded_anew(store):
    key = "cycles/hotel-tips/000001-hotel-tips-1.parquet"
    store.put_if_absent(key, b"half")
    assert cycles.put(store, cycle(1, 100), answers(0.7, 10)) == key.replace("000001", "000002")
    assert len(cycles.read_answers(store, "hotel-tips")) == 1
