"""The review page in a real Chromium, served by the command: keys, undo, a kill, two people, a phone."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import card_yaml
from tests.queues import put_queue
from understudy.review import labels

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
CARD = "hotel-tips"
ATTACK = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
TEXTS = {"r1": "Ask for a quiet room.", "r2": ATTACK, "r3": "It rained. " * 60, "r4": "Nice.", "r5": "Bring a coat."}
WORDS = "document.getElementById('words')?.textContent"
COUNTS = "document.getElementById('counts').textContent"
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Start the command on the store of the test; ends what is still running."""
    started = []

    def run(*words: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "understudy", "review", "--store", str(tmp_path / "store"), *words]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        started.append(process)
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                return process, found.group()
        raise AssertionError("the command said no address")

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def as_person(chromium, url, name, **size):
    page = chromium.page(**size)
    page.open(url)
    page.wait_for("document.getElementById('entry')?.hidden", wanted=False)
    page.write(name)
    page.press("Enter")
    page.wait_for("document.getElementById('desk').hidden", wanted=False)
    return page


def held(store) -> list[tuple]:
    return labels.read_all(store, CARD).select("id", "label", "annotator").rows()


def test_an_hour_at_the_page_by_keys_alone(chromium, start, store):
    put_queue(store, card_yaml(), TEXTS)
    process, url = start()
    page = as_person(chromium, url, "ann")
    page.wait_for(WORDS, TEXTS["r1"])
    page.press("2")
    page.wait_for(WORDS, ATTACK)
    assert page.value("document.title") == "Review: Is this sentence a tip for other travellers?"
    assert page.value("document.querySelectorAll('#words *').length") == 0
    assert "Teacher: other (20%)" in page.value("document.getElementById('last').textContent")
    page.press("c")
    page.write("it is code")
    page.press("Enter")
    page.wait_for(WORDS, TEXTS["r3"])
    page.press("s")
    page.wait_for(WORDS, TEXTS["r4"])
    page.press("u")
    page.wait_for(WORDS, ATTACK)
    page.press("1")
    page.wait_for(WORDS, TEXTS["r4"])
    assert held(store) == [("r1", "tip", "ann"), ("r2", "other", "ann")]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 128 + signal.SIGINT


def test_a_reload_and_a_kill_midway_lose_nothing(chromium, start, store):
    put_queue(store, card_yaml(), TEXTS)
    process, url = start()
    page = as_person(chromium, url, "ann")
    page.wait_for(WORDS, TEXTS["r1"])
    page.press("2")
    page.wait_for(WORDS, ATTACK)
    page.open(url)
    page.wait_for(WORDS, ATTACK)  # the name is known still
    process.kill()
    process.wait()
    page.press("1")
    page.wait_for("document.getElementById('fault').hidden", wanted=False)
    assert "Not saved." in page.value("document.getElementById('fault').textContent")
    _, url = start()
    page = as_person(chromium, url, "ann")
    page.wait_for(WORDS, ATTACK)
    assert page.value(COUNTS).startswith("1 of 5 answers · 1 by you")
    page.press("u")
    page.wait_for(WORDS, TEXTS["r1"])
    assert held(store) == []


def test_two_people_at_once_get_different_texts_and_lose_nothing(chromium, start, store):
    put_queue(store, card_yaml(), TEXTS)
    _, url = start()
    ann, bob = as_person(chromium, url, "ann"), as_person(chromium, url, "bob")
    ann.wait_for(WORDS, TEXTS["r1"])
    bob.wait_for(WORDS, ATTACK)
    ann.press("2")
    bob.press("1")
    ann.wait_for(WORDS, TEXTS["r3"])
    bob.wait_for(WORDS, TEXTS["r4"])
    for page in (ann, bob):
        page.press("1")
    ann.wait_for(WORDS, TEXTS["r5"])
    bob.wait_for("document.getElementById('done').hidden", wanted=False)
    ann.press("2")
    ann.wait_for("document.getElementById('done').textContent", "All texts have their answers.")
    assert sorted(row[0] for row in held(store)) == [*TEXTS]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_a_window(chromium, start, store, width, tmp_path):
    names = [f"label number {number}" for number in range(40)]
    listed = [{"name": name, "definition": "A kind of text.", "examples": ["x" * 80]} for name in names]
    card = card_yaml(labels=listed, positive_label=None, weak_rules=None)
    put_queue(store, card, {"r1": "w" * 400, "r2": "Nice."}, context="Is it open? | Until nine.")
    _, url = start()
    page = as_person(chromium, url, "ann", width=width, height=780)
    page.wait_for(WORDS, "w" * 400)
    assert page.value("document.documentElement.scrollWidth <= innerWidth") is True
    assert page.value("document.querySelectorAll('#context li').length") == 2
    smallest = "Math.min(...[...document.querySelectorAll('#labels button')].map((it) => it.offsetHeight))"
    assert page.value(smallest) >= 44
    page.press("/")
    page.write("number 37")
    page.press("Enter")
    page.wait_for(WORDS, "Nice.")
    assert held(store) == [("r1", "label number 37", "ann")]


def test_several_labels_a_text_by_keys(chromium, start, store):
    put_queue(store, card_yaml(labels_per_text="many", positive_label=None, weak_rules=None), TEXTS, teacher_label="[]")
    _, url = start()
    page = as_person(chromium, url, "ann")
    page.wait_for(WORDS, TEXTS["r1"])
    page.press("1", "2", "1", "Enter")
    page.wait_for(WORDS, ATTACK)
    page.press("0")
    page.wait_for(WORDS, TEXTS["r3"])
    assert held(store) == [("r1", '["tip"]', "ann"), ("r2", "[]", "ann")]
