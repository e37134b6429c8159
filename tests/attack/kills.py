"""Kill -9 at random moments, over every step and whole runs, on a folder and on S3; then the command again, to its end.

Half of the moments are drawn over the time that a run takes, half over its changes to files, folders and servers: the
time between two renames is too short for a clock to find.
"""

import csv
import itertools
import json
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.attack import forks, world
from tests.attack.figures import Counts
from tests.attack.forks import Command, Ended, apart, run, start

STEPS = ("shard", "infer", "index", "watch", "sample")
LATENCY_S = 0.02
SLOTS = 4  # requests of a teacher in flight at once
MOST_TRIES = 4
LIMIT_S = 90.0
SMALL = ("--set", "shard.texts_per_shard=40", "--set", "infer.texts_per_segment=8")
SETTINGS = ("texts=120", f"teacher.concurrency={SLOTS}", "teacher.flush_s=1000")
TRAINING = {
    "label": {"texts": 60, "min_answers": 20},
    "train": {"epochs": 1, "max_length": 32, "checkpoint_s": 0},
    "evaluate": {"latency_texts": 20, "samples": 100},
    "mine": {"texts": 20, "queue_size": 5},
    "goals": {},
}


@dataclass(slots=True)
class Case:
    """One run that is killed again and again.

    Attributes:
        name: what runs, and where.
        command: builds the command of a try; the flag says that an earlier try was begun.
        check: counts what is lost and what is doubled, once all has ended.
        kills: how often to kill.
        between: called after each kill, such as to lose a cache.
        is_done: whether a run has ended although nobody saw its exit code.
        run_name: name of the run.
        anew: builds the command of a new run of a name; None where runs have no names.
        codes: exit codes of a run that came to its end.
    """

    name: str
    command: Callable[[bool], Command]
    check: Callable[[], Counts]
    kills: int
    between: Callable[[], None] = lambda: None
    is_done: Callable[[], bool] = lambda: False
    run_name: str = ""
    anew: Callable[[str], Command] | None = None
    codes: tuple[int, ...] = (0,)
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a run takes that nobody kills, in seconds and in changes."""

    seconds: float
    touches: int


def attack(case: Case, pace: Pace, chance: random.Random, folder: Path) -> Counts:
    """Kill a run at random moments until it has had its share, let it end, and count what is left."""
    counts, is_begun = Counts(), False
    while counts.kills < case.kills:
        command = case.command(is_begun)
        ended = _killed(command, pace, chance, folder)
        is_begun = True
        if ended.code != -9:
            counts += _settled(case, ended, folder)
            break
        counts += Counts(kills=1)
        case.between()
    else:
        counts += _settled(case, None, folder)
    counts += case.check()
    if counts.notes:
        counts.notes[:] = [f"{case.name}: {note}" for note in counts.notes]
    return counts


def _killed(command: Command, pace: Pace, chance: random.Random, folder: Path) -> Ended:
    """Run a command until its moment: drawn over its time, or over its changes."""
    if chance.random() < 0.5:
        number = chance.randrange(1, max(2, pace.touches))
        counted = Command(command.words, command.env, command.folder, command.stdin, dies_at=number)
        return start(counted, folder / "sink").wait(LIMIT_S)
    child = start(command, folder / "sink")
    moment = chance.random() * pace.seconds
    while child.poll() is None and time.monotonic() - child.started < moment:
        time.sleep(0.001)
    child.kill()
    return child.wait(LIMIT_S)


def _settled(case: Case, ended: Ended | None, folder: Path) -> Counts:
    """Let a run come to its end, by --resume and, where that is refused, by a new run of its name."""
    for _ in range(MOST_TRIES):
        if ended is None:
            ended = run(case.command(True), folder / "sink", LIMIT_S)
        if ended.code in case.codes or case.is_done():
            return Counts()
        if ended.code == 2 and case.anew is not None:
            again = run(case.anew(case.run_name), folder / "sink", LIMIT_S)
            if again.code == 2:
                run(case.anew(f"{case.run_name}-2"), folder / "sink", LIMIT_S)
                return Counts(burnt_names=1, notes=[f"a name is burnt: {ended.err.strip()} / {again.err.strip()}"])
            ended = again
            continue
        case.said.append(ended.err)
        ended = None
    return Counts(lost=1, notes=[f"it does not come to its end: {case.said[-1].strip()[-600:]}"])


# Nights


def night(folder: Path, uri: str, env: Mapping[str, str], texts: int) -> tuple[Callable[[bool, str], Command], Any]:
    """Prepare a night; returns what builds its command, and what counts its documents."""
    world.make_night(folder, uri, texts, env)
    cache = folder / "cache"
    given = {**env, "UNDERSTUDY_CACHE": str(cache)}

    def command(is_begun: bool, name: str = "night") -> Command:
        words = [
            "understudy",
            "run",
            "nightly",
            "--card",
            str(folder / "card.yaml"),
            "--texts",
            str(folder / "texts"),
        ]
        words += ["--store", uri, "--date", world.NIGHT, "--name", name, "--work", str(folder / "runs"), *SMALL]
        return Command([*words, *(["--resume"] if is_begun else [])], given, folder)

    ids = [name for name, _ in world.night_texts(texts)]
    return command, partial(documents, uri, ids, cache, env)


def documents(uri: str, ids: list[str], cache: Path, env: Mapping[str, str], date: str = world.NIGHT) -> Counts:
    """Compare a night's texts with its predictions and with the documents of the SQLite index."""
    predicted = Counter(apart(_predicted, uri, date, env=env))
    indexed = Counter(_indexed(cache))
    lost = len(set(ids) - set(predicted)) + len(set(ids) - set(indexed))
    doubled = sum(times - 1 for found in (predicted, indexed) for times in found.values())
    notes = [f"{lost} texts lost, {doubled} doubled"] if lost or doubled else []
    return Counts(lost=lost, doubled=doubled, notes=notes)


