"""Place each text: the pool, the held-out splits of gold, or the refusals."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from understudy.data.rows import Refusal
from understudy.steps.ingest.refusals import Sorted, as_table, refuse
from understudy.steps.ingest.splits import MOST_GUARDED_FIRST
from understudy.store.tombstones import Forgotten
from understudy.text.context import COLUMN
from understudy.text.duplicates import Match, fold, nearest
from understudy.text.normalise import content_hash
from understudy.text.seen import seen_of
from understudy.text.sentences import TAKEN, sentence_id, sentences, text_id_of

MUST = "must"  # of a text that the card's contract has


@dataclass(frozen=True, slots=True)
class Parted:
    """The pool, gold of all splits, and the texts that are in neither."""

    pool: pl.DataFrame
    gold: pl.DataFrame
    refused: pl.DataFrame


def sound(table: pl.DataFrame, refusals: Sequence[Refusal]) -> Sorted:
    """Give each text its group, content hash and order, and keep the first text of each id.

    Args:
        table: what `sources` read: file, row, id, text, and group, time and the slice columns where there are any.
        refusals: what `sources` refused.
    """
    missing = [pl.lit(None, pl.String).alias(name) for name in ("group", "time") if name not in table.columns]
    hashes = pl.Series([content_hash(text) for text in table["text"]], dtype=pl.String)
    texts = table.with_row_index("order").with_columns(*missing, content=hashes)
    texts = texts.with_columns(group=pl.coalesce("group", "id"), first=pl.col("row").first().over("id"))
    is_again = ~pl.col("id").is_first_distinct()
    is_same = pl.col("content") == pl.col("content").first().over("id")
    copies = texts.filter(is_again & is_same)
    clashes = texts.filter(is_again & ~is_same)
    refused = [
        as_table(refusals),
        refuse(copies, "duplicate_row", pl.format("row {} has this id and text", "first")),
        refuse(clashes, "duplicate_id", pl.format("row {} has this id and another text", "first"), pl.lit(value=True)),
    ]
    kept = texts.filter(~is_again).drop("first")
    if COLUMN in kept.columns:
        kept = kept.with_columns(content=pl.Series([content_hash(text) for text in seen_of(kept)], dtype=pl.String))
    return Sorted(kept, pl.concat(refused))


def without_forgotten(texts: Sorted, forgotten: Forgotten) -> Sorted:
    """Refuse the texts that somebody asked to forget."""
    is_gone = forgotten.covers(texts.kept)
    gone = refuse(texts.kept.filter(is_gone), "forgotten", pl.lit("somebody asked to forget it"))
    return Sorted(texts.kept.filter(~is_gone), pl.concat([texts.refused, gone]))


def in_sentences(texts: Sorted, language: str) -> Sorted:
    """Make a text of each sentence, in the group of its text; a text whose id could be a sentence's is refused."""
    is_taken = pl.Series([text_id_of(name) is not None for name in texts.kept["id"]], dtype=pl.Boolean)
    taken = refuse(texts.kept.filter(is_taken), "sentence_id", pl.lit(TAKEN), pl.lit(value=True))
    whole = texts.kept.filter(~is_taken).drop("order")
    found = [(name, text, sentences(text, language)) for name, text in whole.select("id", "text").iter_rows()]
    columns = {
        "id": [[sentence_id(name, one.number) for one in ours] for name, _, ours in found],
        "text": [[text[one.start : one.end] for one in ours] for _, text, ours in found],
        "content": [[content_hash(text[one.start : one.end]) for one in ours] for _, text, ours in found],
    }
    lists = [pl.Series(name, cells, dtype=pl.List(pl.String)) for name, cells in columns.items()]
    split = whole.with_columns(lists).explode(list(columns)).with_row_index("order")
    return Sorted(split.select(texts.kept.columns), pl.concat([texts.refused, taken]))


def part(
    texts: pl.DataFrame, gold: pl.DataFrame, near: float, *, is_folded: bool, contract: Collection[str] = ()
) -> Parted:
    """Part the pool from what is held out; exact and near duplicates stay on the more guarded side.

    Args:
        texts: sound texts with `split`, the split of their group; null where nobody voted in the group.
        gold: the labelled texts among them with their split.
        near: Jaccard similarity from which two texts count as near-duplicates.
        is_folded: also keep one of each family of near-duplicates in the pool.
        contract: texts of the card's must, which teach nobody; in a held-out split they stay.
    """
    held = held_out(gold, near)
    rest = texts.join(pl.concat([held.kept.select("id"), held.refused.select("id")]), on="id", how="anti")
    free = _without_contract(rest.sort("order"), contract)
    open_ones = _outside(free.kept, held.kept)
    distinct = _distinct(open_ones.kept, gold)
    matches = nearest(seen_of(distinct.kept).to_list(), seen_of(held.kept).to_list(), near)
    pool = _without(distinct.kept, held.kept, matches)
    folded = _folded(pool.kept, gold, near) if is_folded else Sorted(pool.kept, as_table([]))
    in_train = gold.filter(pl.col("split") == "train").join(folded.kept.select("id"), on="id", how="semi")
    refused = [held.refused, free.refused, open_ones.refused, distinct.refused, pool.refused, folded.refused]
    return Parted(folded.kept, pl.concat([held.kept, in_train]).sort("order"), pl.concat(refused))


