"""Commands in forked children of a process that has imported everything: a start costs 50 ms in place of 5 s.

The parent runs no step itself and starts no thread: a child that inherits a lock or a half of polars' threads hangs.
"""

import contextlib
import gc
import importlib
import os
import pickle
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEAVY = (
    "polars",
    "boto3",
    "onnxruntime",
    "tokenizers",
    "elasticsearch",
    "onnx",
    "kfp",
    "openai",
    "anyio",
    "scipy.stats",
)
TRAINING = ("train", "export")  # they bring torch, which only the lane that trains needs
OURS = (
    "understudy.cli.main",
    "understudy.cli.step",
    "understudy.cli.run",
    "understudy.runners.local.run",
    "understudy.runners.local.direct",
    "understudy.cli.predict",
)
OURS += (
    "understudy.privacy.erasure",
    "understudy.store.runs",
    "understudy.cli.search",
    "tests.teachers",
    "tests.bundles",
)
CLEAN = ("PATH", "HOME", "LANG", "TMPDIR", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "PYTHONPATH", "OMP_NUM_THREADS")
PROGRAM = "understudy.__main__"
PAUSE_S = 0.002
WRITING = os.O_WRONLY | os.O_RDWR
TOUCHES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "http.client.send", "shutil.rmtree"}


def warm() -> None:
    """Import and compile all that a command needs, and keep the garbage collector from copying the shared pages."""
    from understudy.pipelines.compile import pipeline_spec
    from understudy.task.steps import STEPS

    steps = [f"understudy.steps.{step}.step" for step in STEPS if step not in TRAINING]
    for name in (*HEAVY, *OURS, *steps):
        importlib.import_module(name)
    pipeline_spec("nightly")
    gc.collect()
    gc.freeze()


def warm_for_training() -> None:
    """Import what training needs beside that, and compile its pipeline."""
    from understudy.pipelines.compile import pipeline_spec

    pipeline_spec("training")
    for step in TRAINING:
        importlib.import_module(f"understudy.steps.{step}.step")
    gc.freeze()


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a person types it.

    Attributes:
        words: "understudy", and its arguments.
        env: variables beside those that every command gets.
        folder: where it runs.
        stdin: what it is given.
        dies_at: number of the change to files, folders or a server before which it is killed; 0 for none.
    """

    words: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    stdin: bytes = b""
    dies_at: int = 0


@dataclass(slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; minus the signal's number of one that was killed.
        out: standard output.
        err: standard error.
        seconds: that it ran.
        peak_kib: the most memory that it held.
        is_hung: whether the watchdog ended it.
        touched: changes that it made to files, folders and servers, where they were counted.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak_kib: int
    is_hung: bool = False
    touched: int = 0


@dataclass(slots=True)
class Child:
    """A command that runs."""

    pid: int
    sink: Path
    started: float = field(default_factory=time.monotonic)
    ended: Ended | None = None

    def poll(self) -> Ended | None:
        """Return how it ended, None while it runs."""
        if self.ended is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                seconds = time.monotonic() - self.started
                self.ended = Ended(code, self._said("out"), self._said("err"), seconds, usage.ru_maxrss)
                self.ended.touched = int(self._said("touched") or 0)
        return self.ended

    def wait(self, limit_s: float = 120.0, limit_kib: int = 0) -> Ended:
        """Wait for its end; past a limit of time or memory it is killed.

        Args:
            limit_s: seconds.
            limit_kib: memory; 0 for no limit.
        """
        is_over = False
        while (ended := self.poll()) is None:
            is_late = time.monotonic() - self.started > limit_s
            if not is_over and (is_late or (limit_kib and held_kib(self.pid) > limit_kib)):
                self.kill()
                is_over = is_late
            time.sleep(PAUSE_S)
        ended.is_hung = ended.is_hung or is_over
        return ended

    def kill(self) -> None:
        """Kill it, as a node that is lost does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _said(self, name: str) -> str:
        file = self.sink / name
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def start(command: Command, sink: Path) -> Child:
    """Start a command; its output goes to files in `sink`."""
    sink.mkdir(parents=True, exist_ok=True)
    for name in ("out", "err", "touched"):
        (sink / name).write_bytes(b"")
    (sink / "in").write_bytes(command.stdin)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, sink)
    os._exit(_become(command, sink))


