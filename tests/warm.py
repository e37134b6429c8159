"""Programs in forked children of an interpreter that has imported what they need: a start costs 0.1 s in place of 4 s.

`python -m tests.warm SOCKET` is that interpreter. It runs no program itself and starts no thread, so that a child is as
good as new. What a program's imports do is for tests that start an interpreter afresh.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IMPORTED: tuple[str, ...] = (
    "polars",
    "boto3",
    "onnxruntime",
    "tokenizers",
    "elasticsearch",
    "openai",
    "anyio",
    "scipy.stats",
)
IMPORTED += ("understudy.cli.main", "understudy.cli.step", "understudy.cli.search", "understudy.cli.predict")
IMPORTED += (
    "kfp",
    "understudy.runners.local.run",
    "understudy.runners.local.direct",
    "understudy.runners.cluster.submit",
    "pytest",
    "hypothesis",
)
IMPORTED += tuple(f"understudy.steps.{step}.step" for step in ("label", "infer", "index", "publish"))
ROOT = Path(__file__).parents[1]
LOOK_S = 0.005


class Process:
    """A program that runs in a forked child; it answers as a `subprocess.Popen` does."""

    def __init__(self, server: socket.socket, folder: Path) -> None:
        self.returncode: int | None = None
        self._lines, self._folder = server.makefile("r", encoding="utf-8"), folder
        self.pid = int(self._lines.readline())
        self._server = server

    def poll(self) -> int | None:
        """Return its exit code, minus the signal's number of one that was killed; None while it runs."""
        if self.returncode is None and select.select([self._server], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"the child {self.pid}", timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and return what it printed."""
        self.wait(timeout)
        out, err = ((self._folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, as a node that is lost does."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _end(self) -> None:
        self.returncode = int(self._lines.readline())
        self._lines.close()
        self._server.close()


class Interpreter:
    """The interpreter that has imported everything, and starts programs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, str(folder / "socket")
        command = [sys.executable, "-m", "tests.warm", self._path]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the warm interpreter must start"

    def start(self, words: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Process:
        """Start a program; `words` are the arguments of Python: -m and a module, or -c and code, and what follows."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        asked = {"words": list(words), "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._path)
        server.sendall(json.dumps({**asked, "folder": str(folder)}).encode() + b"\n")
        return Process(server, folder)

    def run(
        self,
        words: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = False,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        process = self.start(words, cwd, env)
        try:
            out, err = process.communicate(timeout)
        finally:
            process.kill()
        done = subprocess.CompletedProcess(list(words), process.wait(), out, err)
        if check:
            done.check_returncode()
        return done

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def serve(path: str) -> dict[str, Any]:
    """Start programs until stdin ends, with the tests; returns in the child of each, with what it is to run."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    os.write(1, b"ready\n")
    running: dict[int, socket.socket] = {}
    while True:
        waiting = select.select([listener, 0], [], [], LOOK_S if running else None)[0]
        if 0 in waiting:
            os._exit(0)
        if listener in waiting:
            caller = listener.accept()[0]
            asked = json.loads(caller.makefile("r", encoding="utf-8").readline())
            pid = os.fork()
            if not pid:
                for each in (listener, caller, *running.values()):
                    each.close()
                return asked
            caller.sendall(b"%d\n" % pid)
            running[pid] = caller
        while running and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            # the pipe is broken when a test has failed and waits no more
            with running.pop(ended[0]) as caller, contextlib.suppress(BrokenPipeError):
                caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))


def become(asked: dict[str, Any]) -> None:
    """Be the program: its folder, environment and arguments, and its output to files."""
    places = {0: (os.devnull, os.O_RDONLY)}
    places |= {
        number: (f"{asked['folder']}/{name}", os.O_CREAT | os.O_WRONLY) for number, name in ((1, "out"), (2, "err"))
    }
    for number, (name, flags) in places.items():
        os.dup2(os.open(name, flags, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        for number, mode, errors in ((0, "r", "surrogateescape"), (1, "w", "strict"), (2, "w", "backslashreplace"))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    option, program, *words = asked["words"]
    sys.argv = [option if option == "-c" else program, *words]
    if option == "-c":
        sys.path[0] = ""
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as -c does
    else:
        sys.path[0] = asked["cwd"]
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def main() -> None:
    """Build the pipelines, import everything and serve; in a child, be the program."""
    from understudy.pipelines.compile import PIPELINES, load_pipeline

    for name in PIPELINES:  # first: beneath -m, KFP walks all modules for each resource that it is told of
        load_pipeline(name)
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else the collector copies the shared pages
    os._exit(ended(serve(sys.argv[1])))


def ended(asked: dict[str, Any]) -> int:
    """Run the program, and end as an interpreter does up to its last C library: polars' and ONNX Runtime's hang."""
    code: Any = 0
    try:
        become(asked)
    except SystemExit as error:
        code = error.code or 0
        if not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return int(code)


if __name__ == "__main__":
    main()
