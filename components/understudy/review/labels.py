"""Store and read human labels: each labels file and each answered queue is a segment, put once.

A vote is one person's label for one text, with the guideline by which it was given; null where that is not known. Votes
of origin "labels" come from a labels file, which is a whole statement about the texts in it: the newest file that names
a text counts for it. Votes of origin "queue" are answers to a review queue, and those of origin "second_look" to a
queue of texts that had a label before, those of origin "settle" to one that was drawn by lot from slices in which the
audit leaves the teacher's bias open: of each of these each person's newest answer counts.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median
from typing import Any, Required

import polars as pl
import yaml
from typing_extensions import TypedDict

from understudy.data import sources
from understudy.data.rows import WHOLE_FILE, Refusal
from understudy.data.sources import Source
from understudy.errors import BadCard, BadData, BadInput
from understudy.review import asked as asking
from understudy.review import firewall, guidelines, label_studio, sitting
from understudy.review.asked import Asked
from understudy.review.origins import ANSWERED, Origin
from understudy.review.spreadsheet import raw_cell
from understudy.store import codecs, layout
from understudy.store.storage import Beaten, Store, contend
from understudy.task import label_sets
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.settings import build_section
from understudy.text.normalise import normalise
from understudy.text.numbers import clipped, count

SAID = ("id", "label", "annotator", "split", "guideline")
VOTES = {
    **dict.fromkeys(SAID, pl.String),
    "origin": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "segment": pl.Int64,
}
FEWEST_MEASURED = 30  # answers from which their median stands for people's time
COMPARED_CHARS = 10_000  # of two texts: a spreadsheet cuts a cell at 32,767
ASCII_WORDS = re.compile(r"[a-z0-9]+")


class Said(TypedDict, total=False):
    """A vote, as a segment keeps it."""

    id: Required[str]
    label: Required[str | None]
    annotator: Required[str | None]
    split: Required[str | None]
    guideline: str | None
    origin: Required[str]
    seconds: float
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Added:
    """What `labels add` did.

    Attributes:
        card_name: the card that the labels answer.
        labels: labels in the file.
        new: how many of them the store did not hold.
        skipped: rows without a label.
        refusals: rows that were refused.
        keys: of the new segments, if there are any.
        ids: different ids that the labels name.
        strange_ids: how many of them neither a queue nor an earlier label of the store names.
        unknown_guideline: labels of which it is not known by which guideline they were given.
        strange_guidelines: what the file calls guidelines that neither a version of the card nor a queue has.
        passed_over: files beside the answers that were not read, since their names do not say how.
        in_other_letters: labels that are not written as the card has them, and were taken.
        held_out: labels of texts that measure the model, in the test split, samples and test sets: none was taken.
    """

    card_name: str
    labels: int
    new: int
    skipped: int
    refusals: Sequence[Refusal]
    keys: Sequence[str]
    ids: int
    strange_ids: int
    unknown_guideline: int
    strange_guidelines: Sequence[str] = ()
    passed_over: Sequence[str] = ()
    in_other_letters: int = 0
    held_out: int = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """People's answers.

    Attributes:
        votes: sound ones, with labels as every table has them.
        skipped: rows without a label.
        refusals: rows that were refused.
        passed_over: names of files that were not read.
        in_other_letters: votes whose label is not written as the card has it.
    """

    votes: pl.DataFrame
    skipped: int
    refusals: list[Refusal]
    passed_over: tuple[str, ...]
    in_other_letters: int = 0


def read_all(store: Store, card_name: str) -> pl.DataFrame:
    """Read every vote that the store holds for a card and nobody took back, oldest segment first.

    Raises:
        BadArtifact: a segment was altered.
    """
    keys = store.list(layout.LABELS.prefix(card=card_name))
    parts = [_segment(store, key, number) for number, key in enumerate(keys)]
    return sitting.standing(pl.concat([pl.DataFrame(schema={**VOTES, "is_live": pl.Boolean}), *parts]))


def seconds_measured(store: Store, card_name: str) -> list[float]:
    """Return how long people took for each answer of which the store knows it: the review page's and Label Studio's.

    Of what one person said of a text the newest counts: an export holds again what earlier ones held.

    Raises:
        BadArtifact: a segment cannot be read.
    """
    keys = sorted(key for key, _ in layout.LABELS.listed(store, card=card_name))
    lines = (line for key in keys for line in codecs.read_lines(store.read(key), store.locate(key), Said))
    newest = {(line["id"], line["annotator"]): line["seconds"] for line in lines if "seconds" in line}
    return list(newest.values())


def typical_s(seconds: Sequence[float]) -> float | None:
    """Return the median of people's seconds, which a text left open over lunch does not move; None where few are known.

    >>> typical_s([20.0, 30.0, 4000.0] * 10), typical_s([20.0])
    (30.0, None)
    """
    return median(seconds) if len(seconds) >= FEWEST_MEASURED else None


def from_file(table: pl.DataFrame, segment: int) -> pl.DataFrame:
    """Return the votes of a labels file, read by `sources`, as the newest segment."""
    missing = [pl.lit(None, pl.String).alias(name) for name in SAID if name not in table.columns]
    votes = table.with_columns(*missing, origin=pl.lit("labels"), segment=pl.lit(segment, pl.Int64))
    return votes.select(list(VOTES))


def current(votes: pl.DataFrame, *apart: str) -> pl.DataFrame:
    """Keep the votes that count: of a labels file's votes the newest file's, of a queue's each person's newest.

    Args:
        votes: by `VOTES`.
        apart: columns by which votes are looked at apart, so that a newer one does not hide one that differs there.
    """
    is_file = pl.col("origin") == "labels"
    newest_file = pl.col("segment").max().over("origin", "id", *apart)
    newest_answer = pl.col("segment").max().over("origin", "id", "annotator", *apart)
    return votes.filter(pl.col("segment") == pl.when(is_file).then(newest_file).otherwise(newest_answer))


def first_said() -> pl.Expr:
    """Return the segment in which a person first gave a label to a text: a labels file says it again and again."""
    return pl.col("segment").min().over("id", "label", "annotator", "origin")


def without_outvoted(votes: pl.DataFrame) -> pl.DataFrame:
    """Leave out the votes that were there when people looked at their text again by the same guideline.

    Args:
        votes: all that the store holds, also those that no longer count.
    """
    again, same = pl.col("origin") == "second_look", ("id", "guideline")
    is_past = ~again & (first_said() < pl.col("segment").filter(again).max().over(same))
    return votes.filter(~is_past.fill_null(value=False))


def put(store: Store, card_name: str, votes: pl.DataFrame, origin: Origin) -> str | None:
    """Write votes as a new segment, unless the newest segment of their origin says just the same.

    Returns:
        The new segment's key, or None when there are no votes or nothing new is said.
    """
    data = codecs.as_lines({**said, "origin": origin} for said in _said(votes))

    def write() -> str | None:
        kept = layout.LABELS.listed(store, card=card_name)
        newest = max((key for key, fields in kept if fields["name"] == origin), default=None)
        if newest is not None and store.read(newest) == data:
            return None
        number = max((int(fields["number"]) for _, fields in kept), default=0) + 1
        key = layout.LABELS.key(card=card_name, number=number, name=origin)
        if not store.put_if_absent(key, data):
            raise Beaten
        return key

    return contend(write, "Human labels", store.locate(layout.LABELS.prefix(card=card_name))) if data else None


def add(store: Store, address: str, card_name: str | None = None) -> Added:
    """Put people's answers into the store, where the next training run finds them.

    Args:
        store: the store that the card's runs use.
        address: CSV, JSONL or Parquet with id and label (and annotator and guideline), or Label Studio's JSON export.
        card_name: the card that the labels answer; needed when the store holds several.

    Raises:
        BadInput: no such card in the store.
        BadData: the file cannot serve, holds no label at all, or too many of its labels are faulty.
    """
    card_name, space = card_labels(store, card_name)
    asked = asking.by_queues(store, card_name)
    answers = read_answers(address, space, asked, most_refused(store, card_name))
    measures = firewall.read(store, card_name).measures(answers.votes) | _asked_of_test(store, card_name, answers.votes)
    votes = answers.votes.filter(~measures)
    ids = set(votes["id"])
    held = read_all(store, card_name)
    strange = ids - asked.texts.keys() - set(held["id"])
    known = {*guidelines.known(store, card_name), *chain.from_iterable(asked.guidelines.values())}
    votes = guidelines.by_only(votes, known)
    pairs = votes.select("id", "guideline").iter_rows()
    origins = pl.Series([asked.origins.get(pair, "queue") for pair in pairs], dtype=pl.String)
    keys = [put(store, card_name, votes.filter(origins == origin), origin) for origin in ANSWERED]
    return Added(
        card_name=card_name,
        labels=len(votes),
        new=len(votes.join(held, on=[name for name in SAID if name in votes.columns], how="anti", nulls_equal=True)),
        skipped=answers.skipped,
        refusals=answers.refusals,
        keys=[key for key in keys if key],
        ids=len(ids),
        strange_ids=len(strange),
        unknown_guideline=votes["guideline"].null_count(),
        strange_guidelines=sorted({*votes["guideline"].drop_nulls()} - known),
        passed_over=answers.passed_over,
        in_other_letters=answers.in_other_letters,
        held_out=int(measures.sum()),
    )


def _asked_of_test(store: Store, card_name: str, votes: pl.DataFrame) -> pl.Series:
    """Tell which answers a queue got to a text that measures; a file of answers says nothing of groups."""
    asked = firewall.asked(store, card_name).select("id", "guideline", "measures")
    found = votes.join(asked, on=["id", "guideline"], how="left", maintain_order="left")
    return found["measures"].fill_null(value=False)


def read_answers(address: str, space: LabelSpace, asked: Asked, most_refused: float) -> Answers:
    """Read people's answers to a queue.

    Args:
        address: CSV, JSONL or Parquet with id and label (and annotator and guideline), or Label Studio's JSON export.
        space: the card's labels.
        asked: what was put before people; an answer beside another text than its id's is refused, and one that does not
            say by which guideline it was given was given by that under which its id was asked about, if it is one.
        most_refused: in [0, 1]; largest share of faulty answers with which the others are taken.

    Raises:
        BadData: the file cannot serve, holds no label at all, or too many of its labels are faulty.
    """
    table, refusals, passed_over = _read_answers(address, is_many=space.is_many)
    answered = table.filter(pl.col("label").is_not_null())
    cells = answered["label"].to_list()
    bare = space.of_cells(map(raw_cell, cells))  # of a cell that was copied from a model's column of the queue
    said = [own or other for own, other in zip(space.of_cells(cells), bare, strict=True)]
    meant = pl.Series("label", said, dtype=pl.String)
    unknown = meant.is_null()
    refusals = refusals + [
        _refused(row, "unknown_label", space.no_label(clipped(row["label"])))
        for row in answered.filter(unknown).iter_rows(named=True)
    ]
    known = answered.with_columns(meant, as_written=pl.col("label")).filter(~unknown)
    others = other_texts(known, asked.texts)
    detail = "the file's text is not the one that this id was asked about"
    refusals += [_refused(row, "other_text", detail) for row in known.filter(others).iter_rows(named=True)]
    votes = known.filter(~others)
    under = pl.Series([asked.guideline_of(identity) for identity in votes["id"]], dtype=pl.String)
    votes = votes.with_columns(guideline=pl.coalesce(pl.col("^guideline$"), under))
    _require_answers(address, len(table), len(votes), refusals, most_refused)
    letters = space.in_other_letters(votes["as_written"])
    return Answers(votes.drop("as_written"), len(table) - len(answered), refusals, passed_over, letters)


def told_letters(labels: int) -> str:
    """Say that labels were taken though they are not written as the card has them.

    >>> told_letters(3)
    "3 labels not in the card's case or with other blanks, taken as the card's"
    """
    return f"{count(labels, 'label')} not in the card's case or with other blanks, taken as the card's"


def _refused(row: Mapping[str, Any], reason: str, detail: str) -> Refusal:
    return Refusal(row["file"], row["row"], row["id"], reason, detail)


def other_texts(rows: pl.DataFrame, asked: Mapping[str, Sequence[str]]) -> pl.Series:
    """Tell which rows bear another text than the one under their id; where either is missing there is no telling.

    Args:
        rows: columns id, and text where the file has it.
        asked: the texts of each id.
    """
    if "text" not in rows.columns:
        return pl.Series([False] * len(rows), dtype=pl.Boolean)
    pairs = zip(rows["id"], rows["text"], strict=True)
    return pl.Series([_is_other(text, asked.get(identity, ())) for identity, text in pairs], dtype=pl.Boolean)


def _is_other(text: str | None, asked: Sequence[str]) -> bool:
    """Tell whether a text is none of those that were asked about; spreadsheets may have cost it signs and accents.

    >>> _is_other("Caf\ufffd Noir, at 5", ["Café noir at 5."]), _is_other("Another.", ["Café noir at 5."])
    (False, True)
    """
    said, plain = _forms(text or "")
    if not said:
        return False
    ours = [_forms(known) for known in asked]
    return bool(ours) and all(said != known and not (plain and plain == signs) for known, signs in ours)


def _forms(text: str) -> tuple[str, str]:
    """Return the beginning of what a text says, and of its plain letters and digits alone."""
    said = normalise(text)
    return said[:COMPARED_CHARS], "".join(ASCII_WORDS.findall(said))[:COMPARED_CHARS]


def require_no_export(source: Source) -> None:
    """Refuse a table that Label Studio exported: the ids in it may be its own.

    Raises:
        BadData: its columns are those of such an export.
    """
    for file in source.files:
        if label_studio.is_other_export(file.columns):
            raise label_studio.refuse_other_export(file.name)


def card_labels(store: Store, card_name: str | None) -> tuple[str, LabelSpace]:
    """Find a card in the store: its name, and the labels of all its versions, which have no order.

    So a label that a later version adds can be given before the first run with it; a run counts those of its own card.

    Raises:
        BadInput: there is none of that name, there are several to choose from, or its versions are of both kinds.
    """
    kept = layout.CARDS.listed(store)
    known = sorted({fields["card"] for _, fields in kept})
    if card_name not in known and not (card_name is None and len(known) == 1):
        got = f"'{card_name}'" if card_name else "none"
        there = ", ".join(known) or "no card yet: run ingest first"
        raise BadInput(f"The card must be one that the store holds, got {got} (--card, {store.uri}: {there}).")
    name = card_name or known[0]
    own = [key for key, fields in kept if fields["card"] == name]
    versions = [_label_space(store.read(key), store.locate(key)) for key in own]
    if len({version.is_many for version in versions}) > 1:
        listed = " and ".join(sorted({_told(version) for version in versions}))
        raise BadInput(
            f"All versions of a card must be of the same kind, got {listed} (card '{name}', {store.uri}). "
            "Give the changed card a new name."
        )
    by_names = sorted(versions, key=lambda version: version.names)
    names = tuple(dict.fromkeys(label for version in by_names for label in version.names))
    aliases = tuple(sorted({pair for version in versions for pair in version.aliases}))
    return name, replace(by_names[0], names=names, aliases=aliases)


def require_held(store: Store, card_name: str) -> None:
    """Refuse a card of which a store holds nothing, such as one that was given another name.

    Raises:
        BadInput: neither a version of it nor a label or an answer of the teacher is there.
    """
    families = (layout.CARDS, layout.LABELS, layout.JUDGEMENTS)
    if not any(store.list(family.prefix(card=card_name)) for family in families):
        there = ", ".join(sorted({fields["card"] for _, fields in layout.CARDS.listed(store)})) or "no card yet"
        raise BadInput(
            f"The card must be one that the store holds, got '{card_name}' (--card, {store.uri}: {there}). Name a "
            "version of one of these."
        )


def require_same_kind(store: Store, card: Card) -> None:
    """Refuse a card whose texts may have several labels where its earlier versions had one a text, or the reverse.

    Answers, predictions and bundles of the one kind say nothing of the other.

    Raises:
        BadCard: a version in the store is of the other kind.
    """
    for key, _ in layout.CARDS.listed(store, card=card.name):
        if _label_space(store.read(key), store.locate(key)).is_many != card.is_many:
            raise BadCard(
                f"labels_per_text must stay what it was, got {card.labels_per_text} where an earlier version of the "
                f"card '{card.name}' says otherwise ({store.locate(key)}). Give the changed card a new name."
            )


def most_refused(store: Store, card_name: str) -> float:
    """Return the card's ingest.max_refused_share: the largest of its versions, which have no order in a store.

    Raises:
        BadSetting: the card in the store says something that is no share.
    """
    kept = layout.CARDS.listed(store, card=card_name)
    return max(_refused_share(store.read(key), store.locate(key)) for key, _ in kept)


def _refused_share(card: bytes, where: str) -> float:
    """Read one setting leniently, as the labels are read."""
    content = yaml.safe_load(codecs.read_text(card, where))
    section = content.get("ingest") if isinstance(content, dict) else None
    said = {name: value for name, value in (section or {}).items() if name == "max_refused_share"}
    return float(build_section("ingest", said, f"{where}: ingest.").max_refused_share)


def tally(refusals: Iterable[Refusal]) -> str:
    """Write the reasons with their counts, most frequent first, each with its first row.

    >>> tally([Refusal("a.csv", 7, "x", "empty_text", "the cell 'text' is empty")])
    "empty_text 1 (row 7 of a.csv: the cell 'text' is empty)"
    """
    listed = list(refusals)
    counts = Counter(refusal.reason for refusal in listed)
    first = {refusal.reason: refusal for refusal in reversed(listed)}
    return ", ".join(f"{reason} {count:,} ({_first(first[reason])})" for reason, count in counts.most_common(5))


def _first(refusal: Refusal) -> str:
    where = refusal.file if refusal.row == WHOLE_FILE else f"row {refusal.row:,} of {refusal.file}"
    return f"{where}: {clipped(refusal.detail, 300)}"


def _told(space: LabelSpace) -> str:
    return "/".join(space.names) + (" (labels_per_text: many)" if space.is_many else "")


def _label_space(card: bytes, where: str) -> LabelSpace:
    """Read labels leniently: a card of an older release must not stand in the way of people's answers."""
    try:
        content = yaml.safe_load(codecs.read_text(card, where))
        names = tuple(str(label["name"]) for label in content["labels"])
        listed = [(alias, str(label["name"])) for label in content["labels"] for alias in label.get("aliases") or ()]
        aliases = tuple((str(label_sets.as_cell(alias)), name) for alias, name in listed)
        return LabelSpace(names, is_many=content.get("labels_per_text") == "many", aliases=aliases)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise codecs.unreadable("a card with labels", type(error).__name__, where) from error


