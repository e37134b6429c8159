"""Help to read texts before the labels are fixed: `understudy read`."""

from itertools import islice
from pathlib import Path

import click

from understudy.cli import columns
from understudy.data import cards, profile, sources
from understudy.data.rows import Refusal
from understudy.errors import BadData, BadInput
from understudy.reports import reading as pages
from understudy.review import reading
from understudy.review.labels import tally
from understudy.task.card import Card
from understudy.text.numbers import count


@click.command("read")
@click.option("--texts", "address", required=True, metavar="FILE", help="File or folder of texts, or s3://bucket/key.")
@click.option(
    "--card", "card_address", metavar="CARD", help="A draft, whose weak rules are tried; questions may be open."
)
@click.option("--out", default="reading.html", show_default=True, metavar="PAGE", help="Where the page is written.")
@columns.with_options
def command(address: str, card_address: str | None, out: str, **own: str | None) -> None:
    """Write a page that helps to read texts before their labels are fixed.

    It shows what kinds of texts there are with their words, a sample of texts that differ, pairs that are nearly the
    same, and what a draft card's weak rules catch.
    """
    card = cards.read(card_address, is_draft=True)[0] if card_address else None
    named = {role: column for role in columns.NAMES if (column := own[f"{role}_column"])}
    found = profile.look(address, _called(card) | named)
    with sources.opened(address, ["text"], called={"text": found.columns["text"].own}) as source:
        rows = islice(source.rows(["text"]), profile.MOST_ROWS)
        found_rows = list(rows)
    read = [str(row.cells["text"]) for row in found_rows if not isinstance(row, Refusal)]
    unread = [row for row in found_rows if isinstance(row, Refusal)]
    texts = reading.draw(read)
    if len(texts) < reading.FEWEST_READ:
        raise BadData(
            f"There must be at least {reading.FEWEST_READ} texts that differ, got {count(len(texts), 'text')} "
            f"({address}). Bring more."
        )
    record = reading.read(texts, card.weak_rules if card else (), found.language)
    _write(Path(out), pages.page(record, address, found.seen, len(read)))
    click.echo(f"{count(len(texts), 'text')} of {count(len(found_rows), 'row')} laid out: {out}")
    if unread:
        click.echo(f"{count(len(unread), 'row')} cannot be read: {tally(unread)}.")
    if len(texts) < len(read):
        left_out = count(len(read) - len(texts), "text")
        click.echo(f"{left_out} left out: copies, and some of more than {reading.MOST_READ:,}, by lot.")


def _called(card: Card | None) -> dict[str, str]:
    """Return what the card says of the column of texts; of a card that says nothing, nothing."""
    written = card.section("columns") if card else {}
    return {"text": str(written["text"])} if "text" in written else {}


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"A page must be written where one may write, got {error} (--out). Mend the path.") from error
