"""What may pass is tried again, in bounded number and time."""

import pytest

from understudy.runtime.retry import Patience, patiently, pauses


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def test_the_number_of_tries_is_bounded():
    clock, tries = Clock(), []

    def fails():
        tries.append(clock())
        raise ConnectionError("away")

    with pytest.raises(ConnectionError, match="away"):
        patiently(fails, lambda _: True, Patience(4, 30, 600), clock.sleep, clock)
    assert len(tries) == 5


def test_the_time_is_bounded_however_slow_each_try_is():
    clock, tries = Clock(), []

    def times_out():
        tries.append(clock())
        clock.sleep(60)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        patiently(times_out, lambda _: True, Patience(1000, 30, 300), clock.sleep, clock)
    assert max(tries) <= 300
    assert len(tries) <= 6


def test_what_does_not_pass_is_not_tried_again():
    tries = []

    def refused():
        tries.append(1)
        raise PermissionError

    with pytest.raises(PermissionError):
        patiently(refused, lambda error: not isinstance(error, PermissionError), Patience(5, 1, 60))
    assert tries == [1]


def test_a_call_that_succeeds_later_returns_its_answer():
    clock, left = Clock(), [ConnectionError(), TimeoutError()]

    def call():
        if left:
            raise left.pop()
        return "answer"

    assert patiently(call, lambda _: True, Patience(5, 8, 60), clock.sleep, clock) == "answer"


def test_two_clients_do_not_come_back_together():
    waits = [tuple(pauses(Patience(6, 30, 600))) for _ in range(2)]
    assert waits[0] != waits[1]
    assert all(0.5 * 30 <= max(one) <= 30 or max(one) <= 16 for one in waits)
