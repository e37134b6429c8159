"""Divide texts and human votes into pool and gold: what is refused, what a vote counts, and the wall around the test.

Tables go in and come out; nothing is dropped in silence: every text ends in the pool, in gold, or among the refusals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from understudy import labels
from understudy.duplicates import Match, fold, nearest
from understudy.errors import BadData, TooFewLabels
from understudy.records import SPLITS, Gold, Refusals, Split, Texts
from understudy.sources import Refusal
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.ingest.splits import GUARD, Assignment, Group, assign, most_guarded
from understudy.text import content_hash

HELD_OUT: tuple[Split, ...] = ("test", "calibration", "validation")
REFUSALS = {
    "file": pl.String,
    "row": pl.Int64,
    "id": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "is_fault": pl.Boolean,
}


@dataclass(frozen=True, slots=True)
class Sound:
    """What is left of the texts, or of the votes, and what was refused on the way."""

    table: pl.DataFrame
    refused: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Division:
    """Pool, gold of all splits, the firewall, what was refused, and the groups assigned for the first time."""

    pool: pl.DataFrame
    gold: pl.DataFrame
    firewall: pl.DataFrame
    refused: pl.DataFrame
    assigned: Mapping[str, Assignment]


def refusal_table(refusals: Sequence[Refusal]) -> pl.DataFrame:
    """Return refusals as a table."""
    rows = [(item.file, item.row, item.id, item.reason, item.detail, item.is_fault) for item in refusals]
    return pl.DataFrame(rows, schema=REFUSALS, orient="row")


def sound_texts(table: pl.DataFrame, refusals: Sequence[Refusal]) -> Sound:
    """Give each text its group and content hash, and keep the first text of each id.

    Args:
        table: what `sources` read: file, row, id, text, and group, time and the slice columns where there are any.
        refusals: what `sources` refused.
    """
    missing = [pl.lit(None, pl.String).alias(name) for name in ("group", "time") if name not in table.columns]
    hashes = [content_hash(text) for text in table["text"]]
    texts = table.with_columns(*missing, content=pl.Series(hashes, dtype=pl.String)).with_row_index("order")
    texts = texts.with_columns(pl.coalesce("group", "id").alias("group"))
    first = texts.unique("id", keep="first", maintain_order=True)
    again = texts.join(first.select("id", kept="content", kept_row="row", kept_order="order"), on="id")
    again = again.filter(pl.col("order") != pl.col("kept_order")).sort("order")
    where = pl.format("row {} has this id", "kept_row")
    is_same = pl.col("content") == pl.col("kept")
    copies = refuse(again.filter(is_same), "duplicate_row", pl.format("{} and this text", where), is_fault=False)
    clashes = refuse(again.filter(~is_same), "duplicate_id", pl.format("{} and another text", where), is_fault=True)
    return Sound(first, pl.concat([refusal_table(refusals), copies, clashes]))


def sound_votes(
    votes: pl.DataFrame, texts: Sound, names: Sequence[str], refusals: Sequence[Refusal], newest: int
) -> Sound:
    """Keep the votes for known texts, labels and splits; only rows of the newest segment, the file, can be faults.

    Args:
        votes: as `labels` reads them.
        texts: sound and refused texts.
        names: the card's labels.
        refusals: what `sources` refused.
        newest: number of the segment that is the labels file of this run.
    """
    is_new = pl.col("segment") == newest
    is_known = pl.col("id").is_in(texts.table["id"].implode())
    was_refused = pl.col("id").is_in(texts.refused["id"].drop_nulls().implode())
    checks = (
        (is_known | ~was_refused, "text_refused", pl.lit("the text of this id was refused"), False),
        (is_known | is_new, "absent_text", pl.lit("the texts of this run have no such id"), False),
        (is_known, "unknown_id", pl.format("no text has the id '{}'", "id"), True),
        (pl.col("label").is_in(names), "unknown_label", _none_of("label", names), True),
        (pl.col("split").is_in(SPLITS).fill_null(value=True), "unknown_split", _none_of("split", SPLITS), True),
    )
    refused = [refusal_table(refusals)]
    for holds, reason, detail, is_fault in checks:
        refused.append(refuse(votes.filter(~holds), reason, detail, is_fault=is_new & is_fault))
        votes = votes.filter(holds)
    return Sound(votes, pl.concat(refused))


def refuse(rows: pl.DataFrame, reason: str, detail: pl.Expr, *, is_fault: bool | pl.Expr) -> pl.DataFrame:
    """Return rows of a user's file as refusals."""
    fault = is_fault if isinstance(is_fault, pl.Expr) else pl.lit(is_fault)
    columns = [pl.lit(reason).alias("reason"), detail.alias("detail"), fault.alias("is_fault")]
    return rows.select("file", "row", "id", *columns).cast(REFUSALS)  # type: ignore[arg-type]


