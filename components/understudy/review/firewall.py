"""Name the texts that measure the model, which no queue that teaches may ask about: test split, samples, test sets."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Required

import polars as pl
from typing_extensions import TypedDict

from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.text.normalise import content_hash


class Assigned(TypedDict, total=False):
    """What of a group's split matters here."""

    group: Required[str]
    split: Required[str]


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
    keys = [key for key, _ in layout.SPLITS.listed(store, card=card_name)]
    lines = (line for key in keys for line in codecs.read_lines(store.read(key), store.locate(key), Assigned))
    groups = frozenset(line["group"] for line in lines if line["split"] == "test")
    tables = [*layout.TEST_SETS.listed(store), *layout.SAMPLE_TABLES.listed(store)]
    columns = {"id": pl.String, "text": pl.String}
    parts = [codecs.read_table(store.read(key), store.locate(key), columns) for key, _ in tables]
    texts = pl.concat([pl.DataFrame(schema=columns), *parts])
    return HeldOut(groups, frozenset(texts["id"]), frozenset(map(content_hash, texts["text"])))
