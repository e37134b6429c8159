"""Count people's votes: which are sound, which split they may speak in, what the majority says."""

from collections.abc import Sequence

import polars as pl

from understudy.data.rows import Refusal
from understudy.steps.ingest.refusals import Sorted, as_table, refuse
from understudy.steps.ingest.splits import MOST_GUARDED_FIRST, Group, most_guarded
from understudy.store.tables import SPLITS
from understudy.text.sentences import SENTENCE_ID

LISTED = 10  # labels that a refusal names
SPLIT = "the text '{}' is split into sentences: label these, by its id with '#' and the sentence's number"
RANKS = {split: rank for rank, split in enumerate(MOST_GUARDED_FIRST)}


def sound(
    votes: pl.DataFrame, texts: Sorted, names: Sequence[str], refusals: Sequence[Refusal], *, is_split: bool = False
) -> Sorted:
    """Keep the votes that name a known text, label and split.

    Args:
        votes: as `labels` reads them, with `is_new`: whether the row stands in this run's file. Only those are faults.
        texts: the run's texts, sound and refused.
        names: the card's labels.
        refusals: what `sources` refused of the file.
        is_split: the sound texts are sentences, and a label names one of these.
    """
    known, turned_away = (table["id"].drop_nulls() for table in (texts.kept, texts.refused))
    split = known.str.extract(SENTENCE_ID).unique() if is_split else known.clear()
    is_known, is_new = pl.col("id").is_in(known.implode()), pl.col("is_new")
    is_turned_away = pl.col("id").is_in(turned_away.implode())
    if is_split:
        text_id, away = pl.col("id").str.extract(SENTENCE_ID), turned_away.filter(~turned_away.is_in(split.implode()))
        is_turned_away |= text_id.is_in(away.implode()).fill_null(value=False)
    checks = (
        (~pl.col("id").is_in(split.implode()), "split_text", pl.format(SPLIT, "id"), True),
        (is_known | ~is_turned_away, "text_refused", pl.lit("the text of this id was refused"), False),
        (is_known | is_new, "absent_text", pl.lit("no text of this run has this id"), False),
        (is_known, "unknown_id", pl.format("no text has the id '{}'", "id"), True),
        (pl.col("label").is_in(list(names)), "unknown_label", _none_of("label", names), True),
        (pl.col("split").is_in(SPLITS) | pl.col("split").is_null(), "unknown_split", _none_of("split", SPLITS), True),
    )
    refused = [as_table(refusals)]
    for holds, reason, detail, may_be_fault in checks:
        refused.append(refuse(votes.filter(~holds), reason, detail, is_new & pl.lit(may_be_fault)))
        votes = votes.filter(holds)
    return Sorted(votes, pl.concat(refused))


def scarcest_first(votes: pl.DataFrame, names: Sequence[str], positive: str | None) -> list[str]:
    """Order labels by how scarce they are among people's votes; the label that is looked for comes first.

    >>> votes = pl.DataFrame({"id": ["1", "2", "3"], "label": ["a", "a", "b"], "origin": ["labels"] * 3})
    >>> scarcest_first(votes, ["a", "b", "c"], None)
    ['c', 'b', 'a']
    """
    given = votes.filter(pl.col("origin") == "labels").unique(["id", "label"])
    counts = dict(given.group_by("label").len().iter_rows())
    return sorted(names, key=lambda name: (name != positive, counts.get(name, 0), names.index(name)))


def groups(votes: pl.DataFrame, order: Sequence[str]) -> list[Group]:
    """Return the groups that people voted in, with what decides their split.

    Args:
        votes: sound ones.
        order: the labels, the scarcest first: the first that a group holds is its kind.
    """
    is_given = pl.col("origin") == "labels"
    rank = pl.col("label").replace_strict(list(order), range(len(order)), return_dtype=pl.Int64)
    of_kind = (pl.col("rank") == pl.col("rank").filter(is_given).min()) & is_given
    table = (
        votes.with_columns(rank=rank)
        .group_by("group", maintain_order=True)
        .agg(
            texts=pl.col("id").n_unique(),
            kind=pl.col("rank").filter(is_given).min(),
            of_kind=pl.col("id").filter(of_kind).n_unique(),
            is_mined=(~is_given).any(),
            asked=pl.col("split").drop_nulls(),
        )
    )
    return [
        Group(name, texts, kind, of_kind, is_mined, most_guarded(asked) if asked else None)
        for name, texts, kind, of_kind, is_mined, asked in table.iter_rows()
    ]


