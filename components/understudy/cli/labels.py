"""Take in what people say, measure them, and list what was said by older guidelines: `understudy labels`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import click
import polars as pl

from understudy.cli import labels_people
from understudy.data import cards, sources
from understudy.data.listing import told
from understudy.errors import BadData, together
from understudy.privacy.objects import erase_what_was_asked_meanwhile
from understudy.review import guidelines, labels, outdated, queues, second_look
from understudy.review.outdated import Agreement, Older
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.ingest.reading import read_texts
from understudy.store import layout, tombstones
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.task.sections import ColumnsConfig
from understudy.teacher.response_log import ResponseLog
from understudy.text.numbers import clipped, count, few, figure, is_known, percent

SHOWN = 10  # labels, and people of one, that a listing names


@click.group("labels")
def command() -> None:
    """Take in what people say, measure them, and list what was said by older guidelines."""


command.add_command(labels_people.export)
command.add_command(labels_people.measure)


@command.command("add")
@click.argument("file")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the card.")
@click.option("--card", metavar="NAME", help="Name of the card; needed when the store holds several.")
def add(file: str, store: str, card: str | None) -> None:
    """Put people's answers to a review queue into the store; the next training run takes them in.

    FILE is CSV, JSONL or Parquet with the columns id and label (and annotator and guideline), or Label Studio's JSON
    export. Where a text may have several labels, they stand in one cell with ; between them or as a JSON list; [] says
    it has none.
    """
    done = labels.add(prepare_store(store, must_exist=True), file, card)
    click.echo(f"labels: {count(done.labels, 'label')}, {_where(done)}; {count(done.skipped, 'row')} without a label.")
    if done.in_other_letters:
        click.echo(f"labels: {labels.told_letters(done.in_other_letters)}.")
    if done.held_out:
        click.echo(
            f"labels: {count(done.held_out, 'label')} not taken, of texts that measure the model: samples, test sets "
            "and the test split never teach. Give answers to a sample to the quality run."
        )
    if done.strange_ids:
        click.echo(
            f"labels: {done.strange_ids:,} of {done.ids:,} ids are in no queue of this store; "
            "they count only if a later run's texts hold them."
        )
    if done.unknown_guideline:
        click.echo(
            f"labels: {count(done.unknown_guideline, 'label')} by no known guideline: the card has had several, and "
            "neither a column 'guideline' nor a queue of these ids says which."
        )
    if done.strange_guidelines:
        click.echo(
            f"labels: {few(done.strange_guidelines)}: the guideline of no version of the card in this store, and of no "
            "queue; labels by it count as old."
        )
    if done.passed_over:
        click.echo(f"labels: {told(done.passed_over)}.")
    if done.refusals:
        click.echo(f"labels: {count(len(done.refusals), 'row')} refused: {labels.tally(done.refusals)}.")


def _where(done: labels.Added) -> str:
    """Say what became of the labels of a file."""
    if done.keys:
        new = "" if done.new == done.labels else f", {done.new:,} of them new to it"
        return f"added to the card '{done.card_name}'{new}"
    return "nothing added" + (": the store holds just these already" if done.labels else "")


@dataclass(frozen=True, slots=True)
class Found:
    """A card, its store, what the store holds of it, and the labels that are by older guidelines."""

    card: Card
    store: Store
    votes: pl.DataFrame
    older: Sequence[Older]

    @property
    def guideline(self) -> str:
        """Hash of the card's."""
        return Guideline.of(self.card).hash

    @property
    def space(self) -> LabelSpace:
        """The card's labels."""
        return LabelSpace.of(self.card)


@command.command("outdated")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the labels.")
@click.option("--card", required=True, metavar="FILE", help="The task card as it is now: a file or an s3:// address.")
@click.option("--queue", "texts", metavar="TEXTS", help="Queue them for a second look; TEXTS holds their texts.")
@click.option("--all", "is_all", is_flag=True, help="Queue also labels that the change is not about by its words.")
def list_outdated(store: str, card: str, texts: str | None, is_all: bool) -> None:
    """List the labels of the store that were given by other guidelines than the card's.

    A guideline is the card's question, decision rules and labels with their definitions and examples. For each older
    one there is said what has changed since, how many labels count that were given by it, by label and person, which of
    them the change may touch, and how far people, and the teacher, agree where they answered by both.

    A changed rule may touch every label; so may a label that is new. A changed definition or example is about texts of
    its own label; whether it is meant to reach texts of other labels is not in the words: --all queues these too.
    """
    (task, text), keep = together(lambda: cards.read(card), lambda: prepare_store(store, must_exist=True))
    labels.require_held(keep, task.name)
    labels.require_same_kind(keep, task)
    known, now = guidelines.known(keep, task.name), Guideline.of(task)
    votes = guidelines.by_only(labels.read_all(keep, task.name), known)
    found = outdated.older(votes, known, now, LabelSpace.of(task))
    given = Found(task, keep, votes, found)
    for line in _listing(given):
        click.echo(f"labels: {line}")
    if texts is not None:
        keep.put_if_absent(layout.CARDS.key(card=task.name, name=task.hash), text.encode())  # what people are asked by
        click.echo(f"labels: {_queued(given, texts, is_all=is_all)}")