def _predicted(uri: str, date: str) -> list[str]:
    import polars as pl

    from understudy.store.storage import open_store

    store = open_store(uri)
    keys = [key for key in store.list(f"predictions/date={date}/") if key.endswith(".parquet")]
    return [name for key in keys for name in pl.read_parquet(store.read(key))["id"].to_list()]


def _indexed(cache: Path) -> list[str]:
    found = []
    for file in cache.glob("index/*.sqlite"):
        with sqlite3.connect(file) as opened:
            found += [name for (name,) in opened.execute("SELECT id FROM documents")]
    return found


def night_case(folder: Path, uri: str, env: Mapping[str, str], kills: int, texts: int = 200) -> Case:
    """A whole night."""
    command, check = night(folder, uri, env, texts)
    ended = folder / "runs/night/ended.json"
    return Case(
        f"night on {'S3' if uri.startswith('s3') else 'a folder'}",
        command,
        check,
        kills,
        is_done=ended.exists,
        run_name="night",
        anew=partial(command, False),
    )


# Steps of a night, one by one


def step_case(step: str, folder: Path, kills: int) -> Case:
    """One step of a night on a folder, on the store that the steps before it left; then the whole night."""
    uri = str(folder / "store")
    _, check = night(folder, uri, {}, 120)
    given = {"UNDERSTUDY_CACHE": str(folder / "cache")}
    words = {
        "shard": ["--card", "card.yaml", "--texts", "texts", "--snapshot", "out/snapshot"],
        "infer": [
            "--card",
            "out/snapshot",
            "--shard",
            f"{world.NIGHT}/00",
            "--predictions",
            "out/predicted",
            *world.SOURCE.split(),
        ],
        "index": ["--card", "out/snapshot", "--indexed", "out/indexed"],
        "watch": ["--card", "out/snapshot", "--watched", "out/watched", "--page", "out/page"],
        "sample": ["--card", "card.yaml", "--snapshot", "out/snap2", "--sample", "out/sample"],
    }
    settings = {"shard": ("texts_per_shard=200",), "infer": ("texts_per_segment=8",)}

    def one(name: str, _is_begun: bool = False) -> Command:
        own = [word for setting in settings.get(name, ()) for word in ("--set", setting)]
        dated = [] if name == "infer" else ["--date", world.NIGHT]
        return Command(["understudy", name, *words[name], "--store", uri, *dated, *own], given, folder)

    order = list(words)
    for name in order[: order.index(step)]:
        _require_sound(run(one(name), folder / "sink"))

    def finish() -> Counts:
        for name in order[order.index(step) + 1 :]:
            _require_sound(run(one(name), folder / "sink"))
        return check()

    return Case(f"step {step}", partial(one, step), finish, kills)


def _require_sound(ended: Ended) -> None:
    if ended.code:
        raise RuntimeError(f"A preparation must succeed, got {ended.code}: {ended.err[-800:]}")


