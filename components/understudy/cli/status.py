"""Say where a learning loop stands: `understudy status`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from understudy.data import cards
from understudy.errors import BadInput
from understudy.reports import loop
from understudy.review import labels, standing, waiting
from understudy.review.desk import Desk
from understudy.review.journal import Journal
from understudy.steps.mine.forecast import review_s
from understudy.store import cycles, layout, registry, runs
from understudy.store.storage import Store, open_store
from understudy.task.card import Card
from understudy.teacher.access import who
from understudy.teacher.response_log import ResponseLog
from understudy.text.numbers import count, usd


@click.command("status")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix of the loop.")
@click.option("--card", metavar="NAME", help="Name of the card; needed when the store holds several.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Write the page with the curve too.")
def command(store: str, card: str | None, page: Path | None) -> None:
    """Say where a learning loop stands: cycles, what waits for whom, dollars and hours so far, and whether to go on.

    Whether to go on is measured on the validation split alone. Nothing is written but the page.
    """
    opened = open_store(store)
    task = newest_card(opened, card)
    label_usd = review_s(labels.seconds_measured(opened, task.name))[0] / 3600 * task.prices.annotator_usd_per_hour
    stands = standing.read(opened, task, label_usd)
    recorded = cycles.read_all(opened, task.name)
    for line in [*_cycle_lines(opened, recorded), *_waiting(opened, task), *_spent(opened, task)]:
        click.echo(line)
    for line in [] if stands is None else stands.lines():
        click.echo(line)
    if page is not None and stands is not None:
        page.write_text(loop.page(task.name, stands.as_record(), recorded), encoding="utf-8")
        click.echo(f"page: {page}")


def newest_card(store: Store, name: str | None) -> Card:
    """Read the card by which the newest training of a task ran.

    Args:
        store: of the loop.
        name: of the card; None for the only one that the store holds.

    Raises:
        BadInput: no training of it was begun with this store.
    """
    card_name, _ = labels.card_labels(store, name)
    trainings = [
        it for it in runs.read_all(store) if (it.started["pipeline"], it.started["card"]) == ("training", card_name)
    ]
    for told in trainings:
        key = layout.CARDS.key(card=card_name, name=told.started["card_hash"])
        if (found := store.read_tagged(key)) is not None:
            return cards.parse(found.data, store.locate(key))[0]
    raise BadInput(
        f"A loop must have a training run that got past ingest, got none of the card '{card_name}' ({store.uri}). "
        "Start one with `understudy run training` or `understudy submit`."
    )


def _cycle_lines(store: Store, recorded: list[cycles.Cycle]) -> Iterator[str]:
    current = registry.read_current(store)
    serving = f"{current.version} serves" if current else "no version serves"
    if not recorded:
        yield f"cycle: none has ended; {serving}"
        return
    newest = recorded[-1]
    taught = f"taught by {count(newest.taught_by_people, 'label')} of people"
    rehearsed = ", a rehearsal" if newest.is_rehearsal else ""
    decided = newest.decision or "nobody has decided"
    yield f"cycle: {len(recorded)} ended, the last on {newest.recorded} ({taught}; {decided}{rehearsed}); {serving}"


def _waiting(store: Store, card: Card) -> Iterator[str]:
    """Say what waits for people, as the review page counts it, and what for a run."""
    found = waiting.read_all(store, card.name)
    queues = [(queue, Desk(queue, Journal(store, card.name, queue)).texts_left()) for queue in found]
    for queue, left in queues:
        if left:
            family = layout.SAMPLE_TABLES if queue.origin == waiting.SAMPLE else layout.QUEUE_TABLES
            where = store.locate(family.prefix(card=card.name, queue=queue.name, day=queue.name)).rstrip("/")
            yield f"people: {count(left, 'text')} of the queue {queue.name} to label: {queue.kind} ({where}/queue.csv)"
    under_way = [told for told in runs.read_all(store) if told.started["card"] == card.name and not told.ended]
    for told in under_way:
        yield f"run: {told.name} ({told.started['pipeline']}) {told.outcome} on {told.started['started']}, not ended"
    if not under_way and not any(left for queue, left in queues if queue.origin != waiting.SAMPLE):
        yield "people: nothing to label; the next training run takes in what they have said"


def _spent(store: Store, card: Card) -> Iterator[str]:
    """Say what the card's models and people have taken so far, bought and rehearsed answers apart."""
    with closing(ResponseLog(store, card.name, is_dry_run=True)) as log:
        spent = {
            role: [log.spent_usd(is_rehearsal=is_so, role=role) for is_so in (False, True)]
            for role in ("", *(each.role for each in card.roles()))
        }
    for role, (bought, rehearsed) in spent.items():
        paid = f"{usd(bought)} of {usd(card.acting(role).budget.teacher_usd)}"
        yield f"{who(role)}: {paid}{f'; {usd(rehearsed)} in rehearsals, at its prices' if rehearsed else ''}"
    given = labels.read_all(store, card.name)["id"].n_unique()
    seconds = labels.seconds_measured(store, card.name)
    hours = sum(seconds) / 3600
    priced = usd(hours * card.prices.annotator_usd_per_hour)
    timed = (
        f"; {hours:,.1f} hours measured of {count(len(seconds), 'answer')}, {priced}"
        if seconds
        else "; no hours measured"
    )
    yield f"labels: {given:,} of {count(card.budget.human_labels, 'text')} that people may label{timed}"
