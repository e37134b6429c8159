"""Write and check task cards: `understudy card`."""

import csv
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from understudy.cli import columns

if TYPE_CHECKING:
    from understudy.data.profile import Profile
    from understudy.task.template import Draft


@click.group("card")
def command() -> None:
    """Write and check task cards."""


@command.command("check")
@click.argument("card")
def check(card: str) -> None:
    """Report every fault of a card at once, each with its line, and what of its student does not fit.

    CARD is a file, a snapshot folder, or an s3:// address.
    """
    from understudy.data import cards
    from understudy.model import hub
    from understudy.model.architectures import told_language
    from understudy.steps.ingest.config import IngestConfig

    loaded, _ = cards.read(card)
    click.echo(f"{card}: the card '{loaded.name}' is sound (hash {loaded.hash[:12]}).")
    language = loaded.settings().of(IngestConfig).language
    for note in filter(None, [told_language(loaded.student, language), hub.told_missing(loaded.student)]):
        click.echo(f"student: {note}")


@command.command("new")
@click.option("--name", metavar="NAME", help="Name of the task: a-z, 0-9 and -.  [default: my-task, or the file's]")
@click.option("--labels", metavar="A,B,C", help='Labels in place of the example\'s; "a name, with a comma" in quotes.')
@click.option("--from", "address", metavar="FILE", help="File of texts, with or without labels, to begin from.")
@columns.with_options
def new(name: str | None, labels: str | None, address: str | None, **own: str | None) -> None:
    """Print a commented card to start from.

    With --from the card holds what the file tells: its columns, labels and language; what was seen stands at its head.
    What the file does not tell is a question, TODO, and no command takes the card before it is answered.
    """
    from understudy.task.template import drafted_card, new_card

    called = {role: own[f"{role}_column"] for role in columns.NAMES}
    named = _names_in(labels) if labels else []
    if address is None:
        if unused := next((role for role, column in called.items() if column), None):
            raise click.UsageError(f"--{unused}-column says what a file calls a column: name the file by --from.")
        click.echo(new_card(name or "my-task", named), nl=False)
        return
    from understudy.data import profile
    from understudy.model.architectures import told_language
    from understudy.task.card import Card

    found = profile.look(address, {role: column for role, column in called.items() if column})
    if note := told_language(Card.model_fields["student"].default, found.language or "en"):
        found = replace(found, seen=(*found.seen, f"student: {note}"))
    if name is None:
        name = _name_of(address)
        chosen = f"name: {name}, after the file; choose another now (--name): later, all is kept under it"
        found = replace(found, seen=(*found.seen, chosen))
    card = drafted_card(name, _draft(found, named, address))
    click.echo(card, nl=False)
    _say(found, card, address)


def _names_in(labels: str) -> list[str]:
    """Part the names of --labels."""
    try:
        (names,) = csv.reader([labels], skipinitialspace=True)
    except (csv.Error, ValueError) as error:
        raise click.UsageError(f"--labels must be names on one line with commas between them, got {error}.") from error
    return [name.strip() for name in names]


def _draft(found: "Profile", named: list[str], address: str) -> "Draft":
    """Make of what a file seems to hold what a card says."""
    from understudy.task.template import Draft

    labels = named or sorted(found.labels, key=lambda label: -found.labels[label])
    called = {role: column.own for role, column in found.columns.items() if column.own != role}
    looked = f"What stands in {address.rstrip('/').rpartition('/')[2]}, as `understudy card new --from` read it:"
    lines = [looked, *(f"  {line}" for line in found.seen), *(f"  TODO: {line}" for line in found.questions)]
    return Draft(labels, found.is_many, called, found.language, lines, "--labels" if named else address)


def _name_of(address: str) -> str:
    """Make a task's name of a file's."""
    stem = re.sub(r"[^a-z0-9]+", "-", address.rstrip("/").rpartition("/")[2].partition(".")[0].lower()).strip("-")
    return stem[:63].strip("-") or "my-task"


def _say(found: "Profile", card: str, address: str) -> None:
    """Say beside the card, which may have been redirected, what was seen and what comes next."""
    from understudy.task.card import QUESTION

    asked = card.count(f'"{QUESTION}')
    for line in [*found.seen, *found.questions]:
        click.echo(line, err=True)
    labelled = f" --labels {shlex.quote(address)}" if "label" in found.columns else " --labels LABELS"
    click.echo(
        f"{asked} questions are left in the card, each marked {QUESTION} Answer them, then see what a training costs:\n"
        f"  understudy run training --dry-run --card CARD --texts {shlex.quote(address)}{labelled} --store STORE",
        err=True,
    )
