"""Read the guidelines of all versions of a card that a store holds, and order those that labels were given by."""

from collections.abc import Collection

import polars as pl
import yaml

from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.task.guideline import Guideline


def known(store: Store, card_name: str) -> dict[str, Guideline]:
    """Return the guidelines of every version of a card that the store holds, by their hashes.

    Versions have no order in a store, and several may share one guideline.

    Raises:
        BadArtifact: a card in the store cannot be read.
    """
    kept = layout.CARDS.listed(store, card=card_name)
    found = [_guideline(store.read(key), store.locate(key)) for key, _ in kept]
    return {guideline.hash: guideline for guideline in found}


def by_others(guidelines: pl.Series, now: str) -> tuple[int, int]:
    """Count the labels that were given by another guideline than the card's, and those by none that is known.

    Args:
        guidelines: hashes, null where it is not known.
        now: hash of the card's guideline.

    >>> by_others(pl.Series(["g1", "g2", "g2", None]), "g1")
    (2, 1)
    """
    return int((guidelines.drop_nulls() != now).sum()), guidelines.null_count()


def by_only(votes: pl.DataFrame, known: Collection[str]) -> pl.DataFrame:
    """Take votes of which nobody says by which guideline for the only one that is known, where there is no other."""
    only = next(iter(known)) if len(known) == 1 else None
    return votes.with_columns(pl.col("guideline").fill_null(pl.lit(only, pl.String)))


def ranked(votes: pl.DataFrame, now: str) -> pl.DataFrame:
    """Add a column `guideline_rank`: the newer the guideline of a vote, the higher.

    The card's is the newest. Of others, one is newer the later the store met its first vote; that which is not known is
    the oldest.

    Args:
        votes: of all segments, columns guideline and segment.
        now: hash of the card's guideline.

    >>> votes = pl.DataFrame({"guideline": ["g2", None, "g1", "g2", "g1"], "segment": [0, 0, 1, 2, 3]})
    >>> ranked(votes, "g1")["guideline_rank"].to_list()
    [0, -1, 4, 0, 4]
    """
    newest = int(votes["segment"].max() or 0) + 1  # type: ignore[arg-type]
    met = pl.col("segment").min().over("guideline")
    rank = pl.when(pl.col("guideline").is_null()).then(-1).when(pl.col("guideline") == now).then(newest).otherwise(met)
    return votes.with_columns(guideline_rank=rank)


def _guideline(card: bytes, where: str) -> Guideline:
    """Read a guideline leniently: a card of an older release has one as well."""
    try:
        return Guideline.of_content(yaml.safe_load(codecs.read_text(card, where)))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise codecs.unreadable("a card with a question, rules and labels", type(error).__name__, where) from error
