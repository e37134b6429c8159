"""The list of prices: dated, each with its source, below the card's own, and no model without a price."""

from datetime import date

import pytest

from tests.conftest import card_yaml
from understudy.errors import BadCard
from understudy.task.card import Card, parse_card
from understudy.task.prices import listed
from understudy.teacher.budget import price_usd


def card_of(**teacher: object) -> Card:
    return parse_card(card_yaml(teacher=teacher))


def test_the_list_is_dated_and_each_price_has_its_source() -> None:
    assert date(2024, 1, 1) < date.fromisoformat(listed().as_of)
    assert len(listed().models) >= 10
    for price in listed().models.values():
        assert 0 < price.input_usd < price.output_usd
        assert price.source.startswith("https://")


def test_a_card_without_prices_has_the_lists_and_its_own_come_first() -> None:
    mini = card_of(model="gpt-4.1-mini").teacher
    assert price_usd(mini, 1_000_000, 1_000_000) == pytest.approx(2.0)
    assert mini.price_words == f"$0.4 a million tokens in, $1.6 out (list prices as of {listed().as_of})"
    own = card_of(model="gpt-4.1-mini", input_usd_per_million=0.0, output_usd_per_million=1.0).teacher
    assert price_usd(own, 1_000_000, 1_000_000) == 1.0
    assert own.price_words == "$0 a million tokens in, $1 out (by the card)"
    half = card_of(model="gpt-4.1-mini", output_usd_per_million=3.0).teacher
    assert half.usd_per_million == (0.4, 3.0)
    dated = f"by list prices as of {listed().as_of}"
    assert half.price_words == f"$0.4 a million tokens in, $3 out (out by the card, in {dated})"
    asked = card_of(model="gpt-4.1-mini", input_usd_per_million=0.2).teacher
    assert asked.price_words == f"$0.2 a million tokens in, $1.6 out (in by the card, out {dated})"


@pytest.mark.parametrize("more", [{}, {"input_usd_per_million": 1.0}])
def test_a_model_without_a_price_is_refused_with_the_remedy(more: dict[str, float]) -> None:
    with pytest.raises(BadCard, match=r"must have prices, got none for 'my-llama'.* 0 for a server of your own"):
        card_of(model="my-llama", **more)


def test_a_card_that_says_its_prices_keeps_its_hash() -> None:
    assert parse_card(card_yaml()).hash == "b0225f8f3340c4765e8e3d9f160d52ea2f50ca54b161096175ae43094510c7cf"
