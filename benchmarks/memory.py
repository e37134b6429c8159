"""Peak memory of every step, each in a process of its own as in a pod: the demo's training run, a night and a sample.

    make benchmark-memory

KFP's local runner starts the processes; their peaks are read from /proc while they run. Takes about five minutes.
"""

import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.figures import BUILD, Figure, report
from tools import demo
from understudy.runners.local import run
from understudy.runners.request import Request

FOLDER = BUILD / "memory"
STEP = re.compile(r"\0--function_to_execute\0(\w+)")
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
EVERY_S = 0.05


def main() -> int:
    """Run the three pipelines, and report each step's peak; returns the exit code of the first that fails."""
    print("Running the demo by KFP's local runner; this takes about five minutes.", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    started = time.monotonic()
    with watching() as peaks, demo.rehearsal_teacher(FOLDER / "injected.jsonl"):
        for request in requests():
            if code := run.run(request):
                return code
    figures = {f"rss_mib_{step}": Figure(round(peak / 1024, 1)) for step, peak in sorted(peaks.items())}
    report("memory", figures, {"texts": "the demo's"}, [], time.monotonic() - started)
    return 0


def requests() -> Iterator[Request]:
    """Say what is run: each pipeline once."""
    store, night = str(FOLDER / "store"), demo.NIGHTS[0]
    here: dict[str, Any] = {"store": store, "work": FOLDER / "runs", "runner": "kfp"}
    yield replace(demo.request(), **here)
    yield replace(demo.night_request(night), **here)
    yield Request(pipeline="quality", card=str(demo.TASK / "card.yaml"), date=night, name="quality", **here)


@contextmanager
def watching() -> Iterator[dict[str, int]]:
    """Look at the steps' processes for the length of a `with` block.

    Yields:
        the highest peak so far of each step, in KiB.
    """
    peaks: dict[str, int] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY_S):
            for step, peak in running():
                peaks[step] = max(peak, peaks.get(step, 0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def running() -> Iterator[tuple[str, int]]:
    """Find the processes of steps that write to our folder, with the peak of each so far."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text(errors="replace")
            found = STEP.search(command)
            if found and str(FOLDER) in command and "executor_main" in command.split("\0")[2]:
                peak = PEAK.search((process / "status").read_text())
                if peak:
                    yield found[1], int(peak[1])
        except (OSError, IndexError):  # it has ended meanwhile, or is another's
            continue


if __name__ == "__main__":
    sys.exit(main())
