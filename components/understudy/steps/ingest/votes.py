"""Count people's votes: which are sound, which split they may speak in, what the majority says."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import polars as pl

from understudy.data.rows import Refusal
from understudy.review import labels
from understudy.steps.ingest.refusals import Sorted, as_table, refuse
from understudy.steps.ingest.splits import MOST_GUARDED_FIRST, Group, most_guarded
from understudy.store.tables import SPLITS, Split
from understudy.task import label_sets
from understudy.task.labels import LabelSpace
from understudy.text import signs
from understudy.text.sentences import SENTENCE_ID

LISTED = 10  # labels that a refusal names
SPLIT = "the text '{}' is split into sentences: label these, by its id with '#' and the sentence's number"
SPLIT_ALIASES: Mapping[str, Split] = {
    **dict.fromkeys(["dev", "devel", "development", "val", "valid"], "validation"),
    **dict.fromkeys(["cal", "calib"], "calibration"),
    "training": "train",
    "testing": "test",
}
PART = re.compile(r"[-_ ]?\d+(-of-\d+)?$")  # of a file in parts, behind its name
SAME = ("id", "label", "annotator")  # by which a row of a labels file is known again
RANKS = {split: rank for rank, split in enumerate(MOST_GUARDED_FIRST)}


def sound(
    votes: pl.DataFrame, texts: Sorted, space: LabelSpace, refusals: Sequence[Refusal], *, is_split: bool = False
) -> Sorted:
    """Keep the votes that name a known text, label and split, with the label as every table has it.

    Args:
        votes: as `looked_at` returns them, with `is_new`: whether the row stands in this run's file. Only those are
            faults.
        texts: the run's texts, sound and refused.
        space: the card's labels.
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
    votes = votes.drop_nulls("label").with_columns(split=_split_meant(votes["split"].unique().drop_nulls().to_list()))
    cells = votes["label"].unique().to_list()
    meant = pl.col("label").replace_strict(cells, space.of_cells(cells), return_dtype=pl.String)
    no_label = [space.no_label(cell, LISTED) for cell in cells]
    said = pl.col("label").replace_strict(cells, no_label, return_dtype=pl.String)
    checks = (
        (~pl.col("id").is_in(split.implode()), "split_text", pl.format(SPLIT, "id"), True),
        (is_known | ~is_turned_away, "text_refused", pl.lit("the text of this id was refused"), False),
        (is_known | is_new, "absent_text", pl.lit("no text of this run has this id"), False),
        (is_known, "unknown_id", pl.format("no text has the id '{}'", "id"), True),
        (meant.is_not_null() | pl.col("is_seen_again"), "unknown_label", said, True),
        (
            meant.is_not_null(),
            "older_label",
            pl.lit("the card has this label no more; the text was looked at again"),
            False,
        ),
        (pl.col("split").is_in(SPLITS) | pl.col("split").is_null(), "unknown_split", _no_split(), True),
    )
    refused = [as_table(refusals)]
    for holds, reason, detail, may_be_fault in checks:
        refused.append(refuse(votes.filter(~holds), reason, detail, is_new & pl.lit(may_be_fault)))
        votes = votes.filter(holds)
    return Sorted(votes.with_columns(label=meant), pl.concat(refused))


def with_guidelines(votes: pl.DataFrame, guideline: str) -> pl.DataFrame:
    """Say by which guideline the rows of this run's file were labelled, where the file does not.

    A row that the store's newest file has just so for its text was labelled when that came in, by its guideline; any
    other by the card's. So a file that is given again does not become newer by it.

    Args:
        votes: sound ones, those of this run's file among them (`is_new`).
        guideline: the card's.
    """
    files = votes.filter(~pl.col("is_new") & (pl.col("origin") == "labels"))
    newest = files.filter(pl.col("segment") == pl.col("segment").max().over("id")).unique(SAME, keep="last")
    before = newest.select(*SAME, known_guideline="guideline", is_known=pl.lit(value=True))
    known = votes.join(before, on=SAME, how="left", nulls_equal=True, maintain_order="left")
    seen_first = pl.when("is_known").then("known_guideline").otherwise(pl.lit(guideline))
    is_unsaid = pl.col("is_new") & pl.col("guideline").is_null()
    said = pl.when(is_unsaid).then(seen_first).otherwise("guideline")
    return known.with_columns(guideline=said).drop("known_guideline", "is_known")


