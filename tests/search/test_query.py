"""What a search asks."""

from datetime import date

import pytest

from understudy.errors import BadSetting
from understudy.search.query import parse


def test_words_and_quoted_words_are_phrases_and_bare_signs_are_nothing():
    assert parse('late "check out"  -- !').phrases == ("late", "check out")


def test_no_words_ask_for_every_text():
    assert parse("").phrases == ()


@pytest.mark.parametrize("signs", ["!!!", "*", '""', "🛏"])
def test_signs_alone_are_refused_and_do_not_match_every_text(signs):
    with pytest.raises(BadSetting, match="must hold a letter or a digit, got"):
        parse(signs)


def test_a_day_is_read():
    assert parse("x", since="2026-11-01").since == date(2026, 11, 1)


@pytest.mark.parametrize(("given", "says"), [({"since": "1.11.26"}, "--since"), ({"limit": 0}, "--limit")])
def test_what_cannot_be_asked_is_said(given, says):
    with pytest.raises(BadSetting, match=says):
        parse("x", **given)
