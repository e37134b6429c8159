"""Write and check task cards: `understudy card`."""

import csv

import click


@click.group("card")
def command() -> None:
    """Write and check task cards."""


@command.command("check")
@click.argument("card")
def check(card: str) -> None:
    """Report every fault of a card at once, each with its line.

    CARD is a file, a snapshot folder, or an s3:// address.
    """
    from understudy.data import cards

    loaded, _ = cards.read(card)
    click.echo(f"{card}: the card '{loaded.name}' is sound (hash {loaded.hash[:12]}).")


@command.command("new")
@click.option("--name", default="my-task", show_default=True, help="Name of the task: a-z, 0-9 and -.")
@click.option("--labels", metavar="A,B,C", help='Labels in place of the example\'s; "a name, with a comma" in quotes.')
def new(name: str, labels: str | None) -> None:
    """Print a commented card to start from."""
    from understudy.task.template import new_card

    named = next(csv.reader([labels], skipinitialspace=True)) if labels else []
    click.echo(new_card(name, [label.strip() for label in named]), nl=False)