def held_out(gold: pl.DataFrame, near: float) -> Sorted:
    """Keep of calibration what is not near the test split, and of validation what is near neither."""
    kept, refused = gold.clear(), [as_table([])]
    for split in MOST_GUARDED_FIRST[:-1]:
        rows = gold.filter(pl.col("split") == split)
        sorted_rows = _without(rows, kept, nearest(seen_of(rows).to_list(), seen_of(kept).to_list(), near))
        kept = pl.concat([kept, sorted_rows.kept])
        refused.append(sorted_rows.refused)
    return Sorted(kept, pl.concat(refused))


def _without_contract(rest: pl.DataFrame, contract: Collection[str]) -> Sorted:
    """Refuse the texts that a student must label rightly without having learned them."""
    held = {content_hash(text) for text in contract}
    is_held = pl.Series([bool(held) and content_hash(text) in held for text in rest["text"]], dtype=pl.Boolean)
    refused = refuse(rest.filter(is_held), MUST, pl.lit("the card's must has this text, which so teaches nobody"))
    return Sorted(rest.filter(~is_held), refused)


def _outside(rest: pl.DataFrame, held: pl.DataFrame) -> Sorted:
    """Refuse exact copies of held-out texts, and the unlabelled texts of held-out groups."""
    twins = held.select("content", twin="id", twin_split="split")
    rest = rest.join(twins, on="content", how="left", maintain_order="left")
    is_copy = pl.col("twin").is_not_null()
    is_inside = ~is_copy & (pl.col("split") != "train").fill_null(value=False)
    copied = pl.format("the text of id '{}', which is held out in '{}'", "twin", "twin_split")
    fellow = pl.format("nobody's label counts for it, and its group '{}' is held out in '{}'", "group", "split")
    refused = [
        refuse(rest.filter(is_copy), "duplicate_text", copied),
        refuse(rest.filter(is_inside), "group_held_out", fellow),
    ]
    return Sorted(rest.filter(~is_copy & ~is_inside).drop("twin", "twin_split"), pl.concat(refused))


def _distinct(rows: pl.DataFrame, gold: pl.DataFrame) -> Sorted:
    """Keep one of each exact text: the one whose label counts, else the first."""
    ranked = rows.with_columns(is_gold=pl.col("id").is_in(gold["id"].implode())).sort(~pl.col("is_gold"), "order")
    ranked = ranked.with_columns(
        twin=pl.col("id").first().over("content"), is_kept=pl.col("content").is_first_distinct()
    )
    copies = ranked.filter(~pl.col("is_kept")).sort("order")
    refused = refuse(copies, "duplicate_text", pl.format("the text of id '{}', which is kept", "twin"))
    return Sorted(ranked.filter("is_kept").sort("order").select(rows.columns), refused)


def _folded(pool: pl.DataFrame, gold: pl.DataFrame, near: float) -> Sorted:
    """Keep one of each family of near-duplicates, and all whose label counts."""
    is_gold = pl.col("id").is_in(gold["id"].implode())
    first = pl.concat([pool.filter(is_gold), pool.filter(~is_gold)])
    matches = fold(seen_of(first).to_list(), near)
    labelled = first.select(is_gold).to_series()
    kept = [None if is_labelled else match for is_labelled, match in zip(labelled, matches, strict=True)]
    folded = _without(first.with_columns(split=pl.lit("pool")), first.with_columns(split=pl.lit("pool")), kept)
    return Sorted(pool.join(folded.kept.select("id"), on="id", how="semi", maintain_order="left"), folded.refused)


def _without(rows: pl.DataFrame, others: pl.DataFrame, matches: Sequence[Match | None]) -> Sorted:
    """Refuse the rows that nearly repeat one of the others."""
    ids, splits = others["id"], others["split"]
    said = [
        match and f"{match.similarity:.2f} like id '{ids[match.index]}' ({splits[match.index]})" for match in matches
    ]
    rows = rows.with_columns(said=pl.Series(said, dtype=pl.String))
    refused = refuse(rows.filter(pl.col("said").is_not_null()), "near_duplicate", pl.col("said"))
    return Sorted(rows.filter(pl.col("said").is_null()).drop("said"), refused)
