"""Look at a user's file before there is a card: which columns it seems to have, and what its texts and labels are like.

What is found is a guess that the user reads: each comes with how it was decided, and what was not found is a question.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import polars as pl

from understudy.data import sources
from understudy.data.rows import START, File, Reading, Refusal
from understudy.errors import BadData
from understudy.task import label_sets
from understudy.task.card import FEWEST_LABELS, MOST_LABELS
from understudy.text import duplicates
from understudy.text.language import WITHOUT_BLANKS, language_of
from understudy.text.normalise import content_hash, word_counts
from understudy.text.numbers import clipped, count, few
from understudy.text.signs import folded

MOST_ROWS, MOST_COMPARED, ROWS_FOR_KEYS, DEEPEST = 50_000, 20_000, 200, 3
ID_REMEDY = "rename it, drop it (ids are then made of the texts), or name another one (--id-column)"
MOST_REFUSED = 0.05  # of the rows, as a share: what ingest takes by default
NEAR = 0.8  # Jaccard similarity from which a text nearly repeats another one, as ingest and mine have it
FEWEST_EACH = 5  # rows that each value of a column must have on average to be a label
LONGEST_LABEL_MEAN, FEWEST_WORDS = 40, 2  # signs, words
NAMES = {
    "text": "text texts body message sentence content comment review utterance tweet post sms email question document",
    "label": "label labels class category target tag tags intent sentiment type y",
    "id": "id ids textid messageid uid uuid guid docid documentid reviewid key",
    "group": "group groupid thread threadid conversation conversationid dialogue dialogueid dialog session sessionid "
    "author authorid user userid",
    "time": "time timestamp date datetime created createdat createdtime postedat",
    "split": "split fold partition subset",
    "annotator": "annotator annotatorid annotatedby rater labeller labeler coder worker workerid",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A column that seems to be one of ours: what the file calls it, and how that was decided."""

    own: str
    how: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a file seems to hold.

    Attributes:
        columns: by our names, those that were found.
        labels: rows of each label, by the commonest way in which it is written; empty where none was found.
        is_many: whether cells hold several labels.
        language: of the texts, None where unknown.
        seen: sentences for people: what was counted, what is odd.
        questions: what the file does not tell.
    """

    columns: Mapping[str, Found]
    labels: Mapping[str, int]
    is_many: bool
    language: str | None
    seen: tuple[str, ...]
    questions: tuple[str, ...]


def look(address: str, called: Mapping[str, str]) -> Profile:
    """Read the first rows of a file and find out what they hold.

    Args:
        address: a file, a folder of files, or `s3://bucket/key-or-prefix`.
        called: columns that the user names, by our names.

    Raises:
        BadData: the file cannot be read, has no column of texts, or lacks a column that the user names.
        BadInput: the bucket is missing, forbidden or not to be reached.
    """
    with sources.opened(address, []) as source:
        within = [_plain_columns(file) for file in source.files]
        columns = tuple(dict.fromkeys(chain.from_iterable(within)))
        files = [
            file if file.kind == "csv" else replace(file, columns=tuple({*file.columns, *names}))
            for file, names in zip(source.files, within, strict=True)
        ]
        first, unread = _first_rows(files, columns, lenient=columns)
        if not len(first):
            why = f" The first, row {unread[0].row}: {unread[0].detail}." if unread else ""
            raise BadData(f"A file must hold rows that can be read, got none ({address}).{why} Write it again.")
        found = _roles(first, called, address)
        own = tuple(dict.fromkeys(column.own for column in found.values()))
        table, refused = _first_rows(files, own)
    if len(refused) > MOST_REFUSED * (len(table) + len(refused)):
        raise BadData(
            f"A file must hold rows that can be read, got {len(table):,} of {count(len(table) + len(refused), 'row')} "
            f"that can ({address}). The first of the others, row {refused[0].row}: {refused[0].detail}. Mend the file."
        )
    labels, is_many, questions = _labels(table, first, found)
    odd = [f"{count(len(refused), 'row')} cannot be read, such as: {refused[0].detail}"] if refused else []
    language = language_of(table[found["text"].own].drop_nulls().to_list())
    of_many = "the first " if len(first) > MOST_ROWS else ""
    seen = [
        f"{of_many}{count(len(table), 'row')} of {count(len(files), 'file')} read",
        *odd,
        *(f"column {name}: {clipped(column.own)!r} ({column.how})" for name, column in found.items()),
        *_of_labels(labels, table, found, is_many=is_many),
        *_of_texts(table, found),
        f"language: {language or 'not one that is known here'}",
    ]
    return Profile(found, labels, is_many, language, tuple(seen), (*questions, *_repeated_ids(first, found)))


def _first_rows(
    files: Sequence[File], columns: Sequence[str], lenient: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[Refusal]]:
    """Read the first rows, one more than are looked at; those that cannot be read apart."""
    reading = Reading(lists=columns, lenient=lenient)
    rows = chain.from_iterable(sources.rows_from(file, START, columns, (), reading) for file in files)
    read = list(islice(rows, MOST_ROWS + 1 if lenient else MOST_ROWS))
    sound = [dict(row.cells) for row in read if not isinstance(row, Refusal)]
    table = pl.DataFrame(sound, schema=dict.fromkeys(columns, pl.String))
    return table, [row for row in read if isinstance(row, Refusal)]


def _repeated_ids(table: pl.DataFrame, found: Mapping[str, Found]) -> list[str]:
    """Ask about a column that will be read as ids though its values repeat."""
    if "id" in found or "id" not in table.columns or _is_id(table["id"]):
        return []
    return [f"what names each text? The column 'id' repeats or has empty cells: {ID_REMEDY}"]


def _plain_columns(file: File) -> list[str]:
    """Name the columns that hold plain values, also those within others, as message.body."""
    names: dict[str, None] = {}
    for row in islice(sources.READERS[file.kind](file, file.columns, START), ROWS_FOR_KEYS):
        if not isinstance(row.cells, Refusal):
            names |= dict.fromkeys(_paths(row.cells, "", DEEPEST))
    return [name for name in names if name.strip()]


def _paths(cells: Mapping[str, object], before: str, deep: int) -> Iterator[str]:
    for name, value in cells.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{before}{name}.", deep - 1) if deep else ()
        elif not isinstance(value, bytes):
            yield f"{before}{name}"


def _roles(table: pl.DataFrame, called: Mapping[str, str], address: str) -> dict[str, Found]:
    """Find our columns among the file's: those that the user names, then by their names, then by what they hold."""
    if unknown := [column for column in called.values() if column not in table.columns]:
        raise BadData(
            f"A column that is named must be there, got {few(table.columns, 20)}, not '{unknown[0]}' ({address}). "
            "Mend the name."
        )
    found = {name: Found(column, "as you said") for name, column in called.items()}
    fits: dict[str, Callable[[pl.Series], bool]] = {"text": _has_words, "label": _is_named_label, "id": _is_id}
    for name, usual in ((name, words.split()) for name, words in NAMES.items()):
        free = [column for column in table.columns if column not in {one.own for one in found.values()}]
        free = [column for column in free if table[column].null_count() < len(table)]
        named = sorted((usual.index(plain), column) for column in free if (plain := _plain(column, usual)))
        sound = [column for _, column in named if fits.get(name, _is_any)(table[column])]
        if name in found:
            continue
        if sound:
            found[name] = Found(sound[0], "by its name")
        elif name == "text" and (texts := [column for column in free if _is_text(table[column])]):
            found[name] = Found(max(texts, key=lambda column: _length(table[column])), "the longest texts")
        elif name == "label" and len(kinds := [column for column in free if _is_label(table[column])]) == 1:
            found[name] = Found(kinds[0], "the only one with few values that repeat")
    if "text" not in found:
        raise BadData(
            f"A file must have a column of texts, got {few(table.columns, 20)}, none of which reads like one "
            f"({address}). Say which it is with --text-column."
        )
    return found