def _require_answers(address: str, rows: int, votes: int, refusals: Sequence[Refusal], most: float) -> None:
    if len(refusals) > most * (votes + len(refusals)):
        raise BadData(
            f"At most {100 * most:g}% of the answers must be faulty, got {len(refusals):,} of "
            f"{votes + len(refusals):,} ({address}): {tally(refusals)}. Mend these rows, or raise "
            "ingest.max_refused_share in the card; nothing was added."
        )
    if not votes:
        raise BadData(
            f"A file of answers must hold labels, got {count(rows, 'row')} and no label ({address}). Fill some in."
        )


def _said(votes: pl.DataFrame) -> Iterator[dict[str, Any]]:
    missing = [pl.lit(None, pl.String).alias(name) for name in SAID if name not in votes.columns]
    for vote in votes.with_columns(missing).select(*SAID, pl.col("^seconds$")).iter_rows(named=True):
        yield {name: value for name, value in vote.items() if name != "seconds" or value is not None}


def _segment(store: Store, key: str, number: int) -> pl.DataFrame:
    lines = codecs.read_lines(store.read(key), store.locate(key), Said)
    rows = [
        (*(line.get(name) for name in SAID), line["origin"], key, row, number, "at" in line)
        for row, line in enumerate(lines, start=1)
    ]
    return pl.DataFrame(rows, schema={**VOTES, "is_live": pl.Boolean}, orient="row")


def _read_answers(address: str, *, is_many: bool) -> tuple[pl.DataFrame, list[Refusal], tuple[str, ...]]:
    """Read rows of `label_studio.ANSWERS`, the refused ones, and the names of files that are passed over."""
    with sources.fetched(address) as found:
        name, path = found.files[0]
        if len(found.files) == 1 and (tasks := label_studio.load(name, path)) is not None:
            return *label_studio.read(name, tasks, is_many=is_many), found.passed_over
    optional, lists = ["annotator", "text", "guideline"], ["label"] * is_many
    with sources.opened(address, ["id", "label"], optional, lists=lists) as source:
        require_no_export(source)
        table, refusals = source.read(filled=["id"], lenient=["text", "guideline"])
    ids = pl.Series(map(raw_cell, table["id"]), dtype=pl.String)
    return table.with_columns(id=ids), refusals, source.passed_over
