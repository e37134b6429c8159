"""A store with a published bundle and nights that are labelled already, for tests of what looks at them."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from tests.bundles import WORDS, make_bundle
from understudy.model.decision import told
from understudy.model.vocabulary import Vocabulary
from understudy.stats.drift.summary import Reference, describe
from understudy.steps.watch.nightly import probabilities as known_probabilities
from understudy.steps.watch.nightly import tokens_of
from understudy.store import manifests, registry
from understudy.store.bundles import BUNDLE_FILE, version_of
from understudy.store.manifests import Manifest
from understudy.store.predictions import OF_EACH, OF_SEVERAL, PREDICTIONS
from understudy.store.storage import Store
from understudy.task.labels import LabelSpace

TOPICS = {
    "hotel": "room bed lift bar breakfast lobby pool towel staff desk floor shower window stairs garden roof",
    "ferry": "ferry deck harbour gangway cabin wave anchor crew island tide buoy mast cargo porthole rope pier",
}
TIPS = LabelSpace(("other", "tip"), "tip")
COMMON = "the a of and to in was we it for at on with had our but very"


def _figure(value: float | None, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


KNOWN = {  # what is known of a model's quality, but for day and card
    "figure": "f1",
    "samples": [
        {
            "date": "2026-11-03",
            "version": "hotel-tips-1",
            "drawn": 100,
            "answered": 80,
            "taught": 0,
            "labels": {
                "tip": {
                    "precision": _figure(0.81, 0.7, 0.9),
                    "recall": _figure(0.76, 0.6, 0.88),
                    "change": _figure(-0.04, -0.2, 0.1),
                },
                "other": {"precision": _figure(0.95, 0.9, 0.98), "recall": _figure(None, None, None), "change": None},
            },
            "primary": _figure(0.785, 0.68, 0.86),
            "errors": {**_figure(0.06, 0.03, 0.12), "texts": 70.5},
            "disagreement": {**_figure(None, 0.0, 1.0), "texts": 0.0},
        }
    ],
    "months": [{"month": "2026-11", "texts": 80, "primary": _figure(0.785, 0.68, 0.86)}],
    "cycles": [
        {
            "version": "hotel-tips-1",
            "published": "2026-10-01T00:00:00Z",
            "trained_texts": 900,
            "figure": "f1",
            "primary": None,
        },
        {
            "version": "hotel-tips-2",
            "published": "2026-11-01T00:00:00Z",
            "trained_texts": None,
            "figure": "f1",
            "primary": _figure(0.82, 0.75, 0.88),
        },
    ],
    "tests": [
        {
            "date": "2026-09-30",
            "version": "hotel-tips-1",
            "texts": 220,
            "measured_on": 200,
            "labels": {"other": 180, "tip": 40},
            "figure": "f1",
            "primary": _figure(0.79, 0.7, 0.86),
            "published": _figure(0.82, 0.75, 0.88),
            "difference": _figure(-0.03, -0.12, 0.06),
        }
    ],
}


def make_texts(
    count: int, share: float, seed: int, topic: str = "hotel", per_group: int = 4, prefix: str = ""
) -> pl.DataFrame:
    """Draw texts: columns id, group, text and probability; a share of them is likely to be positive."""
    rng = np.random.default_rng(seed)
    is_positive = rng.random(count) < share
    log_odds = np.where(is_positive, 2.5, -3.0) + rng.normal(0, 1.2, count)
    words = np.array(f"{COMMON} {TOPICS[topic]}".split())
    weights = 1 / np.arange(1, len(words) + 1)
    texts = [" ".join(rng.choice(words, size=rng.integers(5, 16), p=weights / weights.sum())) for _ in range(count)]
    names = [f"{prefix}{seed}-{number}" for number in range(count)]
    groups = [f"{prefix}{seed}-g{number // per_group}" for number in range(count)]
    return pl.DataFrame({"id": names, "group": groups, "text": texts, "probability": 1 / (1 + np.exp(-log_odds))})


def make_labelled(count: int, shares: Sequence[float], seed: int, names: Sequence[str], **given: str) -> pl.DataFrame:
    """Draw texts of several labels as `scored` returns them; `shares` are those of the labels given."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(len(names), size=count, p=np.asarray(shares) / np.sum(shares))
    second = (codes + rng.integers(1, len(names), size=count)) % len(names)
    own = 0.55 + 0.4 * rng.beta(3, 2, size=count)
    return make_texts(count, 0.2, seed, **given).with_columns(
        label=pl.Series([names[code] for code in codes]),
        runner_up=pl.Series([names[code] for code in second]),
        probability=pl.Series(own),
        runner_up_probability=pl.Series((1 - own) * 0.7),
        threshold=pl.lit(None, pl.Float64),
    )


