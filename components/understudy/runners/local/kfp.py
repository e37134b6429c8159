"""Run a pipeline by KFP's own local runner, each task in a process of its own, as it would run in a pod.

KFP's runner keeps its settings in globals and can't be stopped between tasks, so it gets a process too: this module is
its program. When the process that started it is gone, it ends with all that it has started.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import IO, Any

from understudy.pipelines.compile import load_pipeline
from understudy.runners.events import Event, StepFailed, provenance_of
from understudy.runners.terminal import front_door
from understudy.runtime import provenance
from understudy.runtime.shell import ERROR_FILE

STARTED = re.compile(r"Executing task \S*'([\w-]+)'")
ENDED = re.compile(r"Task \S*'([\w-]+)'\S* finished with status \S*(SUCCESS|FAILURE)")
OUTPUTS_DIR = "kfp"


def run(pipeline: str, arguments: Mapping[str, Any], folder: Path, log: IO[str]) -> Generator[Event, None, None]:
    """Run a pipeline's tasks, telling of each.

    Args:
        pipeline: name of the pipeline.
        arguments: of the pipeline.
        folder: of the run; each task writes to <folder>/kfp/<pipeline>-<time>/<task>/<output>.
        log: takes everything that KFP and the steps print.

    Raises:
        StepFailed: a step failed, with its sentence and exit code.
    """
    job = {"pipeline": pipeline, "arguments": dict(arguments), "root": str(folder / OUTPUTS_DIR)}
    with subprocess.Popen(
        [sys.executable, "-m", "understudy.runners.local.kfp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        with process.stdin as stdin:
            print(json.dumps(job), file=stdin, flush=True)
            yield from follow(process.stdout, folder / OUTPUTS_DIR, log)
    if process.returncode:
        raise StepFailed(f"The pipeline must end by itself, got exit code {process.returncode} from KFP's runner.")


def follow(lines: IO[str], root: Path, log: IO[str]) -> Generator[Event, None, None]:
    """Turn what KFP's runner prints into events, and pass it on to the log.

    Raises:
        StepFailed: a task failed.
    """
    for line in lines:
        log.write(line)
        log.flush()
        if found := STARTED.search(line):
            yield Event(found[1], "started", folder_of(root, found[1]))
        elif (found := ENDED.search(line)) and found[2] == "SUCCESS":
            folder = folder_of(root, found[1], f"*{provenance.FILE}")
            yield Event(found[1], "ended", folder, provenance_of(folder))
        elif found:
            raise failure_in(folder_of(root, found[1], ERROR_FILE), found[1])


def folder_of(root: Path, task: str, holding: str = "*") -> Path:
    """Return the folder of a task in the newest run under KFP's root.

    The turns of a loop run at the same time, and KFP does not tell which one it speaks of: of those that hold a file
    of the wanted name, the newest is taken.
    """
    runs = sorted(root.glob("*"), key=lambda path: path.name)
    run = runs[-1] if runs else root
    turns = [path for path in run.glob(f"for-loop-*/{task}") if any(path.rglob(holding))]
    return max(turns, key=lambda path: path.stat().st_mtime_ns, default=run / task)


def failure_in(folder: Path, task: str) -> StepFailed:
    """Read why a task failed from the record that it left; without one, it was killed or never began."""
    try:
        told = json.loads((folder / ERROR_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return StepFailed(f"{task} failed: its process ended without saying why.")
    return StepFailed(told["message"], told["exit_code"])


def end_with_parent() -> None:
    """Kill this process and all that it started once standard input is closed, as it is when the parent ends."""
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin.read(): a lock held at exit is fatal to the interpreter
        pass
    os.killpg(0, signal.SIGKILL)


def load_compiled(name: str) -> Any:
    """Load a pipeline from its YAML: what runs here is what a server gets, not the Python that it was made from."""
    from kfp import compiler, components

    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / f"{name}.yaml")
        compiler.Compiler().compile(load_pipeline(name), file)
        return components.load_component_from_file(file)


def main() -> None:
    """Run the pipeline that standard input describes."""
    from kfp import local

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=job["root"])
    load_compiled(job["pipeline"])(**job["arguments"])


if __name__ == "__main__":
    front_door(main)
