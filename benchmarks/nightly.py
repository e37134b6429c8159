"""A night of a million texts: memory of each step, and how its time grows from a tenth of that.

    make benchmark-nightly

Synthetic texts, all different, in one CSV; a tiny but real ONNX model; the index is SQLite. Each step runs in a process
of its own, all shards of infer in one, so that its memory is that of the longest-lived worker. The small night is run
before and after the large one, and its median counts. Then `nightly_elasticsearch` measures es_share.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.figures import BUILD, Figure, report
from tests.bundles import make_bundle
from understudy.store import registry
from understudy.store.storage import prepare_store

STEPS = ("shard", "infer", "index")
NIGHT = "2026-11-01"
SEED = 20261101
WORDS = """ask bring avoid maybe nice stayed room view breakfast staff pool beach quiet late early walk tram bus old new
small clean loud lift garden terrace bar night morning host key tower bridge river market"""
RUN = """
import json, sys
from pathlib import Path
from understudy.runtime.shell import execute
for call in json.load(sys.stdin):
    execute(call["step"], call["arguments"])
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One night: seconds and peak memory of each step."""

    seconds: dict[str, float]
    rss_mb: dict[str, float]

    @property
    def total_s(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())


def write_texts(file: Path, count: int) -> None:
    """Write so many texts, all different, of 4 to 30 words."""
    draw, words = random.Random(SEED), WORDS.split()  # noqa: S311 - synthetic texts
    with file.open("w", encoding="utf-8") as stream:
        stream.write("id,text\n")
        for number in range(count):
            stream.write(f"t{number},{' '.join(draw.choices(words, k=draw.randint(4, 30)))} {number}\n")


def night(folder: Path, count: int) -> Measured:
    """Run a night of so many texts in a fresh store."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bundle = make_bundle(folder / "bundle")
    registry.publish_bundle(prepare_store(str(folder / "store")), bundle, {"report.html": b"<p>"})
    write_texts(folder / "texts.csv", count)
    seconds, rss_mb = {}, {}
    for step in STEPS:
        seconds[step], rss_mb[step] = measured(folder, list(calls(folder, step)))
        print(f"  {count:,} texts, {step}: {seconds[step]:.1f} s, {rss_mb[step]:.0f} MB", flush=True)
    shutil.rmtree(folder)
    return Measured(seconds, rss_mb)


def calls(folder: Path, step: str) -> Iterator[dict[str, object]]:
    """Yield the calls of a step: one, or one a shard."""
    store, snapshot = str(folder / "store"), str(folder / "snapshot")
    if step == "shard":
        given = {"card": str(folder / "bundle/card.yaml"), "texts": str(folder / "texts.csv"), "snapshot": snapshot}
        yield {"step": step, "arguments": {**given, "store": store, "date": NIGHT}}
    elif step == "infer":
        shards = json.loads((folder / "snapshot/provenance.json").read_text())["parameters"]["shards"].split(",")
        for name in shards:
            given = {"card": snapshot, "shard": name, "source": str(folder / "texts.csv")}
            yield {"step": step, "arguments": {**given, "store": store, "predictions": str(folder / "predictions")}}
    else:
        indexed = str(folder / "indexed")
        yield {"step": step, "arguments": {"card": snapshot, "store": store, "date": NIGHT, "indexed": indexed}}


def measured(folder: Path, given: list[dict[str, object]]) -> tuple[float, float]:
    """Make calls in a process of its own; return its seconds and peak memory in MB."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        env={**os.environ, "UNDERSTUDY_CACHE": str(folder / "cache")},
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    with process.stdin as stdin:
        stdin.write(json.dumps(given).encode())
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"A step must end well, got exit code {code} ({given[0]['step']}).")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def figures(small: list[Measured], large: Measured, count: int) -> dict[str, Figure]:
    """Compare the large night with the median of the small ones, a tenth of its size."""
    found = {f"rss_mb_{step}": Figure(round(large.rss_mb[step], 1)) for step in STEPS}
    found["rss_mb"] = Figure(max(figure.value for figure in found.values()))
    for step in STEPS:
        base = statistics.median(one.seconds[step] for one in small)
        found[f"growth_{step}"] = Figure(round(large.seconds[step] / (10 * base), 3))
    base = statistics.median(one.total_s for one in small)
    found["growth"] = Figure(round(large.total_s / (10 * base), 3))
    found["texts_per_second"] = Figure(round(count / large.total_s, 1))
    return found


def elasticsearch_share(documents: int) -> dict[str, Figure]:
    """Compare the step index with the client's own helper, by a real Elasticsearch."""
    from benchmarks import nightly_elasticsearch as rivalry

    found = rivalry.share(rivalry.measure(documents, rivalry.ROUNDS))
    return {"es_share": Figure(**{name: round(value, 4) for name, value in found.items()})}


@click.command()
@click.option("--texts", default=1_000_000, show_default=True, help="Texts of the large night.")
@click.option("--elasticsearch/--no-elasticsearch", default=True, show_default=True, help="Also measure es_share.")
def main(texts: int, elasticsearch: bool) -> None:
    """Measure a large night and small ones; then Elasticsearch with a tenth of the texts."""
    print(
        f"A night of {texts:,} texts and four of a tenth of that; about {1 + texts / 200_000:.0f} minutes on two cores."
    )
    started = time.monotonic()
    folder = BUILD / "benchmark-nightly"
    small = [night(folder, texts // 10) for _ in range(2)]
    large = night(folder, texts)
    small += [night(folder, texts // 10) for _ in range(2)]
    settings = {"texts": texts, "small": texts // 10, "shard": "defaults", "infer": "defaults", "cpus": os.cpu_count()}
    found = figures(small, large, texts) | (elasticsearch_share(texts // 10) if elasticsearch else {})
    report("nightly", found, settings, [SEED], time.monotonic() - started)


if __name__ == "__main__":
    main()
