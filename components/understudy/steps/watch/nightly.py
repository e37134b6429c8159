"""Summarise what a night left in the store, a segment at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from understudy.errors import BadArtifact, BadInput, StorageError
from understudy.model.engine import pieces
from understudy.model.vocabulary import Vocabulary
from understudy.stats.drift import series, tokens, words
from understudy.stats.drift.series import Point
from understudy.stats.drift.summary import Reference, Summary, describe, of_each, summarise
from understudy.stats.drift.tokens import Tokens
from understudy.stats.metrics import Floats
from understudy.store import manifests, registry, tombstones
from understudy.store.manifests import Manifest
from understudy.store.predictions import OF_EACH, OF_SEVERAL, PREDICTIONS
from understudy.store.segments import parse, require_kind, require_rows, shard_records, spread
from understudy.store.storage import Store
from understudy.store.watch_records import NewWord
from understudy.task.labels import LabelSpace

OWN = ("group", "text", "label", "probability")
COLUMNS = {name: PREDICTIONS[name] for name in (*OWN, "runner_up", "runner_up_probability")}
MOST_NUMBERS = 10_000_000  # probabilities of texts that serve as a reference: 80 MB
FEWEST_GROUPS = 3  # a word that fewer groups share may name a person, and tells little
MOST_WORDS = 12
MENTIONS = pl.Schema(
    {
        "word": pl.String(),
        "texts": pl.Int64(),
        "groups": pl.Int64(),  # one that lies in two segments counts twice
        "witnesses": pl.List(pl.UInt64()),  # different groups by their hashes, FEWEST_GROUPS at most
    }
)
RARE = 1.5  # mentions that a word's bucket may have in the reference, for each thousand words


@dataclass(frozen=True, slots=True)
class Look:
    """What the watch saw of a night; `labelled_rows` are the source's, whose sentences texts are where it is split."""

    space: LabelSpace
    texts: int
    labelled_rows: int
    looked_at: int
    refused: dict[str, int]
    summary: Summary
    reference: Reference
    is_own_reference: bool
    words: tuple[NewWord, ...]
    missed: Point | None
    unknown: Point | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the shards of a night say of themselves; `segments`: rows by key, in order."""

    texts: int
    labelled_rows: int
    refused: dict[str, int]
    settled: int
    checked: int
    missed: int
    segments: Mapping[str, int]


def look(store: Store, manifest: Manifest, reference: Reference | None, max_texts: int) -> Look:
    """Put a night into numbers.

    Args:
        store: holds the predictions.
        manifest: of the night.
        reference: of the bundle; None where the night must be its own.
        max_texts: most texts to look at.

    Raises:
        BadInput: a shard of the night is not complete.
        StorageError: the shards, or a segment, do not hold as many rows as the night counts.
    """
    counts, space = _counts(store, manifest), LabelSpace(manifest.labels, manifest.positive_label, manifest.is_many)
    chosen = spread(list(counts.segments), counts.texts, max_texts)
    is_own_reference = reference is None
    if reference is None:  # the night's first segment serves
        first = next(tables(store, chosen[:1], space), _none(space))
        first = first.head(MOST_NUMBERS // len(space))
        reference = describe(first, space, probabilities(first, space))
    elif (len(reference.summary.counts), reference.summary.is_several) != (len(space), space.is_many):
        raise BadArtifact(
            f"A reference must be of the night's labels, got one of others, or of another number a text "
            f"({manifest.bundle}). Publish the bundle again."
        )

    summary, looked_at, read = reference.nothing, 0, Tokens()
    vocabulary = Vocabulary.opened(*registry.fetch_tokenizer(store, manifest.bundle))
    mentions = pl.DataFrame(schema=MENTIONS)
    may_lack = bool(tombstones.read(store).hashes)
    for key, table in zip(chosen, tables(store, chosen, space), strict=True):
        require_rows(table, counts.segments[key], store.locate(key), may_lack=may_lack)
        summary += summarise(table, space, reference)
        read += tokens_of(table, vocabulary)
        by_word = pl.concat([mentions, _mentions(table, reference)]).group_by("word")
        totals = by_word.agg(pl.col("texts", "groups").sum(), pl.col("witnesses").explode())
        mentions = totals.with_columns(_few("witnesses"))
        looked_at += len(table)

    missed = series.missed(counts.missed, counts.checked, counts.settled, counts.texts)
    return Look(
        space=space,
        texts=counts.texts,
        labelled_rows=counts.labelled_rows,
        looked_at=looked_at,
        refused=counts.refused,
        summary=summary,
        reference=reference,
        is_own_reference=is_own_reference,
        words=_new_words(mentions),
        missed=missed,
        unknown=series.unknown(read),
    )


def _new_words(mentions: pl.DataFrame) -> tuple[NewWord, ...]:
    """Name the words that came up in enough groups, by `MENTIONS`, those of most groups first."""
    named = mentions.filter(pl.col("witnesses").list.len() >= FEWEST_GROUPS)
    ranked = named.sort("groups", "texts", "word", descending=[True, True, False]).head(MOST_WORDS)
    return tuple(NewWord(**row) for row in ranked.select("word", "groups", "texts").iter_rows(named=True))


def tokens_of(table: pl.DataFrame, vocabulary: Vocabulary) -> Tokens:
    """Count the tokens of texts, and those that the student's vocabulary does not know.

    Args:
        table: columns group and text.
        vocabulary: of the bundle.
    """
    counts = [vocabulary.token_counts(texts) for texts in pieces(table["text"].to_list())]
    none = np.zeros(0, dtype=np.int64)
    lengths, unknown = (np.concatenate([none, *(one[place] for one in counts)]) for place in (0, 1))
    return tokens.count(table["group"].to_numpy(), lengths, unknown)


def probabilities(table: pl.DataFrame, space: LabelSpace) -> Floats:
    """Return the probabilities of the labels as far as predictions tell them, shape (texts, labels).

    Those of the label given and of the runner-up are known; all others share evenly what is left. Where a text may have
    several labels, those of each are.

    >>> known = {"label": ["a"], "probability": [0.6], "runner_up": ["c"], "runner_up_probability": [0.2]}
    >>> probabilities(pl.DataFrame(known), LabelSpace(("a", "b", "c", "d"))).round(3).tolist()
    [[0.6, 0.1, 0.2, 0.1]]
    """
    if space.is_many:
        return of_each(table, len(space))
    chosen = np.stack([space.codes(table[name]) for name in ("label", "runner_up")], axis=1)
    told = table.select("probability", "runner_up_probability").to_numpy()
    rest = np.maximum(0.0, 1 - told.sum(axis=1, keepdims=True)) / max(1, len(space) - 2)
    found = np.repeat(rest, len(space), axis=1)
    np.put_along_axis(found, chosen, told, axis=1)
    return found


def reference_of(store: Store, version: str) -> tuple[Reference | None, dict[str, Any]]:
    """Read what the bundle was calibrated on, and the bundle's settings."""
    settings = registry.fetch_settings(store, version)
    reference = settings.get("reference", {})
    return (Reference.of_record(reference) if "word_counts" in reference else None), settings


