"""A new user's first day: the installed wheel, an empty folder, files as people have them, and nothing of ours on disk.

One awkward file goes the whole way, from a card to a night and an answered queue; others go as far as the dry run.
"""

import csv
import gzip
import json
import os
import pty
import random
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.installed import installed, needs_uv, run  # noqa: F401 - a fixture
from tests.serving.test_classifier import snippet
from understudy.task.card import QUESTION

pytestmark = [needs_uv, pytest.mark.first_day, pytest.mark.timeout(600)]

NAMES = ["Ana", "Ben", "Chi", "Dev", "Eva", "Finn", "Gia", "Hugo", "Ida", "Jon"]
PLACES = ["station", "kitchen", "library", "gym", "bus stop", "office", "garden", "cinema"]
PRIZES = ["a free cruise", "a gift card", "a phone", "concert tickets", "a cash bonus", "a weekend away"]
HAM = (
    "{name}, I'm at the {place}, where are you?",
    "Can you bring the keys to the {place} at {number}?",
    "Sorry {name}, running late;\nstart without me, I have {number} things to do",
    'He said "see you at {number}" and left the {place}',
    "Dinner at {number}? {name} is cooking, {place} afterwards",
    "I left my jacket in the {place}, could {name} look for it before {number}",
)
SPAM = (
    "WINNER! You won {prize}. Call {number} now to claim",
    "Urgent: your account is locked, reply {number} to unlock",
    "Claim {prize} today; text YES to {number}",
    "Free entry: win {prize}!! Send WIN to {number}\nT&C apply",
)
TEXTS, LABELLED = 1_000, 700
ANSWERS = {
    f"{QUESTION} which texts are meant by ham?": "Messages between people who know each other.",
    f"{QUESTION} which texts are meant by spam?": "Messages of strangers who want money, a call or an answer.",
    f"{QUESTION} how does a careful stranger decide the hard cases? One rule on a line.": "A shop's reminder is ham.",
}
QUICK = ("train.epochs=1", "label.texts=150", "mine.texts=80", "mine.queue_size=10", "evaluate.samples=100")


def messages(number, seed):
    """Write invented text messages, a quarter of them spam: pairs of text and label."""
    draw = random.Random(seed)  # noqa: S311 - a test's draw
    found = []
    for _ in range(number):
        label = "spam" if draw.random() < 0.25 else "ham"
        form = draw.choice(SPAM if label == "spam" else HAM)
        words = {"name": draw.choice(NAMES), "place": draw.choice(PLACES), "prize": draw.choice(PRIZES)}
        found.append((form.format(number=draw.randint(10_000, 999_999), **words), label))
    return found


class Desk:
    """An empty folder of a user with a home of its own, and the installed command."""

    def __init__(self, folder, command):
        self.folder, self.command = folder, command
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_", "XDG_"))}
        self.env = {**kept, "HOME": str(folder / "home"), "UNDERSTUDY_CACHE": str(folder / "home/cache")}
        (folder / "home").mkdir()

    def run(self, *words, **env):
        return run(self.command, *words, cwd=self.folder, env={**self.env, **env})

    def told(self, *words, **env):
        """Run what must end with 0; returns its output."""
        done = self.run(*words, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, name, header, rows, encoding="utf-8"):
        with (self.folder / name).open("w", newline="", encoding=encoding) as file:
            csv.writer(file).writerows([header, *rows])

    def card(self, file, name, *words):
        """Begin a card from a file and answer its questions, as an editor would."""
        card = self.told("card", "new", "--from", file, *words)
        for question, answer in ANSWERS.items():
            assert question in card
            card = card.replace(question, answer)
        (self.folder / name).write_text(card, encoding="utf-8")

    def dry_run(self, file, card):
        given = ("--texts", file, "--labels", file, "--card", card, "--store", "dry")
        return self.run("run", "training", "--dry-run", *given)


@pytest.fixture(scope="module")
def desk(installed, tmp_path_factory):  # noqa: F811 - the fixture
    return Desk(tmp_path_factory.mktemp("desk"), installed)