# People's labels


def labels_case(folder: Path, uri: str, env: Mapping[str, str], kills: int) -> Case:
    """Answers that `labels add` takes in: every one once."""
    folder.mkdir(parents=True, exist_ok=True)
    world.make_night(folder, uri, 5, env)
    rows = [(f"a{number}", "tip" if number % 2 else "other", "ann") for number in range(200)]
    world.write_csv(folder / "answers.csv", ("id", "label", "annotator"), rows)
    apart(_put_card, uri, env=env)
    words = ["understudy", "labels", "add", str(folder / "answers.csv"), "--store", uri]
    given = {**env, "UNDERSTUDY_CACHE": str(folder / "cache")}

    def check() -> Counts:
        found = Counter(apart(_answered, uri, env=env))
        lost = len({name for name, *_ in rows} - set(found))
        doubled = sum(times - 1 for times in found.values())
        return Counts(lost=lost, doubled=doubled, notes=[f"answers: {lost} lost, {doubled} doubled"][: lost + doubled])

    return Case("labels add", lambda _: Command(words, given, folder), check, kills)


def _put_card(uri: str) -> None:
    from tests.conftest import card_yaml
    from understudy.store.storage import open_store

    open_store(uri).put_if_absent(f"cards/{world.CARD}/0123456789ab.yaml", card_yaml().encode())


def _answered(uri: str) -> list[str]:
    from understudy.review import labels
    from understudy.store.storage import open_store

    return [str(name) for name in labels.read_all(open_store(uri), world.CARD)["id"].to_list()]


# Money


def label_case(
    folder: Path, uri: str, env: Mapping[str, str], teacher: world.Teacher, kills: int, *, is_cache_lost: bool
) -> Case:
    """A teacher that is asked: nothing is paid for twice beyond what was in flight, and the cap holds."""
    answers, cache = json.loads((folder / "answers.json").read_text()), folder / "cache"
    given = {**env, **teacher.env, "UNDERSTUDY_CACHE": str(cache)}
    marks = [len(teacher.asked())]

    def between() -> None:
        marks.append(len(teacher.asked()))
        if is_cache_lost:
            shutil.rmtree(cache, ignore_errors=True)

    def check() -> Counts:
        asked = teacher.asked()
        ends = [*marks[1:], len(asked)]
        lives = [asked[first:last] for first, last in zip(marks, ends, strict=True)]
        twice = world.asked_twice(lives, SLOTS)
        unasked = len(answers) - len(set(asked[marks[0] :]))
        lost = max(0, unasked - (len(answers) - 120 - 16))
        notes = [f"{twice} answers paid for twice (cache lost: {is_cache_lost})"][: int(twice > 0)]
        return Counts(paid_twice=twice, lost=lost, notes=notes)

    words = world.label_words(folder, uri, *SETTINGS)
    where = "S3" if uri.startswith("s3") else "a folder"
    return Case(f"label on {where}", lambda _: Command(words, given, folder), check, kills, between)


# Training


