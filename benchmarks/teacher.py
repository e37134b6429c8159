"""Time how long the teacher is asked: seconds and CPU seconds of `judge` on an empty store in a folder.

    understudy rehearse --answers ANSWERS.csv --latency 0.05 --port 18765 &
    OPENAI_BASE_URL=http://127.0.0.1:18765/v1 PYTHONPATH=components:. python benchmarks/teacher.py TEXTS CONCURRENCY

It needs nothing that a version before lacks, so two checkouts can be timed in turns.
"""

import os
import sys
import tempfile
import time

import polars as pl

from tests.conftest import card_yaml
from understudy.store.storage import prepare_store
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.labeller import open_teacher


def main() -> None:
    """Judge some texts and print the seconds."""
    number, concurrency = int(sys.argv[1]), int(sys.argv[2])
    folder = tempfile.mkdtemp()
    os.environ["UNDERSTUDY_CACHE"] = f"{folder}/cache"
    texts = pl.DataFrame({"id": [f"t{row:05}" for row in range(number)]}).with_columns(
        text=pl.format("Text {}.", pl.int_range(number)), weight=pl.lit(1.0)
    )
    store = prepare_store(f"{folder}/store")
    with open_teacher(parse_card(card_yaml()), store, TeacherConfig(concurrency=concurrency)) as teacher:
        begun, cpu = time.perf_counter(), time.process_time()
        judged = teacher.judge(texts)
    print(f"{len(judged.table)} texts, {time.perf_counter() - begun:.2f} s, {time.process_time() - cpu:.2f} s of CPU")


if __name__ == "__main__":
    main()