def faults_sentence(what: str, refused: pl.DataFrame, rows: int, most: float) -> list[str]:
    """Return one sentence when the share of faulty rows is above what is allowed, else none.

    Args:
        what: the file, in the message.
        refused: refusals of its rows.
        rows: how many rows it has.
        most: largest share of faulty rows.
    """
    faults = [Refusal(*row) for row in refused.filter("is_fault").iter_rows()]
    if len(faults) <= most * rows:
        return []
    return [
        f"At most {most:.0%} of the rows must be faulty, got {len(faults):,} of {rows:,} ({what}): "
        f"{labels.tally(faults)}. Mend the rows, or raise ingest.max_refused_share."
    ]


def require_few_faults(sentences: Sequence[str]) -> None:
    """End the run when there is a sentence about too many faults.

    Raises:
        BadData: there is.
    """
    if sentences:
        raise BadData(list(sentences))


def divide(
    texts: pl.DataFrame,
    votes: pl.DataFrame,
    names: Sequence[str],
    positive: str,
    stored: Mapping[str, Assignment],
    config: IngestConfig,
) -> Division:
    """Assign groups to splits, decide labels, and part the pool from what is held out.

    Args:
        texts: sound texts, one row an id.
        votes: sound votes of all segments.
        names: the card's labels.
        positive: name of the positive label.
        stored: assignments of earlier runs.
        config: shares, thresholds and seed.
    """
    votes = labels.current(votes).join(texts.select("id", "group", "content", "order"), on="id").sort("order")
    assigned = assign(_groups(votes, positive), stored, config)
    splits = {name: item.split for name, item in {**stored, **assigned}.items()}
    texts = texts.with_columns(split=_split_of("group", splits, texts["group"]))
    placed = in_their_split(votes.with_columns(in_split=_split_of("group", splits, votes["group"])))
    fenced = fence(placed.table)
    decided = decide(fenced.table)
    gold = texts.drop("split").join(decided.table, on="id").sort("order")
    parted = part(texts, gold, config)
    refused = pl.concat([placed.refused, fenced.refused, decided.refused, parted.refused])
    return Division(parted.pool, parted.gold, firewall(texts), refused, assigned)


def _groups(votes: pl.DataFrame, positive: str) -> list[Group]:
    is_given = pl.col("origin") == "labels"
    table = votes.group_by("group", maintain_order=True).agg(
        is_positive=(is_given & (pl.col("label") == positive)).any(),
        is_mined=(~is_given).any(),
        asked=pl.col("split").filter(is_given).drop_nulls(),
    )
    return [
        Group(row["group"], row["is_positive"], row["is_mined"], most_guarded(row["asked"]) if row["asked"] else None)
        for row in table.iter_rows(named=True)
    ]