def make_training(folder: Path) -> None:
    """Write a small part of the demo's task, with a student of a tiny shape."""

    def make() -> None:
        import yaml

        from tests.pipelines import test_training
        from tests.students import make_student

        folder.mkdir(parents=True, exist_ok=True)
        test_training.write_task(folder)
        make_student(folder / "student")
        card = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
        card |= {**TRAINING, "student": str(folder / "student")}
        card["teacher"]["concurrency"] = SLOTS
        (folder / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")

    apart(make)


def training_case(
    task: Path, folder: Path, uri: str, env: Mapping[str, str], teacher: world.Teacher, kills: int
) -> Case:
    """A whole training run: it ends, its name is not burnt, and no answer is paid for twice."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {**env, **teacher.env, "UNDERSTUDY_CACHE": str(folder / "cache")}
    marks = [len(teacher.asked())]

    def command(is_begun: bool, name: str = "train") -> Command:
        words = [
            "understudy",
            "run",
            "training",
            "--store",
            uri,
            "--name",
            name,
            "--work",
            str(folder / "runs"),
        ]
        for option, file in (("card", "card.yaml"), ("texts", "texts.csv"), ("labels", "labels.csv")):
            words += [f"--{option}", str(task / file)]
        return Command([*words, *(["--resume"] if is_begun else [])], given, folder)

    def check() -> Counts:
        asked = teacher.asked()
        ends = [*marks[1:], len(asked)]
        twice = world.asked_twice([asked[first:last] for first, last in zip(marks, ends, strict=True)], SLOTS)
        return Counts(paid_twice=twice, notes=[f"{twice} answers paid for twice"][: int(twice > 0)])

    return Case(
        f"training on {'S3' if uri.startswith('s3') else 'a folder'}",
        command,
        check,
        kills,
        between=lambda: marks.append(len(teacher.asked())),
        is_done=(folder / "runs/train/ended.json").exists,
        run_name="train",
        anew=partial(command, False),
        codes=(0, 3),
    )


def measured(case: Case, folder: Path) -> Pace:
    """Run a case once without a kill, for its pace."""
    command = case.command(False)
    counted = Command(command.words, command.env, command.folder, command.stdin, dies_at=-1)
    ended = run(counted, folder / "sink", LIMIT_S)
    if ended.code not in case.codes:
        raise RuntimeError(
            f"A run that nobody kills must end well ({case.name}), got {ended.code}: {ended.err[-1500:]}"
        )
    return Pace(ended.seconds, ended.touched)


def nights(place: Path, env: Mapping[str, str], seed: int, goal: int) -> Counts:
    """Kill whole nights, their steps one by one, and `labels add`, until so many were killed."""
    chance, counts = random.Random(seed), Counts()  # noqa: S311 - moments, not secrets
    paces: dict[str, Pace] = {}
    kinds = [("night", 0), ("night", 1), *((step, 0) for step in STEPS), ("labels", 0), ("night", 1), ("labels", 1)]
    for number in itertools.count():
        kind, is_s3 = kinds[number % len(kinds)]
        if kind not in paces:
            paces[kind] = measured(_case_of(kind, place / f"{kind}-twin", 0, env), place / f"{kind}-twin")
        folder = place / f"{number}-{kind}"
        counts += attack(_case_of(kind, folder, is_s3, env), paces[kind], chance, folder)
        shutil.rmtree(folder, ignore_errors=True)
        if counts.kills >= goal:
            return counts
    raise AssertionError


def _case_of(kind: str, folder: Path, is_s3: int, env: Mapping[str, str]) -> Case:
    uri, own = (f"s3://{env['ATTACK_BUCKET']}/{folder.name}", env) if is_s3 else (str(folder / "store"), {})
    if kind == "night":
        return night_case(folder, uri, own, 5)
    return labels_case(folder, uri, own, 3) if kind == "labels" else step_case(kind, folder, 3)


def money(place: Path, env: Mapping[str, str], seed: int, goal: int) -> Counts:
    """Kill label, with and without its cache, and whole training runs, until so many were killed."""
    chance, counts = random.Random(seed), Counts()  # noqa: S311 - moments, not secrets
    forks.warm_for_training()
    make_training(place / "task")
    with world.teacher(place / "teacher", hotel_answers(), 0.005) as teacher:
        twin = place / "twin"
        pace = measured(training_case(place / "task", twin, str(twin / "store"), {}, teacher, 0), twin)
        for number in itertools.count():
            folder = place / str(number)
            uri, own = (f"s3://{env['ATTACK_BUCKET']}/{number}", env) if number % 3 else (str(folder / "store"), {})
            if number % 5 == 4:
                counts += attack(training_case(place / "task", folder, uri, own, teacher, 5), pace, chance, folder)
            else:
                counts += _label_once(folder, uri, own, chance, is_cache_lost=bool(number % 2))
            if counts.kills >= goal:
                return counts
    raise AssertionError


def _label_once(
    folder: Path, uri: str, env: Mapping[str, str], chance: random.Random, *, is_cache_lost: bool
) -> Counts:
    answers = world.label_inputs(folder, 130)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    with world.teacher(folder / "teacher", answers, LATENCY_S) as teacher:
        case = label_case(folder, uri, env, teacher, 4, is_cache_lost=is_cache_lost)
        return attack(case, Pace(120 * LATENCY_S / SLOTS + 0.4, 60), chance, folder)


def hotel_answers() -> dict[str, str]:
    """Return the label of every text of the demo's task."""
    source = Path(__file__).parents[2] / "pipelines/tasks/hotel-tips/answers.csv"
    with source.open(encoding="utf-8", newline="") as file:
        return {row["text"]: row["label"] for row in csv.DictReader(file)}
