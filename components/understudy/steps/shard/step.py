"""Run the step shard: look at source and registry, and freeze the night."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from understudy.data import cards
from understudy.data.arrivals import block_rows, look, next_manifest, require_under
from understudy.errors import BadInput, together
from understudy.runtime.shell import Out, Result
from understudy.steps.shard import rules
from understudy.steps.shard.config import ShardConfig
from understudy.store import manifests, names, registry
from understudy.store.manifests import Manifest
from understudy.store.registry import Current
from understudy.store.storage import Store, prepare_store
from understudy.task.card import CARD_FILE, Card
from understudy.task.sections import ColumnsConfig
from understudy.task.settings import NO_OVERRIDES, Overrides


def run(
    card: str, texts: str, store: str, snapshot: Out, date: str = "", overrides: Overrides = NO_OVERRIDES
) -> Result:
    """Find the texts that no night has taken yet, pin the bundle that serves, and freeze the night's manifest.

    What counts is when a text arrives, not the time that it bears: a new file, or rows appended to a known one. A night
    that was begun keeps its manifest, whoever runs it again and whatever has arrived or was published since.

    Args:
        card: the task card: a file, a snapshot folder, or its s3:// address.
        texts: texts with the columns id and text, and group and time where there are any: CSV, JSONL or Parquet; a
            file, a folder or an s3:// address. "{date}" in it stands for the night. The section columns says what they
            are called there; without a column of ids, each text gets one that is made of it.
        store: folder or s3://bucket/prefix that holds the registry, and gets the manifest.
        snapshot: the card as this night uses it (card.yaml).
        date: the night, YYYY-MM-DD; empty for today's in UTC.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics texts, shards, number and passed_over (files whose names do not say how they read); parameters date,
        shards (names, with commas) and bundle.

    Raises:
        BadInput: nothing is published, or another card's bundle is; the night was begun with another card; or the date
            is still to come.
        BadArtifact: the night was begun on other texts, or its manifest was altered.
        BadData: nothing is at the source, or a file is unreadable or lacks a column.
    """
    night = rules.require_begun(names.night_of(date))
    (parsed, text), keep = together(lambda: cards.read(card), lambda: prepare_store(store))
    settings = parsed.settings(overrides)
    config, called = settings.of(ShardConfig), settings.of(ColumnsConfig).called
    manifest = manifests.freeze(keep, night, lambda newest: _made(keep, parsed, config, called, texts, night, newest))
    rules.require_same_card(manifest, parsed.name)
    ranges = (part.object for shard in manifest.shards for part in shard)
    require_under(ranges, manifests.source_on(texts, night), keep.locate(manifests.manifest_key(night)))
    snapshot.mkdir(parents=True)
    (snapshot / CARD_FILE).write_text(text, encoding="utf-8")
    return Result(
        headline=rules.headline(manifest),
        metrics={
            "texts": manifest.texts,
            "shards": len(manifest.shards),
            "number": manifest.number,
            "passed_over": manifest.passed_over,
        },
        parameters={"date": night, "shards": ",".join(manifest.shard_names), "bundle": manifest.bundle},
    )


def _made(
    store: Store,
    card: Card,
    config: ShardConfig,
    called: Mapping[str, str],
    texts: str,
    night: str,
    newest: Manifest | None,
) -> Manifest:
    source = manifests.source_on(texts, night)
    current = _require_serving(store, card)
    known = newest.watermark if newest else {}
    context = registry.fetch_card(store, current.version).context
    looked = look(source, known, block_rows(config.texts_per_shard), context.columns if context else (), called)
    about = {"date": night, "source": source, "card": card.name, **_pinned(store, current)}
    return next_manifest(newest, looked, config.texts_per_shard, about)


def _require_serving(store: Store, card: Card) -> Current:
    current = registry.require_current(store)
    if current.card != card.name:
        raise BadInput(
            f"A night's card must be the one that serves, got '{card.name}' where '{current.card}' serves "
            f"({store.locate(registry.CURRENT)}). Give each card a store of its own."
        )
    return current


def _pinned(store: Store, current: Current) -> dict[str, Any]:
    settings = registry.fetch_settings(store, current.version)
    return {
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "bundle": current.version,
        "generation": current.generation,
        "labels": tuple(settings["labels"]),
        "positive_label": settings["positive_label"],
        "labels_per_text": settings.get("labels_per_text", "one"),
    }
