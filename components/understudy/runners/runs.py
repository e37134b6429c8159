"""Begin, lock and find runs: who may work on one, whether it has ended, and how it is resumed."""

import fcntl
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact, BadInput
from understudy.store import codecs
from understudy.store.names import RUN_NAME, CardName, RunName
from understudy.store.runs import ENDED, STARTED, as_bytes, key_of, put, read
from understudy.store.storage import Store, open_store
from understudy.task.steps import STEPS

NAME = re.compile(RUN_NAME)
RECORD_FILE, ENDED_FILE, LOG_FILE, LOCK_FILE = "run.json", ENDED, "run.log", ".lock"
UNCLAIMED = {RECORD_FILE, f".~{RECORD_FILE}", LOCK_FILE}  # all that a folder holds whose name is still to be claimed
SAME = ("store", "texts", "labels", "answers", "date")  # arguments that a resumed run must share with its beginning


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
        inputs: of a submitted run: the hash of all that it starts from (cluster/repeats.py).
        begins_at: the step that a rerun begins with; empty for a whole run.
    """

    name: RunName
    pipeline: str
    runner: str
    card: CardName
    card_hash: str
    arguments: Mapping[str, str]
    started: str
    artifacts: str
    target: Mapping[str, str] = field(default_factory=dict)
    inputs: str = ""
    begins_at: str = ""


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
        with (self.folder / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadInput(
                    f"A run must be worked on by one process at a time, got a second one ({self.folder}). "
                    "Wait for the first, or stop it."
                ) from error
            yield


def start(work: Path, record: Record) -> Run:
    """Make a run's folder, and claim its name in the store.

    The record is written here before the name is claimed there. So a kill in between leaves a folder whose name nobody
    has claimed: a new run takes it, and `--resume` goes on with it.

    Raises:
        BadInput: the name is taken.
    """
    run = Run(record, work / record.name)
    _require_free(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    with run.held():
        _require_free(run)  # once more, as another process may have begun it before this one held it
        _write(run.folder / RECORD_FILE, as_bytes(asdict(record)))
        if not put(open_store(record.arguments["store"]), record.name, STARTED, asdict(record)):
            (run.folder / RECORD_FILE).unlink()
            raise _taken(record)
    return run


def _require_free(run: Run) -> None:
    """Check that nobody has begun a run of this name, here or elsewhere; a folder that was only made is free.

    Raises:
        BadInput: somebody has.
    """
    is_begun = run.folder.exists() and any(path.name not in UNCLAIMED for path in run.folder.iterdir())
    if is_begun or read(open_store(run.record.arguments["store"]), run.record.name, STARTED) is not None:
        raise _taken(run.record)


def _taken(record: Record) -> BadInput:
    return BadInput(
        f"A run's name must be new, got '{record.name}' (--name). Choose another, or add --resume to go on with it."
    )


def unfinished(work: Path, wanted: Record, name: str | None) -> Run:
    """Find the run to go on with: the named one, or the newest that has not ended and was given the same.

    Args:
        work: folder of the runs.
        wanted: what the run must be of: pipeline, card, and the arguments that say what it works on.
        name: of the run; None for the newest.

    Raises:
        BadInput: there is none, it was given something else, or the name belongs to another run in the store.
        BadArtifact: a record that had to be read is damaged, or no run's.
    """
    files = work.glob(f"*/{RECORD_FILE}") if name is None else [work / name / RECORD_FILE]
    found = [Run(_read(file), file.parent) for file in files if file.exists()]
    if name is not None and not found:
        found = _only_claimed(work, wanted, name)
    found = [run for run in found if _is_open(run, wanted) and name in {None, run.record.name}]
    found.sort(key=lambda run: (run.record.started, run.folder.name), reverse=True)
    for run in found:
        if not differences(wanted, run.record):
            return run
    if found:
        got = " and ".join(differences(wanted, found[0].record))
        raise BadInput(
            f"A run that is resumed must be given what it was begun with, got {got} ('{found[0].record.name}', "
            "--resume). Give the same, or leave out --resume to start another run."
        )
    which = f"no unfinished run '{name}' of the direct runner" if name else "no unfinished run of the direct runner"
    raise BadInput(
        f"A run to resume must be there, got {which} for the card '{wanted.card}' in {work} (--resume). "
        "Leave out --resume to start one."
    )


def _is_open(run: Run, wanted: Record) -> bool:
    is_open = run.record.runner == "direct" and not (run.folder / ENDED_FILE).exists()
    return is_open and (run.record.pipeline, run.record.card) == (wanted.pipeline, wanted.card)


def differences(wanted: Record, begun: Record) -> list[str]:
    """Say in which of the arguments that name its data a run that was begun differs from what is wanted.

    Settings may change, and so may what the card, texts and labels say: steps see that by their inputs' hashes.
    """
    names = [name for name in SAME if wanted.arguments.get(name, "") != begun.arguments.get(name, "")]
    if wanted.card_hash != begun.card_hash and wanted.arguments.get("card") != begun.arguments.get("card"):
        names.append("card")
    pairs = [(name, wanted.arguments.get(name) or "left out", begun.arguments.get(name) or "none") for name in names]
    return [f"--{name} {now} where it was {before}" for name, now, before in pairs]


def _only_claimed(work: Path, wanted: Record, name: str) -> list[Run]:
    """Find a name that was claimed in the store for this folder, by a process that was killed before it made it."""
    store = open_store(wanted.arguments["store"])
    if read(store, name, STARTED) is None:
        return []
    run = Run(read_record(store.read(key_of(name, STARTED)), store.locate(key_of(name, STARTED))), work / name)
    if run.record.artifacts != str(run.folder.resolve()) or run.record.name != name:
        return []
    return [run]


def take_up(run: Run) -> Run:
    """Put in place what a run lacks that was killed while it was begun: its record here, and its claim in the store.

    Raises:
        BadInput: somebody else has claimed the name meanwhile.
    """
    store, record = open_store(run.record.arguments["store"]), run.record
    run.folder.mkdir(parents=True, exist_ok=True)
    if not (run.folder / RECORD_FILE).exists():
        _write(run.folder / RECORD_FILE, as_bytes(asdict(record)))
    if put(store, record.name, STARTED, asdict(record)):
        return run
    where = store.locate(key_of(record.name, STARTED))
    first = read_record(store.read(key_of(record.name, STARTED)), where)
    if (first.started, first.artifacts) != (record.started, record.artifacts):
        raise BadInput(
            f"A run's name must be its own, got '{record.name}', which another run has claimed in the store ({where}). "
            f"Remove the folder {run.folder}, and start a run under another --name."
        )
    return run


def runs_step(begins_at: str, step: str) -> bool:
    """Tell whether a run of a pipeline with a step runs it; one that begins at a later step does not.

    Args:
        begins_at: of its record; a step that is not known here skips none.
        step: name of a step of the run's pipeline.

    >>> runs_step("", "train"), runs_step("label", "train"), runs_step("mine", "train")
    (True, True, False)
    """
    order = list(STEPS)
    return begins_at not in order or order.index(begins_at) <= order.index(step)


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
        return codecs.read_as(Record, data, str(where))
    except BadArtifact as error:
        raise _damaged(error, where) from error


def require_run(store: Store, name: str) -> str:
    """Return the name of a run that the store knows.

    Raises:
        BadInput: it knows none of that name.
    """
    check_name(name)
    if read(store, name, STARTED) is None:
        raise BadInput(f"A run must be in the store, got no '{name}' ({store.uri}). `understudy runs` lists them.")
    return name


def open_folder(folder: Path) -> Run:
    """Open the run whose folder this is.

    Raises:
        BadArtifact: it holds no run's record.
    """
    return Run(_read(folder / RECORD_FILE), folder)


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
