from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.times import moment_of
from understudy.search.documents import when

MARCH = "2024-03-09T16:00:00Z"
FIRST, LAST = datetime(2001, 9, 9, 1, 46, 40), datetime(2286, 11, 20)


@pytest.mark.parametrize(
    "time",
    [
        "1710000000",
        "1710000000000",
        "1710000000000000",
        "1710000000000000000",
        "1710000000.0",
        "1710000000000.000",
        "20240309160000",
        "2024-03-09T16:00:00",
        "2024-03-09 18:00:00+02:00",
        " 1710000000000 ",
    ],
)
def test_a_count_since_1970_is_read_whatever_its_unit(time):
    assert when(time, "2026-11-05") == MARCH


@pytest.mark.parametrize(
    "time",
    [
        "last May",
        "202403091600",
        "1710",
        "171000000000000000000",
        "-1710000000",
        "1.71e12",
        "17100000000",
        "0",
        "9" * 400,
    ],
)
def test_what_cannot_be_told_is_the_nights_day(time):
    """Twelve digits may be a date with hour and minute, or milliseconds of 1976: neither is guessed."""
    assert moment_of(time) is None
    assert when(time, "2026-11-05") == "2026-11-05T00:00:00Z"


def test_eight_digits_are_a_date_and_not_seconds():
    assert when("20240309", "2026-11-05") == "2024-03-09T00:00:00Z"
    assert moment_of("20241309") is None


@given(st.datetimes(FIRST, LAST), st.sampled_from([10**3, 10**6, 10**9]))
def test_every_moment_of_our_time_comes_back_from_its_count(moment, per_second):
    moment = moment.replace(tzinfo=UTC)
    whole = int(moment.timestamp()) * per_second
    read = moment_of(str(whole))
    assert read is not None
    assert int(read.timestamp()) == int(moment.timestamp())


@given(st.text(max_size=40))
def test_no_words_at_all_make_reading_crash(text):
    assert moment_of(text) is None or moment_of(text).year >= 1000
