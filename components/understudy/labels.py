"""Human labels in the store: every labels file and every answered queue is a segment, put once, the newest last.

A vote is one person's label for one text. Votes of origin "labels" come from a labels file, which is a whole statement
about the texts in it: the newest file that names a text counts for it. Votes of origin "queue" are answers to a review
queue: each person's newest answer counts.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Required

import polars as pl
import yaml
from typing_extensions import TypedDict

from understudy import sources
from understudy.errors import BadData, BadInput, StorageError
from understudy.sources import Refusal
from understudy.spreadsheet import raw_cell
from understudy.steps.ingest.config import IngestConfig
from understudy.storage import Store
from understudy.store import codecs
from understudy.store.names import require_name

SAID = ("id", "label", "annotator", "split")
VOTES = {
    **dict.fromkeys(SAID, pl.String),
    "origin": pl.String,
    "file": pl.String,
    "row": pl.Int64,
    "segment": pl.Int64,
}


class Said(TypedDict, total=False):
    """A vote, as a segment keeps it."""

    id: Required[str]
    label: Required[str | None]
    annotator: Required[str | None]
    split: Required[str | None]
    origin: Required[str]


@dataclass(frozen=True, slots=True)
class Added:
    """What `labels add` did.

    Attributes:
        card_name: the card that the labels answer.
        labels: labels in the file.
        skipped: rows without a label.
        refusals: rows that were refused.
        key: of the new segment, if there is one.
        ids: different ids that the labels name.
        strange_ids: how many of them neither a queue nor an earlier label of the store names.
    """

    card_name: str
    labels: int
    skipped: int
    refusals: Sequence[Refusal]
    key: str | None
    ids: int
    strange_ids: int


def read_all(store: Store, card_name: str) -> pl.DataFrame:
    """Read every vote that the store holds for a card, oldest segment first.

    Raises:
        BadArtifact: a segment was altered.
    """
    keys = store.list(f"labels/{card_name}/")
    parts = [_segment(store, key, number) for number, key in enumerate(keys)]
    return pl.concat([pl.DataFrame(schema=VOTES), *parts])


def from_file(table: pl.DataFrame, segment: int) -> pl.DataFrame:
    """Return the votes of a labels file, read by `sources`, as the newest segment."""
    missing = [pl.lit(None, pl.String).alias(name) for name in SAID if name not in table.columns]
    votes = table.with_columns(*missing, origin=pl.lit("labels"), segment=pl.lit(segment, pl.Int64))
    return votes.select(list(VOTES))


def current(votes: pl.DataFrame) -> pl.DataFrame:
    """Keep the votes that count: of a labels file's votes the newest file's, of a queue's each person's newest."""
    is_file = pl.col("origin") == "labels"
    newest_file = pl.col("segment").max().over("origin", "id")
    newest_answer = pl.col("segment").max().over("origin", "id", "annotator")
    return votes.filter(pl.col("segment") == pl.when(is_file).then(newest_file).otherwise(newest_answer))


def put(store: Store, card_name: str, votes: pl.DataFrame, origin: Literal["labels", "queue"]) -> str | None:
    """Write votes as a new segment, unless the newest segment of their origin says just the same.

    Returns:
        The new segment's key, or None when there are no votes or nothing new is said.
    """
    lines = [json.dumps({**said, "origin": origin}, sort_keys=True) for said in _said(votes)]
    data = "".join(f"{line}\n" for line in lines).encode()
    while lines:
        keys = store.list(f"labels/{card_name}/")
        newest = max((key for key in keys if Path(key).stem.endswith(f"-{origin}")), default=None)
        if newest is not None and store.read(newest) == data:
            return None
        number = max((int(Path(key).name.partition("-")[0]) for key in keys), default=0) + 1
        key = f"labels/{card_name}/{number:06d}-{origin}.jsonl"
        if store.put_if_absent(key, data):
            return key
    return None


def add(store: Store, address: str, card_name: str | None = None) -> Added:
    """Put people's answers into the store, where the next training run finds them.

    Args:
        store: the store that the card's runs use.
        address: CSV, JSONL or Parquet with id and label (and annotator), or Label Studio's JSON export.
        card_name: the card that the labels answer; needed when the store holds several.

    Raises:
        BadInput: no such card in the store.
        BadData: the file cannot serve, holds no label at all, or too many of its labels are faulty.
    """
    card_name, names = card_labels(store, card_name)
    votes, skipped, refusals = read_answers(address, names)
    ids = set(votes["id"])
    strange = ids - _known_ids(store, card_name)
    key = put(store, card_name, votes, "queue")
    return Added(card_name, len(votes), skipped, refusals, key, len(ids), len(strange))


def read_answers(address: str, names: Sequence[str]) -> tuple[pl.DataFrame, int, list[Refusal]]:
    """Read people's answers to a queue.

    Args:
        address: CSV, JSONL or Parquet with id and label (and annotator), or Label Studio's JSON export.
        names: the card's labels.

    Returns:
        The sound answers, the number of rows without a label, and the refused rows.

    Raises:
        BadData: the file cannot serve, holds no label at all, or too many of its labels are faulty.
    """
    table, refusals = _read_answers(address)
    answered = table.filter(pl.col("label").is_not_null())
    unknown = ~pl.col("label").is_in(names)
    refusals = refusals + [
        Refusal(row["file"], row["row"], row["id"], "unknown_label", f"'{row['label']}' is none of {', '.join(names)}")
        for row in answered.filter(unknown).iter_rows(named=True)
    ]
    votes = answered.filter(~unknown)
    _require_answers(address, len(table), len(votes), refusals)
    return votes, len(table) - len(answered), refusals


def _known_ids(store: Store, card_name: str) -> set[str]:
    """Return the ids that the store's review queues and labels name."""
    keys = store.list(f"queues/{card_name}/")
    queues = {key.rpartition("/")[0]: key for key in keys if key.endswith(("/queue.csv", "/queue.parquet"))}
    ids = {identity for key in queues.values() for identity in _queue_ids(store, key)}
    return ids | set(read_all(store, card_name)["id"])


