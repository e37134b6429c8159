"""A faulty network between the commands and S3: nothing may be lost, and the exit code says whose turn it is.

What passes is exit code 1 (or 0, where trying again was enough); a server that ignores conditions is 2: nothing is safe
there. After a fault that ended a run, the same command without the fault must end well.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.attack import kills, world
from tests.attack.figures import Counts
from tests.attack.forks import Command, apart, run
from tests.attack.proxy import Plan, standing
from tests.services.s3 import Server

TEXTS = 400
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault, and the exit codes that it may end in."""

    name: str
    plan: Plan
    codes: tuple[int, ...]


PASSING = (
    Trial("every third answer cut", Plan("cut", every=3), (0, 1)),
    Trial("every answer cut", Plan("cut", every=1, methods=("GET",)), (1,)),
    Trial("texts cut once", Plan("cut", every=1, times=1, path=".csv"), (0, 1)),
    Trial("slow", Plan("slow", every=4), (0,)),
    Trial("texts cut once, length unsaid", Plan("short", every=1, times=1, path=".csv"), (0, 1)),
    Trial("every third request 500", Plan("500", every=3), (0, 1)),
    Trial("every request 500", Plan("500", every=1), (1,)),
    Trial("every third request SlowDown", Plan("503", every=3), (0, 1)),
    Trial("every request SlowDown", Plan("503", every=1), (1,)),
    Trial("every third write's answer lost", Plan("lost", every=3, methods=("PUT",)), (0, 1)),
    Trial("every fourth answer lost", Plan("lost", every=4), (0, 1)),
)
IGNORED = Trial("conditions ignored", Plan("unconditional", every=10**9), (2,))
BY_NAME = {trial.name: trial for trial in (*PASSING, IGNORED)}
CUT = ("every third answer cut", "every answer cut", "texts cut once", "texts cut once, length unsaid")
OF_COMMAND = {
    "night": tuple(BY_NAME),
    "ingest": (*CUT, "every request SlowDown"),
    "labels": (*CUT[1:], "every third request 500", "every request SlowDown", "every fourth answer lost", IGNORED.name),
    "label": ("every request 500", "every request SlowDown", IGNORED.name),
}
SHORT = {
    "night": ("every third answer cut", "texts cut once", "every third write's answer lost", IGNORED.name),
    "ingest": CUT[2:],
    "labels": ("every answer cut", "every request SlowDown", IGNORED.name),
    "label": (IGNORED.name,),
}


def attack(place: Path, server: Server, env: Mapping[str, str], command: str, *, is_long: bool) -> Counts:
    """Try one command behind every fault."""
    counts = Counts()
    for number, name in enumerate((OF_COMMAND if is_long else SHORT)[command]):
        folder = place / f"{command}{number}"
        uri = f"s3://{env['ATTACK_BUCKET']}/faults-{command}{number}"
        counts += _tried(command, BY_NAME[name], folder, uri, server, env)
    return counts


def _tried(command: str, trial: Trial, folder: Path, uri: str, server: Server, env: Mapping[str, str]) -> Counts:
    """Run one command behind one fault, then without it, and count."""
    folder.mkdir(parents=True)
    words, check = PREPARED[command](folder, uri, env)
    own = {**env, "UNDERSTUDY_CACHE": str(folder / "cache")}
    with standing(server.url, trial.plan, folder / "proxy") as proxy:
        behind = {**own, **world.s3_env(server, proxy.url)}
        ended = run(Command(words, behind, folder), folder / "sink", LIMIT_S)
        befallen = proxy.befallen
    where, counts = f"{command} behind '{trial.name}'", Counts()
    if ended.code not in trial.codes or ended.is_hung or "Traceback" in ended.err:
        told = f"{where}: exit code {ended.code}, expected {trial.codes}: {ended.err.strip()[-300:]}"
        counts += Counts(wrong_codes=1, notes=[told])
    if not befallen and trial is not IGNORED:
        counts += Counts(wrong_codes=1, notes=[f"{where}: the fault befell nothing"])
    if ended.code:
        again = run(Command(_again(words), own, folder), folder / "sink", LIMIT_S)
        if again.code:
            return counts + Counts(
                lost=1, notes=[f"{where}: it does not end well after it: {again.err.strip()[-300:]}"]
            )
    found = check()
    return counts + replace(found, notes=[f"{where}: {note}" for note in found.notes])