def run(command: Command, sink: Path, limit_s: float = 120.0) -> Ended:
    """Run a command to its end."""
    return start(command, sink).wait(limit_s)


def apart(function: Callable[..., Any], *arguments: Any, env: Mapping[str, str] | None = None) -> Any:
    """Call a function in a forked child, which may run polars, and return what it returns.

    Raises:
        RuntimeError: it raised; with its traceback.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(reader)
        os.environ.update(env or {})
        with os.fdopen(writer, "wb") as file:
            try:
                pickle.dump((True, function(*arguments)), file)
            except BaseException:  # whatever it is, the parent tells
                pickle.dump((False, traceback.format_exc()), file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    is_sound, value = pickle.loads(data) if data else (False, "It died.")  # noqa: S301 - our own child's
    if not is_sound:
        raise RuntimeError(value)
    return value


def side_by_side(jobs: Mapping[str, Callable[[], Any]], most: int) -> dict[str, Any]:
    """Run functions in forked children, so many at once, and return what each returns.

    Raises:
        RuntimeError: one of them raised; with its traceback.
    """
    waiting, running, results = dict(jobs), {}, {}
    while waiting or running:
        while waiting and len(running) < most:
            name = next(iter(waiting))
            running[name] = _Aside(waiting.pop(name))
        for name, aside in list(running.items()):
            if aside.has_ended():
                results[name] = running.pop(name).result()
        time.sleep(0.05)
    return results


class _Aside:
    """A function in a forked child."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._file = Path(tempfile.mkstemp(prefix="understudy-attack-")[1])
        sys.stdout.flush()
        self._pid = os.fork()
        if not self._pid:
            try:
                said = (True, function())
            except BaseException:  # whatever it is, the parent tells
                said = (False, traceback.format_exc())
            self._file.write_bytes(pickle.dumps(said))
            os._exit(0)

    def has_ended(self) -> bool:
        return os.waitpid(self._pid, os.WNOHANG)[0] != 0

    def result(self) -> Any:
        data = self._file.read_bytes()
        self._file.unlink()
        is_sound, value = pickle.loads(data) if data else (False, "It died.")  # noqa: S301 - our own child's
        if not is_sound:
            raise RuntimeError(value)
        return value


def held_kib(pid: int) -> int:
    """Return the memory that a process holds now; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _become(command: Command, sink: Path) -> int:
    """Turn this child into the command; returns its exit code."""
    try:
        for number, name, flags in ((0, "in", os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
            os.dup2(os.open(sink / name, flags | os.O_APPEND), number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
            for number, mode, errors in ((0, "r", "surrogateescape"), (1, "w", "strict"), (2, "w", "backslashreplace"))
        )
        kept = {name: os.environ[name] for name in CLEAN if name in os.environ}
        os.environ.clear()
        os.environ.update({**kept, **command.env})
        os.chdir(command.folder)
        _forget_peak()
        if command.dies_at:
            _die_at(command.dies_at, sink)
        return _call(list(command.words))
    except BaseException as error:  # as the interpreter does: a traceback and exit code 1
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()


def _call(words: list[str]) -> int:
    """Run a program as `python -m` does, and return its exit code."""
    sys.argv = words
    sys.modules.pop(PROGRAM, None)
    try:
        runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
            return 1
        return error.code or 0
    return 0


def _forget_peak() -> None:
    """Let the peak of memory begin at what is held now: a fork inherits its parent's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _die_at(number: int, sink: Path) -> None:
    """Kill this process in the place of its nth change to files, folders or a server; below 0 only count them."""
    count, file = 0, os.open(sink / "touched", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in TOUCHES and not (event == "open" and isinstance(given[2], int) and given[2] & WRITING):
            return
        count += 1
        os.pwrite(file, str(count).encode(), 0)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