def make_of_several(
    count: int,
    shares: Sequence[float],
    seed: int,
    names: Sequence[str],
    learned: Sequence[float] | None = None,
    **given: str,
) -> pl.DataFrame:
    """Draw texts that may have several labels, each by itself with a share of its own, as `scored` returns them.

    `learned`: the shares at which the model was calibrated, where they are others.
    """
    rng, space = np.random.default_rng(seed), LabelSpace(tuple(names), is_many=True)
    share = np.asarray(shares if learned is None else learned)
    is_true = rng.random((count, len(names))) < np.asarray(shares)
    scores = rng.normal(size=is_true.shape) + 3.0 * is_true  # of normal scores, one of which lies 3 higher
    odds = np.exp(3.0 * scores - 4.5) * share / (1 - share)
    probabilities = (odds / (1 + odds)).astype(np.float32).astype(float)
    codes = probabilities >= 0.5
    own, other, second = told(probabilities, codes)
    return make_texts(count, 0.2, seed, **given).with_columns(
        label=pl.Series(space.named(codes)),
        probability=pl.Series(own),
        runner_up=pl.Series([None if code < 0 else names[code] for code in other.tolist()], dtype=pl.String),
        runner_up_probability=pl.Series(second).fill_nan(None),
        threshold=pl.lit(None, pl.Float64),
        **{OF_EACH: pl.Series(probabilities.tolist(), dtype=pl.List(pl.Float32()))},
    )


def publish_of_several(store: Store, folder: Path, names: Sequence[str], shares: Sequence[float]) -> str:
    """Publish a bundle whose texts may have several labels, and whose reference are 800 texts."""
    bundle = make_bundle(folder, labels=names, is_many=True)
    space, table = LabelSpace(tuple(names), is_many=True), make_of_several(800, shares, 1_000, names)
    return _published(store, bundle, describe(table, space, known_probabilities(table, space)), 900)


def publish_labelled(store: Store, folder: Path, names: Sequence[str], shares: Sequence[float]) -> str:
    """Publish a bundle of several labels, none of which is looked for, whose reference are 800 texts."""
    bundle = make_bundle(folder, labels=names)
    space, table = LabelSpace(tuple(names)), make_labelled(800, shares, 1_000, names)
    return _published(store, bundle, describe(table, space, known_probabilities(table, space)), 900)


def publish(
    store: Store,
    folder: Path,
    share: float = 0.2,
    *,
    has_reference: bool = True,
    has_tokens: bool = True,
    trained: int = 900,
) -> str:
    """Publish a bundle whose reference are 400 quiet texts, each of whose words it knows; return its version."""
    words = WORDS | dict.fromkeys(f"{COMMON} {TOPICS['hotel']}".split(), 0.0)
    bundle, reference = make_bundle(folder, words=words), None
    if has_reference:
        table = make_texts(400, share, seed=1_000)
        probability = table["probability"].to_numpy()
        reference = describe(scored(table), TIPS, np.stack([1 - probability, probability], axis=1))
        vocabulary = Vocabulary.opened((bundle / "tokenizer.json").read_bytes(), str(bundle))
        reference = replace(reference, tokens=tokens_of(table, vocabulary)) if has_tokens else reference
    return _published(store, bundle, reference, trained)