def tables(store: Store, keys: Sequence[str], space: LabelSpace) -> Iterator[pl.DataFrame]:
    """Read segments of predictions, one at a time.

    Raises:
        BadArtifact: one is damaged, or not of these labels.
    """
    for key in keys:
        table, where = parse(store.read(key), store.locate(key)), store.locate(key)
        require_kind(table, len(space), where, is_many=space.is_many)
        yield table.select(_none(space).columns)


def _none(space: LabelSpace) -> pl.DataFrame:
    """Return the columns that are read of predictions, without rows."""
    return pl.DataFrame(schema={**COLUMNS, OF_EACH: OF_SEVERAL[OF_EACH]} if space.is_many else COLUMNS)


def _counts(store: Store, manifest: Manifest) -> Counts:
    """Add up what the shards say of themselves.

    Raises:
        BadInput: a shard is not complete.
        StorageError: they answered for other rows than the night took.
    """
    total, refused, segments, read = Counter[str](), Counter[str](), dict[str, int](), 0
    for shard, record in enumerate(shard_records(store, manifest)):
        if record is None:
            raise BadInput(
                f"A night must be labelled whole before it is judged, got no shard {shard} "
                f"({store.locate(manifests.shard_key(manifest, shard))}). Run the night again; what is done is kept."
            )
        total.update({name: getattr(record, name) for name in ("rows", "settled", "checked", "missed")})
        refused.update(record.refused)
        segments |= {part.key: part.rows for part in record.segments}
        read += record.read_rows
    if read != manifest.texts:
        raise StorageError(
            f"A night's shards must answer for the rows that it took, got {read:,} of {manifest.texts:,} "
            f"({store.locate(manifests.manifest_key(manifest.date))}). Run the step infer again for each of its shards."
        )
    by_reason, rows = dict(sorted(refused.items())), read - refused.total()
    return Counts(total["rows"], rows, by_reason, total["settled"], total["checked"], total["missed"], segments)


def _mentions(table: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Count the texts and groups that hold a word which the reference hardly knew, by `MENTIONS`."""
    spoken = words.words_of(table["text"])
    expected = reference.counts[spoken["bucket"].to_numpy()] if len(spoken) else np.zeros(0)
    rare = spoken.filter(pl.Series(expected <= RARE * reference.counts.sum() / 1000, dtype=pl.Boolean))
    group = pl.col("group")
    return (
        rare.with_columns(table["group"].gather(rare["text"]).alias("group"))
        .group_by("word")
        .agg(
            pl.col("text").n_unique().alias("texts"), group.n_unique().alias("groups"), group.hash().alias("witnesses")
        )
        .with_columns(_few("witnesses"))
        .cast(MENTIONS)
    )


def _few(column: str) -> pl.Expr:
    """Keep of each list as many different values as are needed."""
    return pl.col(column).list.unique().list.sort().list.head(FEWEST_GROUPS)
