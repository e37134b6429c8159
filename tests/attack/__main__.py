"""Run the attacks, three at a time; tests/attack/__init__.py says how.

Exit code 0: every figure is within its bound. 1: one is not. 2: no such part.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial, reduce
from pathlib import Path

from tests.attack import concurrency, faults, forks, fuzz, keys, kills, world
from tests.attack.figures import Counts, report
from tests.services.s3 import Server

SEED = 12
LANES = 3  # on two cores: what meets faults waits for most of its time
INPUTS, INPUTS_LONG = 200, 1_500
KILLS, KILLS_LONG = (24, 16), (150, 100)  # of nights, and of money and training
BUCKET = "attack"
PARTS = ("kills", "faults", "concurrency", "keys", "fuzz")
Job = Callable[[], Counts]


def main(arguments: list[str]) -> int:
    """Run all parts, those that are named, or one input; returns the exit code."""
    if len(arguments) == 2 and arguments[0] == "fuzz" and arguments[1].isdigit():
        return one_input(int(arguments[1]))
    if unknown := set(arguments) - set(PARTS):
        print(f"An attack must be one of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    is_long, started = os.environ.get("ATTACK") == "long", time.monotonic()
    print(f"seed {SEED}", flush=True)
    forks.warm()
    with world.scratch() as place, world.s3_server(place) as server:
        env = {**world.s3_env(server), "ATTACK_BUCKET": BUCKET}
        world.make_bucket(env, BUCKET)
        jobs = jobs_of(arguments or PARTS, place, server, env, is_long=is_long)
        found = forks.side_by_side(jobs, LANES)
    counts = reduce(Counts.__add__, found.values())
    for note in counts.notes:
        print(note)
    settings = {"parts": list(arguments or PARTS), "is_long": is_long, "lanes": LANES}
    report(counts, settings, SEED, time.monotonic() - started)
    print(f"seconds {time.monotonic() - started:.0f}")
    return 1 if counts.broken else 0


def jobs_of(
    parts: tuple[str, ...] | list[str], place: Path, server: Server, env: Mapping[str, str], *, is_long: bool
) -> dict[str, Job]:
    """List what is to be run, the longest first."""
    nights, money = KILLS_LONG if is_long else KILLS
    inputs = INPUTS_LONG if is_long else INPUTS
    jobs: dict[str, Job] = {
        **{
            f"faults {name}": partial(faults.attack, place / "faults", server, env, name, is_long=is_long)
            for name in ("night", "labels", "ingest", "label")
        },
        "kills money": partial(kills.money, place / "money", env, SEED, money),
        "kills nights": partial(kills.nights, place / "nights", env, SEED, nights),
        "fuzz even": partial(fuzz_lane, place / "even", range(0, inputs, 2)),
        "fuzz odd": partial(fuzz_lane, place / "odd", range(1, inputs, 2)),
        "concurrency": partial(concurrency.attack, place / "at-once", env, is_long=is_long),
        "keys": partial(keys.attack, place / "keys", env, is_long=is_long),
    }
    return {name: partial(timed, name, job) for name, job in jobs.items() if name.split()[0] in parts}


def timed(name: str, job: Job) -> Counts:
    """Run a job and say how long it took."""
    started = time.monotonic()
    counts = job()
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return counts


def fuzz_lane(place: Path, numbers: range) -> Counts:
    """Try some of the inputs."""
    return fuzz.Fuzz(place, SEED).each(numbers)


def one_input(number: int) -> int:
    """Try one input, and show all that it did."""
    forks.warm()
    with world.scratch() as place:
        lane = fuzz.Fuzz(place, SEED)
        name, what, ended, peak_kib = lane.one(number)
        over_mb = (ended.peak_kib - peak_kib) / 1024
        print(f"{name} ({what}): exit code {ended.code} after {ended.seconds:.2f} s, {over_mb:.0f} MB over")
        print(ended.out[-3000:], ended.err[-8000:], sep="\n")
        counts = fuzz.judged(number, name, what, ended, peak_kib)
    print(*counts.notes, sep="\n")
    return 1 if counts.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