def looked_at(votes: pl.DataFrame) -> pl.DataFrame:
    """Say of each vote whether a labels file has its text, and whether a second look was taken at it.

    This comes before any vote is refused: a file's label that the card has no more is what a second look was at.

    Returns:
        the votes with `is_in_file` and `is_seen_again`.
    """
    places = {"is_in_file": "labels", "is_seen_again": "second_look"}
    ids = {name: votes.filter(pl.col("origin") == origin)["id"].unique() for name, origin in places.items()}
    return votes.with_columns(pl.col("id").is_in(found.implode()).alias(name) for name, found in ids.items())


def of_two_origins(votes: pl.DataFrame) -> pl.DataFrame:
    """Give each second look the origin of what it looked at: a labels file's row, or else an answer to a queue.

    Returns:
        the votes with `is_second_look`.
    """
    own = pl.when("is_in_file").then(pl.lit("labels")).otherwise(pl.lit("queue"))
    is_second_look = pl.col("origin") == "second_look"
    return votes.with_columns(
        is_second_look=is_second_look, origin=pl.when(is_second_look).then(own).otherwise("origin")
    )


def with_first_said(votes: pl.DataFrame) -> pl.DataFrame:
    """Say of each vote in which segment its person first gave this label to the text: a file says it again and again.

    Returns:
        the votes with `first_said`.
    """
    return votes.with_columns(first_said=labels.first_said())


def looked_at_again(votes: pl.DataFrame) -> Sorted:
    """Let a second look outvote what was said of its text before, by the same guideline too; never in the test split.

    Such texts were chosen since a model contradicts their label, or people each other: a test set that was mended so
    would flatter. What is said after the second look counts beside it.

    Args:
        votes: with `in_split`, `content`, `guideline_rank`, `is_second_look` and `first_said`.
    """
    again, same = pl.col("is_second_look"), ("content", "guideline_rank")
    first = pl.col("first_said").filter(~again).min().over(same)
    is_held_out = again & (first < pl.col("segment")) & (pl.col("in_split") == "test")
    held_out, votes = votes.filter(is_held_out), votes.filter(~is_held_out.fill_null(value=False))
    newest = pl.col("segment").filter(again).max().over(same)
    is_past = (~again & (pl.col("first_said") < newest)).fill_null(value=False)
    guarded_label = pl.lit("a second look by the same rules, but the label is of the test split")
    looked = pl.lit("people looked at the text again, and what they said then counts")
    refused = [
        refuse(held_out, "leakage", guarded_label),
        refuse(votes.filter(is_past), "looked_at_again", looked),
    ]
    return Sorted(votes.filter(~is_past), pl.concat(refused))


def by_newest_guideline(votes: pl.DataFrame) -> Sorted:
    """Keep of a text's votes those by the newest guideline that its split has (`guideline_rank`).

    Votes by older guidelines answer another question, so the newest outvotes them, however many they are. A vote for an
    exact copy outside of the split alone does not.
    """
    is_own = pl.col("in_split") == pl.col("content_split")
    past = pl.col("guideline_rank") < pl.col("guideline_rank").filter(is_own).max().over("content")
    detail = pl.lit("the text has a label by a newer guideline")
    is_past = past.fill_null(value=False)
    return Sorted(votes.filter(~is_past), refuse(votes.filter(is_past), "older_guideline", detail))


def _split_meant(said: Sequence[str]) -> pl.Expr:
    """Write splits by our names, where a file has other ones for them; what is none stays, to be refused."""
    meant: list[str] = [signs.meant(name, SPLITS) or SPLIT_ALIASES.get(signs.folded(name)) or name for name in said]
    return pl.col("split").replace_strict(said, meant, default=None, return_dtype=pl.String)


def split_of_files(files: Sequence[str]) -> dict[str, Split]:
    """Return the split that each file is called, where the files name two or more; none where fewer are named.

    A name is a split's alone, with the number of a part at most: a file called train_delays is about trains.

    >>> split_of_files(["d/train-00001.csv", "d/dev.csv", "d/test_drives.csv"])
    {'d/train-00001.csv': 'train', 'd/dev.csv': 'validation'}
    >>> split_of_files(["d/test-00000-of-00001.parquet", "d/all.parquet"])
    {}
    """
    names = {file: PART.sub("", PurePosixPath(file).name.partition(".")[0].casefold()) for file in files}
    found = {file: split for file, name in names.items() if (split := _split_called(name))}
    return found if len({*found.values()}) > 1 else {}


