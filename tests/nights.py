"""Predictions in a store, as the step infer leaves them, for the tests of what reads them."""

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from understudy.store.predictions import OF_EACH, OF_SEVERAL, PREDICTIONS
from understudy.store.storage import Store


def prediction(name: str, text: str = "Ask for a late checkout.", **changes: Any) -> dict[str, Any]:
    """Return one prediction."""
    return {
        "id": name,
        "group": name,
        "time": "2026-11-02",
        "text": text,
        "content": hashlib.sha256(text.encode()).hexdigest(),
        "label": "tip",
        "probability": 0.75,
        "runner_up": "other",
        "runner_up_probability": 0.25,
        "threshold": 0.5,
        "version": "v1",
        "generation": 1,
        "date": "2026-11-03",
        "stage": "student",
        "windows": 1,
        "start": None,
        "end": None,
        "scored_at": "2026-11-03T02:00:00Z",
        **changes,
    }


def of_several(
    name: str, labels: Sequence[str], text: str = "Ask for a late checkout.", **changes: Any
) -> dict[str, Any]:
    """Return one prediction of the labels praise, tip and wish, of which a text may have several."""
    chances = [0.75 if label in labels else 0.25 for label in ("praise", "tip", "wish")]
    said = {"label": json.dumps(list(labels)), "runner_up": None, "runner_up_probability": None, "threshold": None}
    return {**prediction(name, text, **said), OF_EACH: chances, **changes}


def put_segment(store: Store, rows: Sequence[dict[str, Any]], number: int = 0, **changes: Any) -> str:
    """Put a segment of predictions, the way an immutable one is put, and return its key."""
    table = pl.DataFrame([{**row, **changes} for row in rows], schema=OF_SEVERAL if OF_EACH in rows[0] else PREDICTIONS)
    first = table.row(0, named=True)
    folder = f"predictions/date={first['date']}/{first['version']}"
    key, data = f"{folder}/00-{number:05d}.parquet", io.BytesIO()
    table.write_parquet(data)
    assert store.put_if_absent(key, data.getvalue())
    return key


def put_shard_end(store: Store, keys: Sequence[str]) -> str:
    """Put the object that says that a shard is whole."""
    found = {key: store.read(key) for key in keys}
    sizes = {key: len(pl.read_parquet(io.BytesIO(data))) for key, data in found.items()}
    said = [{"key": key, "rows": sizes[key], "sha256": hashlib.sha256(data).hexdigest()} for key, data in found.items()]
    key = f"{keys[0].rpartition('/')[0]}/00.json"
    store.put_if_absent(key, json.dumps({"segments": said, "rows": sum(sizes.values()), "refused": {}}).encode())
    return key