def in_their_split(votes: pl.DataFrame) -> Sound:
    """Refuse votes whose author asks for another split than their group is in.

    When the author asks for several splits for one group, the most guarded one wins and the other rows straddle; when
    the store had decided before, the row asks for a move, which is a fault.
    """
    rank = pl.col("split").replace_strict(_RANKS, return_dtype=pl.Int8)
    own_rank = pl.col("in_split").replace_strict(_RANKS, return_dtype=pl.Int8)
    is_misplaced = (pl.col("split") != pl.col("in_split")).fill_null(value=False)
    votes = votes.with_columns(is_misplaced=is_misplaced, straddles=rank.min().over("group") == own_rank)
    apart = votes.filter("is_misplaced")
    said = pl.format("'{}' is asked for, but the group '{}' is in '{}'", "split", "group", "in_split")
    straddling = refuse(apart.filter("straddles"), "straddles_split", said, is_fault=False)
    since = pl.format("{} since an earlier run: use another card name or store", said)
    is_given = pl.col("file") == pl.col("file")
    moved = refuse(apart.filter(~pl.col("straddles")), "split_moved", since, is_fault=is_given)
    return Sound(votes.filter(~pl.col("is_misplaced")).drop("is_misplaced", "straddles"), pl.concat([straddling, moved]))


def fence(votes: pl.DataFrame) -> Sound:
    """Keep answers from review queues, which are drawn by disagreement, out of every split but train.

    A text belongs to the most guarded split in which a given label names it or an exact copy of it.
    """
    is_mined = pl.col("origin") == "queue"
    is_outside = is_mined & (pl.col("in_split") != "train")
    outside = votes.filter(is_outside)
    votes = votes.filter(~is_outside)
    rank = pl.col("in_split").replace_strict(_RANKS, return_dtype=pl.Int8)
    guarded = rank.min().over("content").replace_strict(_SPLITS, return_dtype=pl.String)
    votes = votes.with_columns(content_split=guarded)
    is_copy = is_mined & (pl.col("content_split") != "train")
    copies = votes.filter(is_copy).with_columns(in_split="content_split")
    columns = ["file", "row", "id", "in_split"]
    detail = pl.format("an answer from a review queue, but the text is held out in '{}'", "in_split")
    refused = refuse(pl.concat([outside.select(columns), copies.select(columns)]), "fenced", detail, is_fault=False)
    return Sound(votes.filter(~is_copy), refused)


def decide(votes: pl.DataFrame) -> Sound:
    """Count the votes for each text: the majority is its label, a tie refuses all of them.

    Copies of a text vote together; the first labelled copy in the most guarded split stands for them.

    Returns:
        One row a text: id, label, split, annotators, origin.
    """
    same = ["file", "segment", "id", "annotator", "label"]
    is_again = pl.col("annotator").is_not_null() & ~pl.struct(same).is_first_distinct()
    again = refuse(votes.filter(is_again), "duplicate_vote", pl.lit("this person said so before"), is_fault=False)
    votes = votes.filter(~is_again)
    counts = votes.group_by("content", "label").len()
    is_top = pl.col("len") == pl.col("len").max().over("content")
    top = counts.filter(is_top).with_columns(is_tie=pl.len().over("content") > 1)
    ties = votes.join(top.filter("is_tie").select("content").unique(), on="content", how="semi")
    said = pl.col("label").sort().implode().over("content", mapping_strategy="join") if False else None
    del said
    conflict = refuse(
        ties.join(_tallies(ties), on="content"), "conflicting_labels", pl.format("people disagree: {}", "tally"),
        is_fault=False,
    )
    won = votes.join(top.filter(~pl.col("is_tie")).select("content", winner="label"), on="content").sort("order")
    stands = pl.col("in_split") == pl.col("content_split")
    decided = won.group_by("content", maintain_order=True).agg(
        id=pl.col("id").filter(stands).first(),
        label=pl.col("winner").first(),
        split=pl.col("content_split").first(),
        annotators=pl.len().cast(pl.Int64),
        origin=pl.when((pl.col("origin") == "labels").any()).then(pl.lit("labels")).otherwise(pl.lit("queue")),
    )
    return Sound(decided.drop("content"), pl.concat([again, conflict]))