def _listing(found: Found) -> Iterator[str]:
    by_now = labels.current(found.votes, "guideline").filter(pl.col("guideline") == found.guideline)
    yield f"{count(len(by_now), 'label')} by the card's guideline, {found.guideline}."
    if not found.older:
        yield "none by another one."
    for older in found.older:
        yield from _older(older, found.space)
    if any(len(older.touched) for older in found.older):
        yield "--queue TEXTS queues those that may be touched for a second look."
    for guideline, texts in outdated.hidden(found.votes, found.guideline):
        yield (
            f"{count(texts, 'text')} also labelled by {clipped(guideline)}, which came later than the card's: by this "
            "card those labels do not count. Name the newer card, if that is the one in force."
        )
    for guideline in found.votes["guideline"].drop_nulls().unique(maintain_order=True):
        if guideline != found.guideline:
            both = outdated.by_people(found.votes, guideline, found.guideline, found.space)
            yield from _agreement("people", guideline, both)
    yield from _teachers(found)


def _older(older: Older, space: LabelSpace) -> Iterator[str]:
    """Say how many labels a guideline has, what changed since, and what that may touch."""
    name = "of which nobody says the guideline" if older.guideline is None else f"by {clipped(older.guideline)}"
    yield f"{count(len(older.votes), 'label')} {name}: {_tally(older.votes, space)}."
    yield from (f"  since then {sentence}" for sentence in (older.change.sentences if older.change else ()))
    if older.change is None:
        yield "  what it said is not known to this store, so any of them may be touched."
    elif older.change.is_general:
        yield "  that may touch all of them."
    else:
        rest = len(older.votes) - len(older.touched)
        yield (
            f"  by its words that is about {count(len(older.touched), 'label')}; the other {rest:,} it touches only if "
            "it is meant to reach texts of other labels (--all)."
        )


def _tally(votes: pl.DataFrame, space: LabelSpace) -> str:
    """Count labels, the most frequent first, each with who gave it: "tip 40 (ann 30, nobody named 10)"."""
    named = [
        (name, person)
        for label, person in votes.select("label", "annotator").iter_rows()
        for name in space.names_in(label) or [space.words(label)]
    ]
    counts = Counter(name for name, _ in named).most_common()
    people = {name: Counter(person for given, person in named if given == name) for name, _ in counts[:SHOWN]}
    said = [f"'{clipped(name)}' {times:,}{_people(people[name])}" for name, times in counts[:SHOWN]]
    more = len(counts) - SHOWN
    return ", ".join([*said, *([f"{more:,} more"] if more > 0 else [])])


def _people(counts: Counter[str | None]) -> str:
    """Say who gave a label how often; nothing where nobody is named."""
    if counts.keys() == {None}:
        return ""
    said = [f"{clipped(who) if who else 'nobody named'} {times:,}" for who, times in counts.most_common(SHOWN)]
    more = len(counts) - SHOWN
    return f" ({', '.join([*said, *([f'{more:,} more'] if more > 0 else [])])})"


def _teachers(found: Found) -> Iterator[str]:
    """Say how far each teacher agrees with itself under the card's guideline and each other."""
    if not found.store.list(layout.JUDGEMENTS.prefix(card=found.card.name)):
        return
    with closing(ResponseLog(found.store, found.card.name, is_dry_run=True)) as log:
        said = log.labels_by_guideline()
    for (model, guideline), old in said.items():
        now = said.get((model, found.guideline))
        if not guideline:
            yield f"{count(len(old), 'answer')} of the teacher {clipped(model)} by no known guideline."
        elif now is not None and guideline != found.guideline:
            both = outdated.agreement(old, now, found.space)
            yield from _agreement(f"the teacher {clipped(model)}", guideline, both)


def _agreement(who: str, guideline: str, both: Agreement | None) -> Iterator[str]:
    if both is None:
        return
    kappa = "kappa undefined, for they had one label before (--all looks at texts of the others too)"
    if is_known(both.kappa.value):
        kappa = f"kappa {figure(both.kappa.value)} ({figure(both.kappa.low)} to {figure(both.kappa.high)})"
    yield (
        f"{who} labelled {count(both.texts, 'text')} by {clipped(guideline)} and by the card's: the same label for "
        f"{percent(both.same.value)} ({percent(both.same.low)} to {percent(both.same.high)}), {kappa}."
    )


def _queued(found: Found, address: str, *, is_all: bool) -> str:
    """Put the queue of a second look into the store, and say what is in it."""
    settings = found.card.settings()
    columns = found.card.context.columns if found.card.context else []
    called = settings.of(ColumnsConfig).called
    with sources.opened(address, ["id", "text", *columns], ["group"], makes_ids=True, called=called) as source:
        read = read_texts(source, found.card, settings.of(IngestConfig), tombstones.read(found.store))
    chosen = second_look.choose(found.older, read.texts.kept, found.card, is_all=is_all)
    absent = f"; {count(chosen.absent, 'text')} of labels that wait stand not in it" if chosen.absent else ""
    if chosen.absent and not len(chosen.queue):
        raise BadData(
            f"A file of texts must hold texts whose labels wait, got none of {count(chosen.absent, 'text')} "
            f"({address}, --queue). Name the file that the labels were made for."
        )
    if not len(chosen.queue):
        return f"nothing to queue{absent} ({address})."
    name, files = second_look.files(chosen.queue, found.card)
    keys = queues.put(found.store, found.card.name, name, files)
    gone = erase_what_was_asked_meanwhile(found.store, keys.values(), chosen.queue)
    where = found.store.locate(layout.QUEUE_TABLES.prefix(card=found.card.name, queue=name))
    return (
        f"{count(len(chosen.queue) - len(gone.ids), 'text')} queued for a second look{absent}: "
        f"{where} (queue.csv, label-studio.json). Give the answers to `understudy labels add`."
    )