def _again(words: list[str]) -> list[str]:
    """Give a run another name: whether names are burnt is counted by the kills."""
    return [f"{word}-again" if word == "night" else word for word in words]


# What each command needs, and what must be there afterwards


def _night(folder: Path, uri: str, env: Mapping[str, str]):
    world.make_night(folder, uri, 1, env)
    rows = world.night_texts(TEXTS)
    world.write_csv(folder / "texts.csv", ("id", "text"), rows)
    apart(_put, f"{uri}-in", {"texts.csv": folder / "texts.csv", "card.yaml": folder / "card.yaml"}, env=env)
    words = [
        "understudy",
        "run",
        "nightly",
        "--card",
        f"{uri}-in/card.yaml",
        "--texts",
        f"{uri}-in/texts.csv",
    ]
    words += ["--store", uri, "--date", world.NIGHT, "--name", "night", "--work", str(folder / "runs")]
    ids = [name for name, _ in rows]
    return words, partial(kills.documents, uri, ids, folder / "cache", env)


def _labels(folder: Path, uri: str, env: Mapping[str, str]):
    case = kills.labels_case(folder, uri, env, 0)
    apart(_put, f"{uri}-in", {"answers.csv": folder / "answers.csv"}, env=env)
    words = ["understudy", "labels", "add", f"{uri}-in/answers.csv", "--store", uri]
    return words, case.check


def _label(folder: Path, uri: str, env: Mapping[str, str]):
    answers = world.label_inputs(folder, 40)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    words = world.label_words(folder, uri, "texts=40", "teacher.concurrency=4")
    return ["understudy", "label", "--dry-run", *words[2:]], Counts


def _ingest(folder: Path, uri: str, env: Mapping[str, str]):
    from tests.conftest import card_yaml

    (folder / "card.yaml").write_text(card_yaml(), encoding="utf-8")
    rows = [(f"t{number}", f"Ask for the room number {number} of the house.") for number in range(TEXTS)]
    world.write_csv(folder / "texts.csv", ("id", "text"), rows)
    labels = [(f"t{number}", "tip" if number % 2 else "other") for number in range(120)]
    world.write_csv(folder / "labels.csv", ("id", "label"), labels)
    apart(_put, f"{uri}-in", {name: folder / name for name in ("texts.csv", "labels.csv", "card.yaml")}, env=env)
    words = ["understudy", "ingest", "--card", str(folder / "card.yaml"), "--texts", f"{uri}-in/texts.csv"]
    words += ["--labels", f"{uri}-in/labels.csv", "--store", uri, "--set", "near_duplicate=1"]
    for name in ("snapshot", "pool", "gold", "test", "refused"):
        words += [f"--{name}", str(folder / "out" / name)]

    def check() -> Counts:
        kept = apart(_ingested, folder / "out")
        lost, doubled = len({name for name, _ in rows} - set(kept)), len(kept) - len(set(kept))
        return Counts(lost=lost, doubled=doubled, notes=[f"{lost} texts lost, {doubled} doubled"][: lost + doubled])

    return words, check


def _ingested(folder: Path) -> list[str]:
    """Return the ids of all texts that ingest knows: those that may be labelled, and the exam's."""
    import polars as pl

    files = [file for name in ("pool", "gold", "test") for file in (folder / name).glob("*.parquet")]
    return sorted({name for file in files for name in pl.read_parquet(file)["id"].to_list()})


def _put(uri: str, files: Mapping[str, Path]) -> None:
    from understudy.store.storage import open_store

    for key, file in files.items():
        open_store(uri).put_if_absent(key, file.read_bytes())


PREPARED = {"night": _night, "ingest": _ingest, "labels": _labels, "label": _label}
