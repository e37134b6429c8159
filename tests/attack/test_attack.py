"""The attack itself (marked, `make test-attack`), and that it would see what it looks for."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from http.client import IncompleteRead
from pathlib import Path

import pytest

from tests.attack import figures, fuzz, generators, keys, world
from tests.attack.figures import Counts
from tests.attack.forks import Ended
from tests.attack.proxy import Plan, standing
from tests.services import local

ROOT = Path(__file__).parents[2]


@pytest.mark.attack
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", ["kills", "faults", "concurrency", "keys", "fuzz"])
def test_no_figure_of_the_attack_breaks_its_bound(part):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.attack", part], cwd=ROOT, check=False, capture_output=True, text=True
    )
    told = json.loads(figures.FILE.read_text(encoding="utf-8"))["figures"]
    broken = {name: one["value"] for name, one in told.items() if one["value"] and name not in figures.MAY_BE_ANY}
    assert broken == {}, ended.stdout
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", [name for name in Counts().figures if name not in figures.MAY_BE_ANY])
def test_a_figure_that_is_not_zero_breaks_its_bound(name):
    assert (Counts(kills=5, fuzz=9) + Counts(**{name: 1})).broken == [name]


def test_the_figures_are_written_as_a_benchmarks_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures, "FILE", tmp_path / "build/attack.json")
    figures.report(Counts(kills=3), {"is_long": False}, 12, 1.25)
    content = json.loads((tmp_path / "build/attack.json").read_text())
    assert content["figures"]["kills"] == {"value": 3, "low": None, "high": None}
    assert (content["seeds"], content["seconds"]) == ([12], 1.2)
    assert "kills 3" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("ended", "found"),
    [
        (Ended(2, "", "The card must be a mapping, got a list.", 0.1, 100_000), []),
        (Ended(1, "", "Traceback (most recent call last):\n  ...\nKeyError: 'x'", 0.1, 100_000), ["tracebacks"]),
        (Ended(1, "", "KeyError: 'x'\nGo on with the same command", 0.1, 100_000), ["tracebacks"]),
        (Ended(1, "", "polars.exceptions.ComputeError: no", 0.1, 100_000), ["tracebacks"]),
        (Ended(2, "", "", 0.1, 100_000), ["tracebacks"]),
        (Ended(-11, "", "", 0.1, 100_000), ["tracebacks"]),
        (Ended(-9, "", "", 10.1, 100_000, is_hung=True), ["hangs"]),
        (Ended(0, "tip", "", 0.1, 100_000 + fuzz.ROOM_KIB + 1), ["memory_over"]),
    ],
)
def test_the_end_of_a_command_is_judged(ended, found):
    assert fuzz.judged(1, "card", "card", ended, 100_000).broken == found


def test_an_input_is_the_same_whatever_came_before_it():
    def made(number):
        return generators.cards("name: x\nrules: [a, b]\n", generators.numbered(12, number))

    assert [made(number) for number in range(50)] == [made(number) for number in reversed(range(50))][::-1]
    assert len({made(number) for number in range(50)}) > 40


def test_what_an_earlier_life_paid_for_and_was_not_in_flight_counts():
    assert world.asked_twice([["a", "b", "c"], ["c", "d"]], slots=1) == 0
    assert world.asked_twice([["a", "b", "c"], ["b", "c", "d"]], slots=1) == 1
    assert world.asked_twice([["a", "a"]], slots=4) == 1


@pytest.mark.parametrize("form", sorted(keys.forms(keys.CANARY)))
def test_a_key_is_seen_in_every_form(form):
    assert keys._shown(f"something {form}.") == len(form)


@pytest.fixture
def upstream():
    """A server whose every answer is 1,000 bytes long."""

    class Plain(local.Quiet):
        def do_GET(self):
            self.send(200, b"x" * 1000, {"X-Condition": self.headers.get("If-None-Match", "none")})

    with local.serving(Plain) as url:
        yield url


def asked(url):
    request = urllib.request.Request(f"{url}/key", headers={"If-None-Match": "*"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status, answer.headers["X-Condition"], answer.read()


def test_the_proxy_carries_what_no_plan_spoils(upstream, tmp_path):
    with standing(upstream, Plan("500", every=2), tmp_path) as proxy:
        assert asked(proxy.url) == (200, "*", b"x" * 1000)
        with pytest.raises(urllib.error.HTTPError, match="500"):
            asked(proxy.url)
        assert proxy.befallen == 1


def test_the_proxy_cuts_loses_and_ignores(upstream, tmp_path):
    with standing(upstream, Plan("cut", every=1), tmp_path / "cut") as proxy, pytest.raises(IncompleteRead):
        asked(proxy.url)
    with standing(upstream, Plan("lost", every=1), tmp_path / "lost") as proxy, pytest.raises(ConnectionResetError):
        asked(proxy.url)
    with standing(upstream, Plan("unconditional"), tmp_path / "free") as proxy:
        assert asked(proxy.url)[1] == "none"