def _queue_ids(store: Store, key: str) -> list[str]:
    data = store.read(key)
    try:
        if key.endswith(".parquet"):
            return pl.read_parquet(data, columns=["id"])["id"].cast(pl.String).to_list()
        return [raw_cell(row["id"]) for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))]
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StorageError(f"A queue must have ids, got {error!r} ({store.locate(key)}). Restore it.") from error


def card_labels(store: Store, card_name: str | None) -> tuple[str, tuple[str, ...]]:
    """Find a card in the store: its name, and the names of its labels.

    Raises:
        BadInput: there is none of that name, there are several to choose from, or its versions differ in labels.
    """
    keys = [key for key in store.list("cards/") if key.endswith(".yaml")]
    known = sorted({key.split("/")[1] for key in keys})
    if card_name not in known and not (card_name is None and len(known) == 1):
        got = f"'{card_name}'" if card_name else "none"
        there = ", ".join(known) or "no card yet: run ingest first"
        raise BadInput(f"The card must be one that the store holds, got {got} (--card, {store.uri}: {there}).")
    name = require_name("card", card_name or known[0], f"{store.uri}/cards")
    versions = {_label_names(store.read(key), store.locate(key)) for key in keys if key.startswith(f"cards/{name}/")}
    if len({frozenset(version) for version in versions}) > 1:
        listed = " and ".join(sorted("/".join(version) for version in versions))
        raise BadInput(
            f"All versions of a card must have the same labels, got {listed} (card '{name}', {store.uri}). "
            "Give the changed card a new name."
        )
    return name, sorted(versions)[0]


def tally(refusals: Iterable[Refusal]) -> str:
    """Write the reasons with their counts, most frequent first, each with its first row.

    >>> tally([Refusal("a.csv", 7, "x", "empty_text", "the cell 'text' is empty")])
    "empty_text 1 (row 7 of a.csv: the cell 'text' is empty)"
    """
    listed = list(refusals)
    counts = Counter(refusal.reason for refusal in listed)
    first = {refusal.reason: refusal for refusal in reversed(listed)}
    return ", ".join(
        f"{reason} {count:,} (row {first[reason].row:,} of {first[reason].file}: {first[reason].detail})"
        for reason, count in counts.most_common(5)
    )