def in_their_split(votes: pl.DataFrame) -> Sorted:
    """Refuse votes that ask for another split than their group (`in_split`) is in.

    When a file asks for several splits for one group, the most guarded one holds and the other rows straddle. When the
    group was in another split since an earlier run, the row asks for a move, which is a fault.
    """
    asked = _rank("split").min().over("group")
    votes = votes.with_columns(straddles=asked == _rank("in_split"))
    is_misplaced = (pl.col("split") != pl.col("in_split")).fill_null(value=False)
    apart = votes.filter(is_misplaced)
    said = pl.format("'{}' is asked for, but the group '{}' is in '{}'", "split", "group", "in_split")
    moved = pl.format("{} since an earlier run; use another store or card name to divide again", said)
    refused = [
        refuse(apart.filter("straddles"), "straddles_split", said),
        refuse(apart.filter(~pl.col("straddles")), "split_moved", moved, pl.col("is_new")),
    ]
    return Sorted(votes.filter(~is_misplaced).drop("straddles"), pl.concat(refused))


def guarded(votes: pl.DataFrame) -> Sorted:
    """Keep answers from review queues, which were chosen by disagreement, out of every split but train.

    Returns:
        The votes with `content_split`: the most guarded split in which one of a text's exact copies has a vote.
    """
    is_mined = pl.col("origin") == "queue"
    is_outside = is_mined & (pl.col("in_split") != "train")
    own, votes = votes.filter(is_outside), votes.filter(~is_outside)
    rank = _rank("in_split").min().over("content")
    votes = votes.with_columns(content_split=rank.replace_strict(list(RANKS.values()), list(RANKS)))
    is_copy = is_mined & (pl.col("content_split") != "train")
    detail = pl.format("an answer to a review queue, but the text is held out in '{}'", "held_in")
    refused = [
        refuse(own.with_columns(held_in="in_split"), "leakage", detail),
        refuse(votes.filter(is_copy).with_columns(held_in="content_split"), "leakage", detail),
    ]
    return Sorted(votes.filter(~is_copy), pl.concat(refused))


def decided(votes: pl.DataFrame) -> Sorted:
    """Count the votes for each text: the majority is its label, and a tie refuses them all.

    Exact copies of a text vote together; the first copy in the most guarded split stands for them. Where the copies
    outside that split would outvote those inside, people disagree too: training labels do not overrule the test's.

    Returns:
        One row a text: id, label, split, annotators, origin.
    """
    same = pl.struct("segment", "id", "annotator", "label")
    is_again = pl.col("annotator").is_not_null() & ~same.is_first_distinct()
    again = refuse(votes.filter(is_again), "duplicate_vote", pl.lit("the same person said the same before"))
    votes = votes.filter(~is_again)
    votes = votes.join(_outcomes(votes), on="content", maintain_order="left")
    tied = refuse(votes.filter("is_tie"), "conflicting_labels", pl.format("people disagree: {}", "tally"))
    return Sorted(_winners(votes.filter(~pl.col("is_tie"))), pl.concat([again, tied]))


def _outcomes(votes: pl.DataFrame) -> pl.DataFrame:
    """Return for each content: winner, is_tie, and the tally in words."""
    is_own = pl.col("in_split") == pl.col("content_split")
    counts = votes.group_by("content", "label").agg(all=pl.len(), own=is_own.sum()).sort("content", "label")
    by_all = pl.col("own").sort_by("all").last()
    return counts.group_by("content", maintain_order=True).agg(
        winner=pl.col("label").sort_by("all").last(),
        is_tie=((pl.col("all") == pl.col("all").max()).sum() > 1) | (by_all < pl.col("own").max()),
        tally=pl.format("{} {}", "all", "label").str.join(", "),
    )


def _winners(votes: pl.DataFrame) -> pl.DataFrame:
    stands = pl.col("in_split") == pl.col("content_split")
    is_given = (pl.col("origin") == "labels").any()
    return (
        votes.group_by("content", maintain_order=True)
        .agg(
            id=pl.col("id").filter(stands).first(),
            label=pl.col("winner").first(),
            split=pl.col("content_split").first(),
            annotators=pl.len().cast(pl.Int64),
            origin=pl.when(is_given).then(pl.lit("labels")).otherwise(pl.lit("queue")),
        )
        .drop("content")
    )


def _rank(column: str) -> pl.Expr:
    return pl.col(column).replace_strict(list(RANKS), list(RANKS.values()), default=None, return_dtype=pl.Int8)


def _none_of(column: str, names: Sequence[str]) -> pl.Expr:
    listed = ", ".join(names) if len(names) <= LISTED else f"the card's {len(names):,}"
    return pl.format("'{}' is none of {}", column, pl.lit(listed))
