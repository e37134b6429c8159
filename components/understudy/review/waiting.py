"""Find the queues that wait for people: their texts, by which guideline to label them, and what the answers become."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from understudy.data import cards
from understudy.errors import BadInput
from understudy.review import asked, firewall, guidelines, origins, queues, samples
from understudy.review.firewall import HeldOut
from understudy.store import codecs, hashing, layout, names, tombstones
from understudy.store.storage import Store, split_uri
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.text.context import BETWEEN_TURNS, COLUMN
from understudy.text.numbers import clipped, count

SAMPLE = "sample"
MINED, SECOND_LOOK, SETTLE, SLICES = "disagreements", "second look", "open slices", "biased slices"
NEEDED = ("id", "group", "text", "guideline")
QUEUE_FILE = queues.TABLE


@dataclass(frozen=True, slots=True)
class Text:
    """A text that waits.

    Attributes:
        id: its own.
        group: the review, thread or dialogue that it is of.
        text: what is to be labelled.
        context: the turns before it, oldest first.
        teacher_label: as every table has it; None where the teacher was not asked.
        teacher_probability: of that label, where it is known.
    """

    id: str
    group: str
    text: str
    context: tuple[str, ...] = ()
    teacher_label: str | None = None
    teacher_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A text whose label is known, which measures the people who are asked about it."""

    text: Text
    label: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that people answer.

    Attributes:
        name: in the store; of a sample its day.
        kind: why its texts were chosen, in words.
        origin: that answers get; `SAMPLE` for those that measure and never teach.
        guideline: by which the texts are to be labelled.
        texts: in the queue's order, without those that must not teach.
        held_out: how many of those there were.
        put: when the queue came into the store, in ISO 8601; empty where an older release put it.
    """

    name: str
    kind: str
    origin: str
    guideline: Guideline
    texts: tuple[Text, ...]
    held_out: int = 0
    put: str = ""


def read_all(store: Store, card_name: str) -> list[Queue]:
    """Read the card's queues in the store and the newest sample, those that were put last first.

    A queue that says nothing of its guideline, or whose guideline is of no card in the store, is none of them: nobody
    could be shown the rules.

    Raises:
        BadArtifact: something in the store is damaged.
    """
    known, held_out = guidelines.known(store, card_name), firewall.read(store, card_name)
    tables = queues.tables_of(store, card_name)
    found = [_queue(store, card_name, name, table, known, held_out) for name, table in tables]
    found += [_sample(store, day, card_name, known) for day in samples.days(store, names.night_of(""))[-1:]]
    there = [queue for queue in found if queue is not None]
    return sorted(there, key=lambda queue: (queue.put, queue.name), reverse=True)


def _queue(
    store: Store, card_name: str, name: str, table: pl.DataFrame, known: Mapping[str, Guideline], held_out: HeldOut
) -> Queue | None:
    guideline = _guideline(table, known)
    if guideline is None:
        return None
    record = layout.file_key(layout.QUEUE, queues.RECORD, card=card_name, queue=name)
    about = store.read_tagged(record)
    put = codecs.read_mapping(about.data, store.locate(record)).get(queues.PUT, "") if about else ""
    stays = table.filter(~held_out.measures(table))
    return Queue(
        name=name,
        kind=kind_of(table),
        origin=asked.origin_of(table),
        guideline=guideline,
        texts=_texts(tombstones.read(store).without(stays)),
        held_out=len(table) - len(stays),
        put=str(put),
    )


def _guideline(table: pl.DataFrame, known: Mapping[str, Guideline]) -> Guideline | None:
    """Return the only guideline that a queue asks by, if the store knows it."""
    if not set(NEEDED) <= set(table.columns):
        return None
    said = table["guideline"].drop_nulls().unique().to_list()
    return known.get(said[0]) if len(said) == 1 else None


def _sample(store: Store, day: str, card_name: str, known: Mapping[str, Guideline]) -> Queue | None:
    about = samples.read_about(store, day) or {}
    guideline = known.get(about.get("guideline", ""))
    if guideline is None or about.get("card", card_name) != card_name:
        return None
    table = tombstones.read(store).without(samples.read_sample(store, day))
    texts = _texts(table.with_columns(teacher_probability=pl.lit(None, pl.Float64)))
    return Queue(day, "the week's sample", SAMPLE, guideline, texts, put=day)


def kind_of(table: pl.DataFrame) -> str:
    """Say in words why the texts of a queue were chosen, which its columns tell."""
    marks = (("earlier_guideline", SECOND_LOOK), (origins.SETTLE, SETTLE), ("slice", SLICES))
    return next((kind for column, kind in marks if column in table.columns), MINED)


def _texts(table: pl.DataFrame) -> tuple[Text, ...]:
    return tuple(
        Text(
            id=row["id"],
            group=row["group"],
            text=row["text"],
            context=tuple(filter(None, (row.get(COLUMN) or "").split(BETWEEN_TURNS))),
            teacher_label=row.get("teacher_label"),
            teacher_probability=row.get("teacher_probability"),
        )
        for row in table.iter_rows(named=True)
    )


def put_artifact(store: Store, card_name: str, address: str) -> str:
    """Put a queue that a step left in its artifact into the store, with a sheet and tasks for other tools.

    Args:
        store: takes it; it holds the card by whose guideline the queue asks.
        card_name: the card.
        address: the folder that holds queue.parquet, or that file; here or on S3.

    Returns:
        the queue's name, which its content decides.

    Raises:
        BadInput: there is no such queue, it holds no text, or the store has no card with its guideline.
    """
    address = address.rstrip("/")
    file = address if address.endswith(".parquet") else f"{address}/{QUEUE_FILE}"
    place, key = split_uri(file, "--queue")
    table = codecs.read_table(place.read(key), place.locate(key))
    if set(NEEDED) <= set(table.columns):
        table = tombstones.read(store).without(table)
    if not set(NEEDED) <= set(table.columns) or not len(table):
        raise BadInput(
            f"A queue must hold texts with {', '.join(NEEDED)}, got {count(len(table), 'row')} with "
            f"{', '.join(table.columns)} ({file}). Name a queue of mine or audit that has texts."
        )
    return put_table(store, card_name, table)


def put_table(store: Store, card_name: str, table: pl.DataFrame) -> str:
    """Put texts into the store as a queue, with a sheet and tasks for other tools, and return its name.

    Args:
        store: takes it; it holds the card by whose guideline the queue asks.
        card_name: the card.
        table: columns `NEEDED`, and those that say what answers become (`asked.origin_of`).

    Raises:
        BadInput: the store has no card with the guideline.
    """
    card = _card_by(store, card_name, str(table["guideline"][0]))
    kind = kind_of(table).replace(" ", "-")
    name = f"{kind}-{hashing.hash_json(table.drop('turn_hashes', strict=False).to_dicts())[:12]}"
    about: dict[str, Any] = {"format": 1, "queue": name, "card": card.name, "guideline": Guideline.of(card).hash}
    record = codecs.as_json({**about, "queued": len(table)})
    bare = queues.bare_files(table, card, has_context=COLUMN in table.columns)
    queues.put(store, card_name, name, {QUEUE_FILE: codecs.as_parquet(table), **bare, queues.RECORD: record})
    return name


def _card_by(store: Store, card_name: str, guideline: str) -> Card:
    """Read a version of the card that has a guideline."""
    for key, _ in layout.CARDS.listed(store, card=card_name):
        card = cards.parse(store.read(key), store.locate(key))[0]
        if Guideline.of(card).hash == guideline:
            return card
    raise BadInput(
        f"The store must hold the card by whose guideline a queue asks, got none with {clipped(guideline)} "
        f"('{card_name}', {store.uri}). Name the store of the run that made the queue."
    )


def choose(found: Sequence[Queue], name: str | None, left: Callable[[Queue], int]) -> Queue:
    """Choose the queue that is served: the one that is named, else the newest of mine with texts that wait.

    Args:
        found: the newest first.
        name: of a queue, or `SAMPLE` for the newest sample; None where nobody names one.
        left: counts the texts of a queue that wait.

    Raises:
        BadInput: there is none.
    """
    if name is None:
        fitting = (queue for queue in found if queue.kind == MINED and left(queue))
    else:
        fitting = (queue for queue in found if queue.name == name or (name == SAMPLE and queue.origin == SAMPLE))
    if (chosen := next(fitting, None)) is not None:
        return chosen
    listed = "; ".join(f"{queue.name} ({queue.kind}, {left(queue):,} wait)" for queue in found)
    what = "no queue of this name" if name else "no queue of mine with texts that wait"
    raise BadInput(f"A queue must wait for people, got {what} (--queue; there are: {listed or 'none'}). Name one.")
