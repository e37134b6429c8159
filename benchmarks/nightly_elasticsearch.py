"""How fast the step index fills a real Elasticsearch, as a share of what the client's own parallel_bulk reaches.

python -m benchmarks.nightly_elasticsearch [--documents 100000] [--rounds 5]

Ours is timed from Parquet segments in a store to documents that can be searched; the rival is given the same documents
as dictionaries in memory, the same number of threads, and the faster of two sizes of request. Rounds alternate, each
into an index of its own with the same settings and mapping. About 3 minutes on 2 cores.
"""

import argparse
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from elasticsearch.helpers import parallel_bulk

from tests.nights import prediction, put_segment
from tests.services import elasticsearch as service
from understudy.search import opening
from understudy.search.connection import open_client
from understudy.search.documents import DOCUMENT_ID, DOCUMENT_VERSION, FIELDS, documents
from understudy.search.elastic import MAPPING
from understudy.search.settings import IndexConfig
from understudy.search.sync import follow, list_segments, read_segment
from understudy.store.predictions import PREDICTIONS
from understudy.store.storage import Store, open_store

DOCUMENTS, ROUNDS, SEED = 100_000, 5, 0
ROWS_PER_SEGMENT = 10_000
CONFIG = IndexConfig(replicas=0)
CHUNK_SIZES = (500, 1000)  # the client's default, and ours
STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


@dataclass(frozen=True, slots=True)
class Measured:
    """Documents a second, a number a round."""

    ours: list[float]
    rival: list[float]
    chunk_size: int


def measure(number: int, rounds: int) -> Measured:
    """Time both in turn."""
    with server() as url, tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        fill(store, number)
        given = actions(store)
        chunk_size = max(CHUNK_SIZES, key=lambda size: rate(number, lambda: rival(url, given, size)))
        rate(number, lambda: ours(url, store, "warm"))
        figures: dict[str, list[float]] = {"ours": [], "rival": []}
        for turn in range(rounds):
            figures["ours"].append(rate(number, lambda turn=turn: ours(url, store, f"r{turn}")))
            figures["rival"].append(rate(number, lambda: rival(url, given, chunk_size)))
        return Measured(figures["ours"], figures["rival"], chunk_size)


def share(measured: Measured) -> dict[str, float]:
    """Return the geometric mean of the rounds' ratios, with its 95% interval by Student's t."""
    logs = [math.log(ours / rival) for ours, rival in zip(measured.ours, measured.rival, strict=True)]
    middle = statistics.fmean(logs)
    half = STUDENT_T[len(logs)] * statistics.stdev(logs) / math.sqrt(len(logs))
    return {"value": math.exp(middle), "low": math.exp(middle - half), "high": math.exp(middle + half)}


def ours(url: str, store: Store, name: str) -> None:
    """Index the whole store into a new index."""
    card = f"bench-{name}"
    with opening.opened(store, card, url, CONFIG) as index:
        follow(index, store, card)
    drop(url, card)


def rival(url: str, given: list[dict[str, Any]], chunk_size: int) -> None:
    """Send the same documents by the client's own helper."""
    index = "bench-rival"
    with open_client(url, CONFIG.timeout_s) as client:
        settings = {"number_of_shards": CONFIG.shards, "number_of_replicas": CONFIG.replicas}
        client.indices.create(index=index, settings=settings, mappings=MAPPING)
        sent = parallel_bulk(client, given, thread_count=CONFIG.workers, chunk_size=chunk_size, index=index)
        if not all(is_in for is_in, _ in sent):
            raise RuntimeError("the rival must send every document")
        client.indices.refresh(index=index)
        client.indices.delete(index=index)


def rate(number: int, work: Any) -> float:
    """Return documents a second."""
    started = time.perf_counter()
    work()
    return number / (time.perf_counter() - started)


def fill(store: Store, number: int) -> None:
    """Put synthetic predictions into a store."""
    chance = random.Random(SEED)  # noqa: S311 - words, not secrets
    words = [f"w{int(chance.paretovariate(0.6)) % 50_000}" for _ in range(100_000)]
    for start in range(0, number, ROWS_PER_SEGMENT):
        names = range(start, min(start + ROWS_PER_SEGMENT, number))
        rows = [prediction(f"text-{name:08d}", " ".join(chance.choices(words, k=15))) for name in names]
        put_segment(store, rows, start // ROWS_PER_SEGMENT)


def actions(store: Store) -> list[dict[str, Any]]:
    """Return the same documents as the helper takes them."""
    empty = pl.DataFrame(schema=PREDICTIONS)
    tables = [table if (table := read_segment(store, key)) is not None else empty for key in list_segments(store)]
    return [
        {
            "_id": row[DOCUMENT_ID],
            "version": row[DOCUMENT_VERSION],
            "version_type": "external_gte",
            "_source": {name: row[name] for name in FIELDS},
        }
        for table in tables
        for row in documents(table, "bench").iter_rows(named=True)
    ]


def drop(url: str, card: str) -> None:
    """Remove a card's index and template."""
    with open_client(url, CONFIG.timeout_s) as client:
        for index in client.indices.get(index=f"understudy.{card}.*"):
            client.indices.delete(index=index)
        client.indices.delete_index_template(name=f"understudy.{card}")


@contextmanager
def server() -> Iterator[str]:
    """Use the server that UNDERSTUDY_TEST_ES_URL names, or start one."""
    if url := os.environ.get("UNDERSTUDY_TEST_ES_URL"):
        yield url
        return
    started = service.unpacked()
    try:
        started.start()
        yield started.url
    finally:
        started.remove()


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, choices=sorted(STUDENT_T))
    given = parser.parse_args()
    print("benchmark-nightly-elasticsearch: about 3 minutes", flush=True)
    started = time.time()
    measured = measure(given.documents, given.rounds)
    figure = share(measured)
    print("es_share {value:.3f} {low:.3f} {high:.3f}".format(**figure))
    about = {"documents": given.documents, "rounds": given.rounds, "client": version("elasticsearch")}
    about |= {"ours_per_s": measured.ours, "rival_per_s": measured.rival, "rival_chunk_size": measured.chunk_size}
    content = {"figures": {"es_share": figure}, "settings": about, "seeds": [SEED], "seconds": time.time() - started}
    path = Path("build/benchmark-nightly-elasticsearch.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
