"""A run's name, folder and record: who may work on it, whether it has ended, and how an unfinished one is found."""

import fcntl
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadArtifact, BadInput
from understudy.run_records import ENDED, STARTED, as_bytes, put
from understudy.storage import open_store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RECORD_FILE, ENDED_FILE, LOG_FILE = "run.json", ENDED, "run.log"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a run when it starts.

    Attributes:
        name: unique in the store.
        pipeline: which one runs.
        runner: "direct" or "kfp", on this machine; "cluster" for one that was submitted.
        card: name of the task.
        card_hash: of what the card says.
        arguments: of the pipeline.
        started: UTC.
        artifacts: the folder of the run, on the machine where it runs; of a submitted run the pipeline root, if given.
        target: of a submitted run: host and namespace of the API, experiment, version and service_account.
        inputs: of a submitted run: the hash of all that it starts from (pipelines/repeats.py).
    """

    name: str
    pipeline: str
    runner: str
    card: str
    card_hash: str
    arguments: Mapping[str, str]
    started: str
    artifacts: str
    target: Mapping[str, str] = field(default_factory=dict)
    inputs: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run in its folder."""

    record: Record
    folder: Path

    @property
    def log(self) -> Path:
        """Where everything that steps and libraries print goes."""
        return self.folder / LOG_FILE

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Write down that the run has ended and how, here and in the store."""
        content = {**outcome, "ended": utc_now()}
        put(open_store(self.record.arguments["store"]), self.record.name, ENDED_FILE, content)
        _write(self.folder / ENDED_FILE, as_bytes(content))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes off this run while it is worked on.

        Raises:
            BadInput: another process works on it.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInput(
                    f"A run must be worked on by one process at a time, got a second one ({self.folder}). "
                    "Wait for the first, or stop it."
                ) from error
            yield


def start(work: Path, record: Record) -> Run:
    """Claim a run's name in the store, and make its folder.

    Raises:
        BadInput: the name is taken.
    """
    folder = work / record.name
    content = asdict(record)
    if folder.exists() or not put(open_store(record.arguments["store"]), record.name, STARTED, content):
        raise BadInput(
            f"A run's name must be new, got '{record.name}' (--name). Choose another, or add --resume to go on with it."
        )
    folder.mkdir(parents=True)
    _write(folder / RECORD_FILE, as_bytes(content))
    return Run(record, folder)


def unfinished(work: Path, pipeline: str, card: str, name: str | None) -> Run:
    """Find the run to go on with: the named one, or the newest of this pipeline and card that has not ended.

    Raises:
        BadInput: there is none.
        BadArtifact: a record that had to be read is damaged, or no run's.
    """
    files = work.glob(f"*/{RECORD_FILE}") if name is None else [work / name / RECORD_FILE]
    found = [Run(_read(file), file.parent) for file in files if file.exists()]
    for run in sorted(found, key=lambda run: (run.record.started, run.folder.name), reverse=True):
        is_open = run.record.runner == "direct" and not (run.folder / ENDED_FILE).exists()
        if is_open and (run.record.pipeline, run.record.card) == (pipeline, card) and name in {None, run.record.name}:
            return run
    wanted = f"no unfinished run '{name}' of the direct runner" if name else "no unfinished run of the direct runner"
    raise BadInput(
        f"A run to resume must be there, got {wanted} for the card '{card}' in {work} (--resume). "
        "Leave out --resume to start one."
    )


def check_name(name: str | None) -> None:
    """Check a name that a person chose.

    Raises:
        BadInput: it can't name a folder and a place in the store.
    """
    if name is not None and not NAME.fullmatch(name):
        raise BadInput(
            f"A run's name must be letters, digits, '-', '_' and '.', at most 100, got '{name}' (--name). Change it."
        )


def utc_now() -> str:
    """Return the time as it stands in records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read_record(data: bytes, where: object) -> Record:
    """Read a run's record.

    Raises:
        BadArtifact: it is damaged, or no run's.
    """
    try:
        return TypeAdapter(Record).validate_json(data)
    except ValidationError as error:
        raise _damaged(error.errors()[0]["msg"], where) from error


def _read(file: Path) -> Record:
    try:
        return read_record(file.read_bytes(), file)
    except OSError as error:
        raise _damaged(error, file) from error


def _damaged(why: object, where: object) -> BadArtifact:
    return BadArtifact(
        f"A run's record must be readable, got: {why} ({where}). Move its folder away, or name the run to go on "
        "with by --name."
    )


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(f".~{file.name}")
    beside.write_bytes(content)
    beside.replace(file)
