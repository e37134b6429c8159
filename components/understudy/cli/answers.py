"""Take in answers that were paid for elsewhere: `understudy label --import FILE`, which is `understudy answers`."""

import re
from contextlib import closing

import click

from understudy.data import cards
from understudy.data.sources import local_path
from understudy.errors import BadInput, together
from understudy.store import tombstones
from understudy.store.storage import prepare_store
from understudy.teacher import imports
from understudy.teacher.imports import Imported, Origin
from understudy.teacher.response_log import ResponseLog
from understudy.text.numbers import count, usd

SHOWN = 5  # reasons


@click.command("answers")
@click.option("--import", "file", required=True, metavar="FILE", help="Log of a chat API (JSONL), or a table.")
@click.option("--card", required=True, metavar="FILE", help="The task card: a file or an s3:// address.")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that keeps the answers.")
@click.option("--column", help="Column of the table (CSV, JSONL, Parquet) that holds the judge's labels.")
@click.option("--judge", help="Name of who answered; the column's where none is given.")
@click.option(
    "--usd-per-1000", type=float, metavar="USD", help="What a thousand of the answers cost; unknown where not said."
)
@click.option("--requests", metavar="FILE", help="Input file of the batch whose output FILE is.")
@click.option("--text-pattern", metavar="REGEX", help="Finds the text in a logged message: its first group.")
@click.option("--as-teacher", is_flag=True, help="They are the card's teacher's: these texts are not asked again.")
def command(
    file: str,
    card: str,
    store: str,
    column: str | None,
    judge: str | None,
    usd_per_1000: float | None,
    requests: str | None,
    text_pattern: str | None,
    as_teacher: bool,
) -> None:
    """Take in answers that were paid for elsewhere; `understudy label --import FILE` is this command.

    FILE is a log of requests and answers of OpenAI's chat API, a line each; or the output of its Batch API, beside the
    batch's input (--requests); or, with --column, a table with a column `text` and one a judge. Answers that are no
    label of the card, rows without text and rows that contradict each other are counted and said. Importing a file
    twice adds nothing. What they cost was paid before, and does not count against the card's budget.
    """
    (task, _), keep = together(lambda: cards.read(card), lambda: prepare_store(store))
    if task.context is not None:
        raise BadInput(
            "Answers must be to texts alone, got a card that shows the turns before them (context). Ask the teacher."
        )
    forgotten = tombstones.read(keep)
    if column is None:
        _require_pattern(text_pattern)
        beside = None if requests is None else local_path(requests)
        answers, sha256, refused = imports.from_log(local_path(file), beside, text_pattern, task, forgotten)
    else:
        answers, sha256, refused = imports.from_table(file, column, task, forgotten)
    origin = Origin(judge or column or "", usd_per_1000, as_teacher, sha256)
    with closing(ResponseLog(keep, task.name)) as log:
        done = imports.take_in(answers, task, log, origin)
    done.refused += refused
    done.rows += refused.total()
    _tell(done, origin, task.teacher.model)


def _require_pattern(pattern: str | None) -> None:
    """Refuse a pattern that cannot be read, or has no group."""
    try:
        fault = "" if pattern is None or re.compile(pattern).groups else "it has no group"
    except re.error as error:
        fault = str(error)
    if fault:
        raise BadInput(
            f"--text-pattern must be a regular expression with a group, got {pattern!r} ({fault}). Put the text's "
            "place into brackets, such as 'Text: (.*)'."
        )


def _tell(done: Imported, origin: Origin, model: str) -> None:
    known = origin.usd_per_1000
    price = "their price unknown" if known is None else f"{usd(known)} per 1,000"
    click.echo(
        f"label: {count(done.added, 'answer')} of '{origin.judge}' imported ({price}), {done.known:,} known already, "
        f"of {count(done.rows, 'row')} (SHA-256 {origin.sha256[:12]})."
    )
    if origin.is_teacher:
        click.echo(f"label: these texts are not asked of {model} again while the card's guideline stays as it is.")
    if done.in_other_letters:
        click.echo(f"label: {count(done.in_other_letters, 'label')} not in the card's case or with other blanks.")
    for what, reasons in (("unusable", done.unusable), ("refused", done.refused)):
        if reasons:
            listed = "; ".join(f"{number:,} times: {reason}" for reason, number in reasons.most_common(SHOWN))
            click.echo(f"label: {count(reasons.total(), 'row')} {what}: {listed}.")