def _split_called(name: str) -> Split | None:
    """Return the split that people call so."""
    return SPLIT_ALIASES.get(name) or next((split for split in SPLITS if split == name), None)


def in_split_of_file(votes: pl.DataFrame, splits: Mapping[str, Split]) -> pl.DataFrame:
    """Give the rows of labels files without a column of splits the split of their file's name.

    Args:
        votes: rows of the labels files.
        splits: by file; none where the files have a column of splits.
    """
    meant = pl.col("file").replace_strict(list(splits), list(splits.values()), default=None, return_dtype=pl.String)
    return votes.with_columns(split=meant) if splits else votes


def scarcest_first(votes: pl.DataFrame, space: LabelSpace) -> list[str]:
    """Order labels by how scarce they are among people's votes; the label that is looked for comes first.

    >>> votes = pl.DataFrame({"id": ["1", "2", "3"], "label": ["a", "a", "b"], "origin": ["labels"] * 3})
    >>> scarcest_first(votes, LabelSpace(("a", "b", "c")))
    ['c', 'b', 'a']
    """
    given = votes.filter(pl.col("origin") == "labels").select("id", "label").unique()
    named = {(identity, name) for identity, label in given.iter_rows() for name in space.names_in(label)}
    counts = Counter(name for _, name in named)
    places = {name: place for place, name in enumerate(space.names)}
    return sorted(space.names, key=lambda name: (name != space.positive, counts[name], places[name]))


def groups(votes: pl.DataFrame, order: Sequence[str], space: LabelSpace) -> list[Group]:
    """Return the groups that people voted in, with what decides their split.

    Args:
        votes: sound ones.
        order: the labels, the scarcest first: the first that a group holds is its kind, and to hold none of them is one
            more, the last.
        space: the card's labels.
    """
    is_given = pl.col("origin") == "labels"
    places = {name: place for place, name in enumerate(order)}
    given = votes["label"].unique().to_list()
    scarcest = [min((places[name] for name in space.names_in(label)), default=len(order)) for label in given]
    rank = pl.col("label").replace_strict(given, scarcest, return_dtype=pl.Int64)
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


def in_their_split(votes: pl.DataFrame, shared: Sequence[str] = (), *, is_by_name: bool = False) -> Sorted:
    """Refuse votes that ask for another split than their group (`in_split`) is in.

    Groups that are `shared` out of their author's train or validation split, to fill one that the author has not, are
    where they shall be; that such a row asks for test is a fault like any other.

    When a file asks for several splits for one group, the most guarded one holds and the other rows straddle. When the
    group was in another split since an earlier run, the row asks for a move, which is a fault.

    Args:
        votes: with group, `in_split` and the split that is asked for.
        shared: the groups that are shared out.
        is_by_name: this run's rows have the splits of their files' names, which nobody asked for row by row: where a
            group was in another split since an earlier run, they give way.

    Returns:
        Those that stay have `gives_way`.
    """
    is_shared = pl.col("group").is_in(shared) & pl.col("split").is_in(["train", "validation"])
    votes = votes.with_columns(split=pl.when(is_shared).then(pl.col("in_split")).otherwise("split"))
    asked = _rank("split").min().over("group")
    votes = votes.with_columns(straddles=asked == _rank("in_split"))
    is_named = pl.col("is_new") & pl.lit(is_by_name)
    is_apart = (pl.col("split") != pl.col("in_split")).fill_null(value=False)
    votes = votes.with_columns(gives_way=is_apart & is_named & ~pl.col("straddles"))
    is_misplaced = is_apart & ~pl.col("gives_way")
    apart = votes.filter(is_misplaced)
    source = pl.when(is_named).then(pl.format(" by the name of '{}'", "file")).otherwise(pl.lit(""))
    said = pl.format("'{}' is asked for{}, but the group '{}' is in '{}'", "split", source, "group", "in_split")
    moved = pl.format("{} since an earlier run; use another store or card name to divide again", said)
    refused = [
        refuse(apart.filter("straddles"), "straddles_split", said),
        refuse(apart.filter(~pl.col("straddles")), "split_moved", moved, pl.col("is_new")),
    ]
    return Sorted(votes.filter(~is_misplaced).drop("straddles"), pl.concat(refused))