@contextmanager
def teacher(desk, card):
    words = [desk.command, "rehearse", "--answers", "answers.csv", "--card", card, "--logprobs"]
    with subprocess.Popen(
        [*map(str, words)], cwd=desk.folder, env=desk.env, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield {"OPENAI_BASE_URL": server.stdout.readline().strip(), "OPENAI_API_KEY": "rehearsal"}
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def trained(desk):
    """The whole way of an awkward file up to a published classifier; what the training said, redirected."""
    known = messages(TEXTS, seed=3)
    draw = random.Random(4)  # noqa: S311 - a test's draw
    rows = [
        (index, draw.choice([label, label, label.title(), f"{label.upper()} "]) if index < LABELLED else "", text)
        for index, (text, label) in enumerate(known)
    ]
    desk.write("messages.csv", ["", "v1", "v2"], rows, "utf-8-sig")
    desk.write("answers.csv", ["text", "label"], known)
    unanswered = desk.told("card", "new", "--from", "messages.csv")
    (desk.folder / "draft.yaml").write_text(unanswered, encoding="utf-8")
    refused = desk.run("card", "check", "draft.yaml")
    assert refused.returncode == 2
    assert refused.stderr.count("A question of a new card must be answered") == len(ANSWERS)
    desk.card("messages.csv", "card.yaml")
    assert "the card 'messages' is sound" in desk.told("card", "check", "card.yaml")
    changed = [word for setting in QUICK for word in ("--set", setting)]
    given = ("--texts", "messages.csv", "--labels", "messages.csv", "--card", "card.yaml", "--store", "store")
    dry = desk.told("run", "training", "--dry-run", *given, *changed)
    assert not (desk.folder / "store").exists()
    assert "test split: " in dry
    with teacher(desk, "card.yaml") as key:
        said = desk.told("run", "training", *given, "--name", "first", *changed, **key)
    assert next(line for line in dry.splitlines() if line.startswith("label: ")) in said, (
        "the same forecast comes first"
    )
    return said


def test_a_file_as_people_have_it_becomes_a_classifier(desk, trained):
    assert "Published:" in trained
    assert "300 rows without a label yet" in trained
    assert "labels not in the card's case" in trained
    assert trained.splitlines()[0].startswith("Log: "), "where everything is kept comes first"
    assert (desk.folder / "build/runs/first/report.html").is_file()


def test_texts_are_labelled_from_python_by_the_lines_that_the_docs_show(desk, trained):
    """They are typed too: what a strict reader of types says of them against the wheel is part of the promise."""
    python = desk.command.with_name("python")
    (desk.folder / "lines.py").write_text(snippet(), encoding="utf-8")
    strict = ("-m", "mypy", "--strict", "--python-executable", python, "lines.py")
    typed = run(sys.executable, *strict, cwd=desk.folder, env=desk.env)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    done = run(python, "lines.py", cwd=desk.folder, env=desk.env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "None None empty_text"


def test_new_texts_are_labelled_by_hand_and_by_night(desk, trained):
    line = desk.told("predict", "--store", "store", "WINNER! You won a phone. Call 555111 now to claim")
    assert "spam" in line
    night = messages(200, seed=9)
    desk.write("night.csv", ["v2"], [(text,) for text, _ in night])
    given = ("--texts", "night.csv", "--card", "card.yaml", "--store", "store", "--date", "2026-11-01")
    assert "Done:" in desk.told("run", "nightly", *given, "--name", "night")
    found = desk.told("search", "claim", "--store", "store", "--label", "spam", "--json").splitlines()
    labels = dict(night)
    assert found
    assert sum(labels[json.loads(line)["text"]] == "spam" for line in found) >= 0.9 * len(found)


def test_a_queue_is_answered_as_a_spreadsheet_does_it(desk, trained):
    (queue,) = (desk.folder / "store").rglob("queue.csv")
    rows = list(csv.DictReader(queue.open(encoding="utf-8-sig", newline="")))
    assert rows
    labels = dict(messages(TEXTS, seed=3))
    for row in rows:
        row["label"] = labels[row["text"].lstrip("'")].upper()
    with (desk.folder / "answered.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")  # as where a comma is the decimal point
        writer.writeheader()
        writer.writerows(rows)
    assert f"{len(rows)} labels, added to the card 'messages'" in desk.told(
        "labels", "add", "--store", "store", "answered.csv"
    )


def nested_and_packed(desk):
    lines = [
        json.dumps({"message": {"body": text, "id": f"m{index}"}, "kind": {"label": label}})
        for index, (text, label) in enumerate(messages(700, seed=5))
    ]
    (desk.folder / "nested.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return "nested.jsonl.gz"


def without_ids(desk):
    desk.write("bare.csv", ["text", "label"], messages(700, seed=6))
    return "bare.csv"


def in_capitals(desk):
    desk.write("capitals.csv", ["id", "text", "label"], [(i, *row) for i, row in enumerate(messages(700, seed=7))])
    path = desk.folder / "capitals.csv"
    path.write_text(re.sub(r",(ham|spam)$", lambda found: found[0].upper(), path.read_text(), flags=re.MULTILINE))
    return "capitals.csv"


@pytest.mark.parametrize("make", [nested_and_packed, without_ids, in_capitals])
def test_other_files_go_to_the_dry_run(desk, make):
    file = make(desk)
    labels = ("--labels", "ham,spam") if make is in_capitals else ()
    desk.card(file, "other.yaml", *labels)
    done = desk.dry_run(file, "other.yaml")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "ingest",
        "label",
        "train",
        "mine",
        "in all",
        "test split",
        "prices",
        "teacher",
    ]
    assert "0 refused" in done.stdout or "near_duplicate" in done.stdout
    assert ("ids made of the texts" in done.stdout) == (make is without_ids)
    assert ("not in the card's case" in done.stdout) == (make is in_capitals)


def test_a_file_of_another_encoding_is_refused_with_the_remedy(desk):
    rows = [(text.replace("Sorry", "Tschüß"), label) for text, label in messages(300, seed=8)]
    desk.write("ansi.csv", ["text", "label"], rows, "cp1252")
    done = desk.run("card", "new", "--from", "ansi.csv")
    assert done.returncode == 2
    assert re.search(r"iconv -f WINDOWS-1252 -t UTF-8 \S*ansi\.csv > utf8\.csv", done.stderr)
    assert len(done.stderr.splitlines()) == 1
    (desk.folder / "given.yaml").write_text(
        desk.told("card", "new", "--labels", "ham,spam").replace(QUESTION, "It is:")
    )
    refused = desk.dry_run("ansi.csv", "given.yaml")
    assert refused.returncode == 2
    assert re.search(r"iconv -f WINDOWS-1252 -t UTF-8 \S*ansi\.csv > utf8\.csv", refused.stderr)


def test_progress_fits_eighty_columns(desk, trained):
    """On a terminal of 80 columns no line that is drawn over is longer than it."""
    desk.write("later.csv", ["v2"], [(text,) for text, _ in messages(400, seed=10)])
    main, side = pty.openpty()
    words = [desk.command, "run", "nightly", "--texts", "later.csv", "--card", "card.yaml", "--store", "store"]
    env = {**desk.env, "COLUMNS": "80", "TERM": "xterm"}
    words += ["--date", "2026-11-02", "--name", "later"]
    with subprocess.Popen([*map(str, words)], cwd=desk.folder, env=env, stdout=side, stderr=side) as process:
        os.close(side)
        read = bytearray()
        with open(main, "rb", buffering=0) as terminal:  # noqa: PTH123 - a number, not a path
            while chunk := _chunk(terminal):
                read += chunk
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode())
    assert process.returncode == 0, drawn
    assert "Done:" in drawn
    over = [part for line in drawn.split("\n") for part in line.rstrip("\r").split("\r")[:-1] if len(part) > 80]
    assert over == []
    assert "\r" in drawn.replace("\r\n", ""), "something was drawn over"


def _chunk(terminal):
    try:
        return terminal.read(65_536)
    except OSError:  # how Linux says that the other side was closed
        return b""