def _plain(column: str, usual: Sequence[str]) -> str | None:
    """Return a column's name, or the last part of a path, as people's usual names are written; None for another."""
    tries = (re.sub(r"[^a-z0-9]", "", folded(part)) for part in (column, column.rpartition(".")[2]))
    return next((plain for plain in tries if plain in usual), None)


def _is_any(_: pl.Series) -> bool:
    return True


def _length(column: pl.Series) -> float:
    return float(column.drop_nulls().str.len_chars().mean() or 0)  # type: ignore[arg-type]  # of strings: a float


def _has_words(column: pl.Series) -> bool:
    """Whether a column holds words, or signs of a language that parts none."""
    values = column.drop_nulls()
    is_parted = len(values) > 0 and float(word_counts(values).mean()) >= FEWEST_WORDS
    return is_parted or language_of(values.to_list()) in WITHOUT_BLANKS


def _is_text(column: pl.Series) -> bool:
    """Whether a column reads like texts: words, hardly ever the same ones."""
    return _has_words(column) and column.n_unique() > len(column) / 2


def _is_named_label(column: pl.Series) -> bool:
    """Whether a column that is called like labels holds some: names that repeat, alone or several in a cell."""
    parts, _ = _parts(column.drop_nulls().to_list())
    return FEWEST_LABELS <= len({*map(folded, parts)}) <= min(MOST_LABELS, max(FEWEST_LABELS, len(parts) / 2))


def _is_label(column: pl.Series) -> bool:
    """Whether a column reads like labels: few values, each several times, and short ones; of lists, what they hold."""
    cells = column.drop_nulls().to_list()
    values = pl.Series(_parts(cells)[0] if any(map(label_sets.is_list, cells)) else cells, dtype=pl.String)
    kinds = values.n_unique()
    is_few = FEWEST_LABELS <= kinds <= max(FEWEST_LABELS, len(values) / FEWEST_EACH)
    return is_few and _length(values) <= LONGEST_LABEL_MEAN


