"""Check a card's teacher before a run: `understudy teacher check`."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from tempfile import TemporaryDirectory

import click
import polars as pl

from understudy.cli import columns
from understudy.data import cards, forgetting, profile, sources
from understudy.data.rows import Refusal
from understudy.errors import BadData
from understudy.progress import say
from understudy.store import tombstones
from understudy.store.storage import Store, open_store, prepare_store
from understudy.task.sections import TeacherConfig
from understudy.teacher import check as checks
from understudy.teacher.labeller import Teacher, open_teacher
from understudy.text.numbers import count

LOOKED_AT = 1_000  # rows of a file, to find texts that the store has no answer to


@click.group("teacher")
def command() -> None:
    """Check the LLM that labels."""


@command.command("check")
@click.option("--card", "card_address", required=True, metavar="CARD", help="Card: a file, folder or s3:// address.")
@click.option("--texts", "address", metavar="FILE", help="File of texts.  [default: the card's examples]")
@click.option("--store", help="Store that keeps the answers, so that no run pays for them again.")
@columns.with_options
def check(card_address: str, address: str | None, store: str | None, **own: str | None) -> None:
    """Ask the teacher about five texts, and say what its server can do, what a text costs, and what that means.

    The answers are paid for like all others, within the card's budget; with --store they are kept, and what was spent
    there counts. Without it they are gone afterwards.
    """
    card, _ = cards.read(card_address)
    config = card.settings().of(TeacherConfig)
    texts = _texts(address, own) if address else pl.DataFrame({"text": checks.texts_of(card)})
    with _store(store) as keep, open_teacher(card, keep, checks.one_by_one(config)) as teacher:
        texts = _remembered(texts, keep)
        asked = _unanswered(teacher, texts)
        say(checks.announce(card, teacher, teacher.estimate(asked)))
        checked = checks.ask(teacher, asked, config)
    for line in checks.sentences(checked):
        click.echo(line)


@contextmanager
def _store(address: str | None) -> Iterator[Store]:
    """Open the store that is named, or one that is gone afterwards."""
    if address is not None:
        yield prepare_store(address)
        return
    with TemporaryDirectory(prefix="understudy-") as folder:
        yield open_store(folder)


def _texts(address: str, own: dict[str, str | None]) -> pl.DataFrame:
    """Read the first texts of a file: columns text, and id and group where it has them."""
    called = {role: column for role in columns.NAMES if (column := own[f"{role}_column"])}
    found = profile.look(address, called)
    known = {role: found.columns[role].own for role in ("text", "id", "group") if role in found.columns}
    with sources.opened(address, ["text"], ["id", "group"], called=known) as source:
        rows = islice(source.rows(["text"]), LOOKED_AT)
        cells = [{name: row.cells.get(name) for name in source.columns} for row in rows if not isinstance(row, Refusal)]
        return pl.DataFrame(cells, schema=dict.fromkeys(source.columns, pl.String))


def _remembered(texts: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Return the texts that nobody asked to forget, each once, and say how many the others are."""
    is_gone = forgetting.is_forgotten(texts, tombstones.read(store))
    if is_gone.any():
        say(f"teacher check: {count(int(is_gone.sum()), 'text')} left out: {forgetting.REASON}.")
    return texts.filter(~is_gone).unique("text", keep="first", maintain_order=True)


def _unanswered(teacher: Teacher, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the first few texts that the store has no answer to."""
    names = pl.Series("id", [f"t{number:04}" for number in range(len(texts))], dtype=pl.String)
    table = texts.select(names, "text", weight=pl.lit(1.0))
    known = teacher.stored(table).table if len(table) else table
    left = table.join(known, on="id", how="anti", maintain_order="left").head(checks.TEXTS)
    if not len(left):
        raise BadData(
            f"There must be a text that the store has no answer to, got {len(texts):,} answered (--texts). "
            "Bring others."
        )
    return left
