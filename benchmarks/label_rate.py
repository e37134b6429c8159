"""Measure how fast the labeller asks a teacher, over a bare loop of the same client that keeps and checks nothing.

The teacher is the simulated one in a process of its own, 200 ms away. Rounds of the two alternate; each is given an
empty store, so nothing is answered from what was kept.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.figures import Figure
from tests.conftest import card_yaml
from understudy.store.storage import prepare_store
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.labeller import open_teacher

LATENCY_S, CONCURRENCY = 0.2, 32


@contextmanager
def simulated_teacher(folder: Path) -> Iterator[str]:
    """Run a simulated teacher, and give its address."""
    answers = folder / "answers.csv"
    answers.write_text("text,label\nAsk for a room.,tip\n", encoding="utf-8")
    command = [sys.executable, "-m", "understudy", "rehearse", "--answers", str(answers), "--unknown", "guess"]
    with subprocess.Popen([*command, "--latency", str(LATENCY_S)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # noqa: S101 - it was asked for
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def labelled(texts: pl.DataFrame) -> float:
    """Seconds that the labeller takes on an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNDERSTUDY_CACHE"] = f"{folder}/cache"
        store = prepare_store(f"{folder}/store")
        with open_teacher(parse_card(card_yaml()), store, TeacherConfig(concurrency=CONCURRENCY)) as teacher:
            begun = time.perf_counter()
            judged = teacher.judge(texts)
            seconds = time.perf_counter() - begun
    if len(judged.table) != len(texts):
        raise RuntimeError(f"The teacher must judge all {len(texts)} texts, got {len(judged.table)}. See its reasons.")
    return seconds


def asked(texts: pl.DataFrame, url: str) -> float:
    """Seconds that a bare loop of the client takes."""
    return asyncio.run(_ask(texts["text"].to_list(), url))


async def _ask(texts: list[str], url: str) -> float:
    from openai import AsyncOpenAI

    places = asyncio.Semaphore(CONCURRENCY)
    model = parse_card(card_yaml()).teacher.model
    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(text: str) -> None:
            async with places:
                await client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])

        begun = time.perf_counter()
        await asyncio.gather(*map(ask, texts))
        return time.perf_counter() - begun


def measure(texts: int, rounds: int) -> dict[str, Figure]:
    """Measure the labeller's texts a second over the bare loop's: the mean of the rounds, with its 95% t interval."""
    from scipy.stats import t

    table = pl.DataFrame({"id": [f"t{row:05}" for row in range(texts)]}).with_columns(
        text=pl.format("Text {}.", pl.int_range(texts)), weight=pl.lit(1.0)
    )
    ratios = []
    with tempfile.TemporaryDirectory() as folder, simulated_teacher(Path(folder)) as url:
        os.environ["OPENAI_BASE_URL"] = url
        os.environ.setdefault("OPENAI_API_KEY", "none")
        for _ in range(rounds):
            bare = asked(table, url)
            ratios.append(bare / labelled(table))
    mean = float(np.mean(ratios))
    if rounds == 1:
        return {"label_rate": Figure(mean)}
    half = float(t.ppf(0.975, rounds - 1)) * float(np.std(ratios, ddof=1)) / rounds**0.5
    return {"label_rate": Figure(mean, mean - half, mean + half)}