def _is_id(column: pl.Series) -> bool:
    return column.null_count() == 0 and column.n_unique() == len(column)


def _parts(cells: Sequence[str]) -> tuple[list[str], bool]:
    """Return the names in cells, and whether a cell may hold several: as a JSON list, or with ; between them."""
    if any(label_sets.is_list(cell) for cell in cells):
        return [part for cell in cells for part in _listed(cell)], True
    split = [part.strip() for cell in cells for part in cell.split(";") if part.strip()]
    is_many = len(split) > len(cells) and len({*map(folded, split)}) < len({*map(folded, cells)})
    return (split if is_many else list(cells)), is_many


def _listed(cell: str) -> Sequence[str]:
    """Return the names in a cell of a column where some cells are lists, such as [] for none of them.

    >>> _listed('["tip"]'), _listed("tip; praise")
    (('tip',), ['tip', 'praise'])
    """
    if label_sets.is_list(cell):
        return label_sets.read(cell)
    return [part.strip() for part in cell.split(";") if part.strip()]


def _labels(
    table: pl.DataFrame, first: pl.DataFrame, found: Mapping[str, Found]
) -> tuple[dict[str, int], bool, list[str]]:
    """Count the labels; those that differ by case and blanks alone are one, written as most often."""
    if "label" not in found:
        kinds = [column for column in first.columns if column != found["text"].own and _is_label(first[column])]
        which = f": {few(kinds, 8)} have few values each" if kinds else ""
        return {}, False, [f"which labels are there? The file does not say{which} (--label-column)"]
    cells = table[found["label"].own].drop_nulls().to_list()
    parts, is_many = _parts(cells)
    ways: dict[str, Counter[str]] = {}
    for part in parts:
        ways.setdefault(folded(part), Counter())[part] += 1
    labels = {max(way, key=lambda name: (way[name], name)): way.total() for way in ways.values()}
    labels = dict(sorted(labels.items(), key=lambda one: (-one[1], one[0])))
    if not FEWEST_LABELS <= len(labels) <= MOST_LABELS:
        values = f"'{clipped(found['label'].own)}' has {count(len(labels), 'value')}"
        asked = f"which labels are there? {values}, and a card has {FEWEST_LABELS} to {MOST_LABELS}"
        return {}, False, [asked]
    return labels, is_many, []


def _of_labels(
    labels: Mapping[str, int], table: pl.DataFrame, found: Mapping[str, Found], *, is_many: bool
) -> Iterator[str]:
    """Say how many of the labelled texts have each label, and in how many ways it is written."""
    if not labels:
        return
    column = table[found["label"].own]
    empty = column.null_count()
    total = len(column) - empty
    shown = list(islice(labels.items(), 12))
    told = ", ".join(f"{clipped(name, 40)} {rows:,} ({rows / total:.1%})" for name, rows in shown)
    more = f", and {len(labels) - len(shown)} more" if len(labels) > len(shown) else ""
    of_texts = " (shares of the texts, which may have several)" if is_many else ""
    yield f"labels: {told}{more}{of_texts}" + (f"; {count(empty, 'row')} without one" if empty else "")
    known = {folded(name) for name in labels}
    other = sorted(cell for cell in column.drop_nulls().unique() if cell not in labels and folded(cell) in known)
    if other:
        yield f"labels in another case or with other blanks are taken as these: {few(other)}"


def _of_texts(table: pl.DataFrame, found: Mapping[str, Found]) -> Iterator[str]:
    """Say how long the texts are, and how many repeat another one."""
    own = found["text"].own
    rows = table.filter(pl.col(own).is_not_null())
    words = word_counts(rows[own])
    typical, long = (int(pl.Series(words).quantile(share) or 0) for share in (0.5, 0.95))
    empty = f"; {count(len(table) - len(rows), 'row')} without a text" if len(table) > len(rows) else ""
    yield f"texts: {typical} words at the median, {long} at 95%, {int(words.max())} at most{empty}"
    compared = rows.head(MOST_COMPARED)
    near = sum(match is not None for match in duplicates.fold(compared[own].to_list(), NEAR))
    of = "" if len(compared) == len(rows) else f" of the first {len(compared):,}"
    yield f"near-duplicates: {count(near, 'text')}{of} nearly repeat one before"
    if "label" in found:
        hashes = rows.select(pl.col(own).map_elements(content_hash, pl.String).alias("text"), label=found["label"].own)
        kinds = hashes.drop_nulls().with_columns(pl.col("label").map_elements(folded, pl.String)).group_by("text")
        if torn := int((kinds.agg(pl.col("label").n_unique())["label"] > 1).sum()):
            yield f"the same text with different labels: {count(torn, 'text')}"