def _label_names(card: bytes, where: str) -> tuple[str, ...]:
    """Read label names leniently: a card of an older release must not stand in the way of people's answers."""
    try:
        return tuple(str(label["name"]) for label in yaml.safe_load(codecs.read_text(card, where))["labels"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise codecs.unreadable("a card with labels", type(error).__name__, where) from error


def _require_answers(address: str, rows: int, votes: int, refusals: Sequence[Refusal]) -> None:
    most = IngestConfig().max_refused_share
    if len(refusals) > most * (votes + len(refusals)):
        raise BadData(
            f"At most {most:.0%} of the answers must be faulty, got {len(refusals):,} of {votes + len(refusals):,} "
            f"({address}): {tally(refusals)}. Mend these rows; nothing was added."
        )
    if not votes:
        raise BadData(f"A file of answers must hold labels, got {rows:,} rows and no label ({address}). Fill some in.")


def _said(votes: pl.DataFrame) -> Iterator[dict[str, Any]]:
    missing = [pl.lit(None, pl.String).alias(name) for name in SAID if name not in votes.columns]
    return votes.with_columns(missing).select(list(SAID)).iter_rows(named=True)


def _segment(store: Store, key: str, number: int) -> pl.DataFrame:
    lines = codecs.read_lines(store.read(key), store.locate(key), Said)
    rows = [
        (*(line[name] for name in SAID), line["origin"], key, row, number)  # type: ignore[literal-required]
        for row, line in enumerate(lines, start=1)
    ]
    return pl.DataFrame(rows, schema=VOTES, orient="row")


def _read_answers(address: str) -> tuple[pl.DataFrame, list[Refusal]]:
    with sources.fetched(address) as found:
        name, path = found[0]
        if len(found) == 1 and (tasks := _json_list(path)) is not None:
            return _label_studio(name, tasks)
    with sources.opened(address, ["id", "label"], ["annotator"]) as source:
        table, refusals = source.read(filled=["id"])
    return table.with_columns(id=pl.Series(map(raw_cell, table["id"]), dtype=pl.String)), refusals


def _json_list(path: Path) -> list[Any] | None:
    """Return the list that a JSON file holds; None when it is no such file."""
    try:
        with path.open("rb") as file:
            if not file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                return None
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, list) else None


def _label_studio(file: str, tasks: Sequence[Any]) -> tuple[pl.DataFrame, list[Refusal]]:
    """Read Label Studio's export: a task's id from `data.id`, one vote an annotation; rows are tasks."""
    schema = {"file": pl.String, "row": pl.Int64, "id": pl.String, "label": pl.String, "annotator": pl.String}
    votes: list[tuple[str, int, str, str | None, str | None]] = []
    refusals: list[Refusal] = []
    for number, task in enumerate(tasks, start=1):
        try:
            votes += [(file, number, str(task["data"]["id"]), *vote) for vote in _annotations(task)]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            detail = f"a task needs data.id and annotations with one choice each: {error!r}"
            refusals.append(Refusal(file, number, None, "not_a_task", detail))
    return pl.DataFrame(votes, schema=schema, orient="row"), refusals


def _annotations(task: Any) -> list[tuple[str | None, str | None]]:
    """Return (label, annotator) for each annotation that was not cancelled; one empty label when there is none."""
    found: list[tuple[str | None, str | None]] = []
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        choices = {str(choice) for part in annotation["result"] for choice in part.get("value", {}).get("choices", [])}
        if len(choices) > 1:
            raise ValueError(f"{len(choices)} choices in one annotation")
        person = annotation.get("completed_by")
        person = person.get("email") or person.get("id") if isinstance(person, dict) else person
        found.append((next(iter(choices), None), None if person is None else str(person)))
    return found or [(None, None)]
