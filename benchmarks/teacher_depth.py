"""What the audit finds of a teacher, and how fast a teacher is asked: `make benchmark-teacher`.

    python -m benchmarks.teacher_depth          # 400 simulations of each kind of audit
    SIZE=small python -m benchmarks.teacher_depth

`DATA` names the folder of shared data for the figures of the prompt bank, where its benchmark is there.
"""

import importlib
import importlib.util
import os
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import audit_power, label_rate
from benchmarks.figures import Figure, report

BANK = "benchmarks.teacher_bank"
SIMULATIONS, TEXTS, ROUNDS = {"small": 100, "full": 400}, {"small": 640, "full": 1920}, {"small": 2, "full": 5}
SEED = 20261201


def bank(folder: str | None) -> dict[str, Figure]:
    """Return the figures of the prompt bank on recorded answers, where its benchmark and its data are there."""
    if not folder or importlib.util.find_spec(BANK) is None:
        print("The prompt bank is left out: DATA names no folder, or its benchmark is not there.", flush=True)
        return {}
    found: Mapping[str, tuple[float, float, float]] = importlib.import_module(BANK).figures(Path(folder))
    return {name: Figure(*bounds) for name, bounds in found.items()}


def main() -> None:
    """Measure and report."""
    started = time.monotonic()
    size = os.environ.get("SIZE", "full")
    seeds = range(SEED, SEED + SIMULATIONS[size])
    print(f"Simulating {4 * len(seeds)} audits and timing {TEXTS[size]} texts; about 10 minutes in full.", flush=True)
    of_bank = bank(os.environ.get("DATA"))  # first: data that cannot be read shall cost no simulation
    figures = audit_power.measure(seeds) | label_rate.measure(TEXTS[size], ROUNDS[size]) | of_bank
    settings = {
        "simulations": len(seeds),
        "positives": audit_power.POSITIVES,
        "inside": audit_power.INSIDE,
        "latency_s": label_rate.LATENCY_S,
        "concurrency": label_rate.CONCURRENCY,
        "texts": TEXTS[size],
        "rounds": ROUNDS[size],
    }
    file = report("teacher", figures, settings, [SEED], time.monotonic() - started)
    print(f"Written: {file}")


if __name__ == "__main__":
    main()