def _published(store: Store, bundle: Path, reference: Reference | None, trained: int) -> str:
    settings = json.loads((bundle / BUNDLE_FILE).read_text())
    settings["trained_texts"] = trained
    settings["cascade"] = {"reason": "settles", "max_missed": 0.005}
    settings |= {"reference": reference.as_record()} if reference else {}
    settings["version"] = version_of("hotel-tips", settings)
    (bundle / BUNDLE_FILE).write_text(json.dumps(settings))
    return registry.publish_bundle(store, bundle, {"report.html": b"<p>report</p>"}).version


def put_night(
    store: Store,
    night: str,
    texts: pl.DataFrame,
    version: str,
    refused: int = 0,
    segments: int = 2,
    first_stage: tuple[int, int, int] = (0, 0, 0),
    **changes: object,
) -> Manifest:
    """Put a night into the store as shard and infer leave it: a manifest, segments and the shard's record.

    `first_stage`: texts that it settled, of these checked, of these missed.
    """
    manifest = Manifest(
        format=manifests.FORMAT,
        number=len(store.list(manifests.ORDER)) + 1,
        date=night,
        created=f"{night}T01:00:00Z",
        source="texts.csv",
        card="hotel-tips",
        bundle=version,
        generation=1,
        labels=("other", "tip"),
        positive_label="tip",
        texts=len(texts) + refused,
        objects={},
        shards=((),),
        watermark={},
    )
    manifest = replace(manifest, **changes)
    manifests.freeze(store, night, lambda _: manifest)
    parts = []
    for segment, part in enumerate(_cut(predictions(texts, manifest), segments)):
        buffer, key = io.BytesIO(), manifests.prediction_key(manifest, 0, segment)
        part.write_parquet(buffer)
        store.put_if_absent(key, buffer.getvalue())
        parts.append({"key": key, "rows": len(part), "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()})
    said = {"rows": len(texts), "refused": {"empty_text": refused} if refused else {}, "segments": parts}
    said |= dict(zip(("settled", "checked", "missed"), first_stage, strict=True))
    store.put_if_absent(manifests.shard_key(manifest, 0), json.dumps(said).encode())
    return manifest


def scored(texts: pl.DataFrame) -> pl.DataFrame:
    """Give texts with the probability of a tip their label, its probability, and the runner-up with its own.

    Texts that have a label already keep what they have.
    """
    if "label" in texts.columns:
        return texts
    is_tip, tip = pl.col("probability") >= 0.5, pl.col("probability")
    return texts.with_columns(
        label=pl.when(is_tip).then(pl.lit("tip")).otherwise(pl.lit("other")),
        runner_up=pl.when(is_tip).then(pl.lit("other")).otherwise(pl.lit("tip")),
        probability=pl.when(is_tip).then(tip).otherwise(1 - tip),
        runner_up_probability=pl.when(is_tip).then(1 - tip).otherwise(tip),
        threshold=pl.lit(0.5),
    )


def predictions(texts: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """Return texts with their probabilities as the table of predictions."""
    return (
        scored(texts)
        .with_columns(
            time=pl.lit(None, pl.String),
            content=pl.lit("0" * 64),
            version=pl.lit(manifest.bundle),
            generation=pl.lit(manifest.generation, pl.Int64),
            date=pl.lit(manifest.date),
            stage=pl.lit("student"),
            windows=pl.lit(1, pl.Int64),
            start=pl.lit(None, pl.Int64),
            end=pl.lit(None, pl.Int64),
            scored_at=pl.lit(manifest.created),
        )
        .select((OF_SEVERAL if manifest.is_many else PREDICTIONS).names())
    )


def _cut(table: pl.DataFrame, parts: int) -> Sequence[pl.DataFrame]:
    size = -(-max(1, len(table)) // parts)
    return [table[start : start + size] for start in range(0, max(1, len(table)), size)]