def guarded(votes: pl.DataFrame) -> Sorted:
    """Keep answers from queues, whose texts were chosen for what a model or the teacher does there, in train alone.

    Returns:
        The votes with `content_split`: the most guarded split in which one of a text's exact copies has a vote.
    """
    is_mined = pl.col("origin") != "labels"
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


def decided(votes: pl.DataFrame, space: LabelSpace) -> Sorted:
    """Count the votes for each text: the majority is its label, and a tie refuses them all.

    Where a text may have several labels, people vote on each of them apart, and a tie on any refuses them all.
    Exact copies of a text vote together; the first copy in the most guarded split stands for them. Where the copies
    outside that split would outvote those inside, people disagree too: training labels do not overrule the test's.

    Returns:
        One row a text: id, label, split, annotators, origin, and the guideline of the newest vote.
    """
    same = pl.struct("segment", "id", "annotator", "label")
    is_again = pl.col("annotator").is_not_null() & ~same.is_first_distinct()
    again = refuse(votes.filter(is_again), "duplicate_vote", pl.lit("the same person said the same before"))
    votes = votes.filter(~is_again)
    outcomes = _outcomes_of_sets(votes, space) if space.is_many else _outcomes(votes)
    votes = votes.join(outcomes, on="content", maintain_order="left")
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


def _outcomes_of_sets(votes: pl.DataFrame, space: LabelSpace) -> pl.DataFrame:
    """Return what `_outcomes` does where each vote is a set of labels: a vote is for each that it holds.

    A label's tally is in words where people are even on it, or where those inside the split are outvoted: "2 of 4 tip".
    """
    is_own = pl.col("in_split") == pl.col("content_split")
    people = votes.group_by("content", maintain_order=True).agg(people=pl.len(), own_people=is_own.sum())
    names = pl.col("label").map_elements(space.names_in, return_dtype=pl.List(pl.String))
    named = votes.select("content", names, is_own=is_own).explode("label").drop_nulls("label")
    counts = named.group_by("content", "label").agg(all=pl.len(), own=pl.col("is_own").sum()).sort("content", "label")
    counts = counts.join(people, on="content", maintain_order="left").with_columns(
        is_given=2 * pl.col("all") > pl.col("people"),
        is_even=2 * pl.col("all") == pl.col("people"),
        own_lead=2 * pl.col("own").cast(pl.Int64) - pl.col("own_people").cast(pl.Int64),
    )
    is_outvoted = pl.when("is_given").then(pl.col("own_lead") < 0).otherwise(pl.col("own_lead") > 0)
    is_tie = pl.col("is_even") | is_outvoted
    words = pl.format("{} of {} {}", "all", "people", "label")
    found = counts.group_by("content").agg(
        winner=pl.col("label").filter("is_given"), is_tie=is_tie.any(), tally=words.filter(is_tie).str.join(", ")
    )
    decided = people.select("content").join(found, on="content", how="left", maintain_order="left")
    ordered = [label_sets.ordered([] if given is None else given, space.names) for given in decided["winner"]]
    return decided.with_columns(
        winner=pl.Series(ordered, dtype=pl.String), is_tie=pl.col("is_tie").fill_null(value=False)
    )


def _winners(votes: pl.DataFrame) -> pl.DataFrame:
    stands = pl.col("in_split") == pl.col("content_split")
    origin, asked = pl.col("origin"), pl.lit("queue")
    is_given, is_drawn = (origin == "labels").any(), (origin == "settle").all()
    return (
        votes.group_by("content", maintain_order=True)
        .agg(
            id=pl.col("id").filter(stands).first(),
            label=pl.col("winner").first(),
            split=pl.col("content_split").first(),
            annotators=pl.len().cast(pl.Int64),
            origin=pl.when(is_given).then(pl.lit("labels")).when(is_drawn).then(pl.lit("settle")).otherwise(asked),
            guideline=pl.col("guideline").sort_by("segment").last(),
        )
        .drop("content")
    )


def _rank(column: str) -> pl.Expr:
    return pl.col(column).replace_strict(list(RANKS), list(RANKS.values()), default=None, return_dtype=pl.Int8)


def _no_split() -> pl.Expr:
    others = f"{', '.join(SPLITS)}, nor what files call these: {', '.join(SPLIT_ALIASES)}"
    return pl.format("'{}' is none of {}", "split", pl.lit(others))
