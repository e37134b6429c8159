"""Write people's labels to a file, and measure the people: `understudy labels export` and `labels people`."""

from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl

from understudy.data import cards
from understudy.errors import BadInput
from understudy.review import export as exports
from understudy.review import guidelines, labels, people, waiting
from understudy.review.people import Person
from understudy.store import layout
from understudy.store.storage import Store, prepare_store
from understudy.text.numbers import clipped, count, figure, is_known, percent, usd

STORE = click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the labels.")
CARD = click.option("--card", metavar="NAME", help="Name of the card; needed when the store holds several.")


@click.command("export")
@click.argument("file")
@STORE
@CARD
@click.option("--all", "is_all", is_flag=True, help="Every line that was ever kept, also what no longer counts.")
def export(file: str, store: str, card: str | None, is_all: bool) -> None:
    """Write all human labels that count to FILE: CSV, JSONL or Parquet, by its ending.

    A row is one person's label of one text: who gave it, when, in how many seconds, by which guideline, and where it
    came from (labels, queue, second_look, settle; file and row of the store). What the review page did not see has no
    time. Training takes the file as --labels; answers to queues have the split train there, for their texts were
    chosen.
    """
    keep = prepare_store(store, must_exist=True)
    name, _ = labels.card_labels(keep, card)
    table = exports.everything(keep, name) if is_all else exports.counting(keep, name)
    data = exports.written(table, file)
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise BadInput(f"Labels must be written where one may write, got {error} (FILE). Mend the path.") from error
    click.echo(f"labels: {count(len(table), 'line' if is_all else 'label')} of the card '{name}' written: {file}")


@click.command("people")
@STORE
@CARD
@click.option("--queue", "is_queued", is_flag=True, help="Queue the texts on which people are even, for one to decide.")
def measure(store: str, card: str | None, is_queued: bool) -> None:
    """Say how far people agree, how right each is where the label is known, and what time and money it took.

    Agreement is Krippendorff's alpha over the texts that several people labelled by the same guideline, before anybody
    looked again. Who is asked about texts with known labels (`understudy review --gold`) is measured by these. Time is
    that of the review page and of Label Studio; it is priced as the card prices an annotator's hour.
    """
    keep = prepare_store(store, must_exist=True)
    name, space = labels.card_labels(keep, card)
    hourly_usd = max(_hourly_usd(keep, key) for key, _ in layout.CARDS.listed(keep, card=name))
    found = people.people(keep, name)
    for person in found:
        click.echo(f"labels: {', '.join(_person(person, hourly_usd))}.")
    hours = sum(person.hours for person in found)
    click.echo(f"labels: {hours:.1f} hours in all, {usd(hours * hourly_usd)} at {usd(hourly_usd)} an hour.")
    agreed = people.agreement(keep, name, space)
    alpha = f", alpha {figure(agreed.alpha.value)}" if is_known(agreed.alpha.value) else ""
    interval = f" ({figure(agreed.alpha.low)} to {figure(agreed.alpha.high)})" if alpha else ""
    click.echo(f"labels: {count(agreed.texts, 'text')} labelled by several people{alpha}{interval}.")
    even = people.even(exports.counting(keep, name), space)
    click.echo(f"labels: {count(len(even), 'text')} on which people are even: these count for nothing.")
    if is_queued and even:
        click.echo(f"labels: {_queued(keep, name, even)}")


def _person(person: Person, hourly_usd: float) -> Iterator[str]:
    yield f"{clipped(person.name) if person.name else 'nobody named'}: {count(person.answers, 'label')}"
    if person.cannot_say:
        yield f"cannot say {person.cannot_say:,} times"
    if person.median_s is not None:
        yield (
            f"{person.hours:.1f} hours ({usd(person.hours * hourly_usd)}) for {count(person.timed, 'answer')}, "
            f"{person.median_s:.0f} seconds at the median"
        )
    if person.right is not None:
        share = f"{percent(person.right.value)} ({percent(person.right.low)} to {percent(person.right.high)})"
        yield f"right on {share} of {count(person.checked, 'text')} with a known label"


def _hourly_usd(store: Store, key: str) -> float:
    return cards.parse(store.read(key), store.locate(key))[0].prices.annotator_usd_per_hour


def _queued(store: Store, name: str, even: list[str]) -> str:
    """Queue texts for somebody to decide, by the guideline of the newest label."""
    known = guidelines.known(store, name)
    given = exports.counting(store, name).filter(pl.col("guideline").is_in(list(known)))["guideline"]
    if not len(given):
        return "nothing queued, for no label says by which guideline of the card it was given."
    table = people.queue_of(store, name, even, known[given[-1]])
    absent = len(even) - len(table)
    missing = f"; {count(absent, 'text')} in no queue of this store, whose words it does not know" if absent else ""
    if not len(table):
        return f"nothing queued{missing}."
    queue = waiting.put_table(store, name, table)
    return f"{count(len(table), 'text')} queued{missing}: understudy review --queue {queue}"
