"""Name the texts that measure the model, which no queue that teaches may ask about: test split, samples, test sets."""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from understudy.review import queues
from understudy.store import codecs, layout, splits
from understudy.store.storage import Store
from understudy.text.normalise import content_hash


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The texts that measure.

    Attributes:
        groups: of the test split.
        ids: of the texts in samples of the nights, and in the test sets that are made of these.
        contents: hashes of what these texts say.
    """

    groups: Collection[str] = frozenset()
    ids: Collection[str] = frozenset()
    contents: Collection[str] = frozenset()

    def measures(self, table: pl.DataFrame) -> pl.Series:
        """Tell which rows must not teach, by their columns id, and group and text where they have these.

        A second look by a changed guideline may reach the test split: its labels must follow the rules too.

        >>> held_out = HeldOut(groups={"g1"}, ids={"b"})
        >>> held_out.measures(pl.DataFrame({"id": ["a", "b", "c"], "group": ["g1", "g2", "g3"]})).to_list()
        [True, True, False]
        """
        is_sampled = table["id"].is_in(list(self.ids))
        if "text" in table.columns and self.contents:
            hashes = [content_hash(text or "") for text in table["text"]]
            is_sampled |= pl.Series(hashes, dtype=pl.String).is_in(list(self.contents))
        if "group" not in table.columns:
            return is_sampled
        is_test = table["group"].is_in(list(self.groups))
        if "earlier_guideline" in table.columns:
            is_test &= table["earlier_guideline"].eq_missing(table["guideline"])
        return is_sampled | is_test.fill_null(value=False)


def read(store: Store, card_name: str) -> HeldOut:
    """Read which texts measure.

    Raises:
        BadArtifact: splits, a sample or a test set in the store are damaged.
    """
    divided, _ = splits.read(store, card_name)
    groups = frozenset(group for group, line in divided.items() if line["split"] == "test")
    tables = [*layout.TEST_SETS.listed(store), *layout.SAMPLE_TABLES.listed(store)]
    columns = {"id": pl.String, "text": pl.String}
    parts = [codecs.read_table(store.read(key), store.locate(key), columns) for key, _ in tables]
    texts = pl.concat([pl.DataFrame(schema=columns), *parts])
    return HeldOut(groups, frozenset(texts["id"]), frozenset(map(content_hash, texts["text"])))


def asked(store: Store, card_name: str) -> pl.DataFrame:
    """Return what the store's queues ask, whatever a text measures: answers to these come by files too.

    Returns:
        columns id, guideline, split (that its group is in; null where it has none) and measures, a row an id and
        guideline. A text that one queue may ask about by a guideline may be answered by it.

    Raises:
        BadArtifact: splits, a sample, a test set or a queue in the store are damaged.
    """
    held_out, (divided, _) = read(store, card_name), splits.read(store, card_name)
    split_of = {group: line["split"] for group, line in divided.items()}
    columns = {"id": pl.String, "guideline": pl.String, "split": pl.String, "measures": pl.Boolean}
    parts = [pl.DataFrame(schema=columns)]
    for _, table in queues.tables_of(store, card_name):
        if {"id", "group", "guideline"} <= set(table.columns):
            split = [split_of.get(group) for group in table["group"]]
            found = table.with_columns(held_out.measures(table).alias("measures"), pl.Series("split", split, pl.String))
            parts.append(found.select(pl.col(name).cast(kind) for name, kind in columns.items()))
    by_pair = pl.concat(parts).group_by("id", "guideline", maintain_order=True)
    return by_pair.agg(pl.col("split").drop_nulls().first(), pl.col("measures").all())
