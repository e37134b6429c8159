"""Check a label design before money is spent, and whether the task needs a student: `understudy design`."""

from collections.abc import Sequence
from pathlib import Path

import click

from understudy.data import cards
from understudy.errors import BadInput
from understudy.reports import design as pages
from understudy.review import labelled
from understudy.runners import design
from understudy.store import codecs
from understudy.store.storage import prepare_store


@click.command("design")
@click.option("--card", "card_address", required=True, metavar="CARD", help="The task card; questions may be open.")
@click.option("--labels", metavar="FILE", help="People's labels: label, id or text, and annotator where known.")
@click.option("--texts", metavar="FILE", help="The labels' texts (id and text), where their own file has none.")
@click.option("--store", metavar="STORE", help="Folder or s3://bucket/prefix with the teacher's answers.")
@click.option("--ask", default=0, type=click.IntRange(min=0), metavar="N", help="Ask the teacher of N labelled texts.")
@click.option("--compare", metavar="FILE", help="What two judges said of the same texts: label, teacher, student.")
@click.option("--out", default="design.html", show_default=True, metavar="PAGE", help="The page; JSON lies beside it.")
def command(
    card_address: str,
    labels: str | None,
    texts: str | None,
    store: str | None,
    ask: int,
    compare: str | None,
    out: str,
) -> None:
    """Check a label design by people's labels, and say whether the task needs a student.

    Without a store nothing is spent and nobody is asked: it shows how far people agree and what they confuse, rules
    that no example shows, examples that contradict a rule, near copies with different labels, and what each weak rule
    is worth. With a store it holds the teacher's answers against people, and --ask buys some, within the card's
    budget. The verdict is "do not fine-tune", "fine-tune", "another teacher first", or how many labels more would say.
    """
    if labels is None and compare is None:
        raise BadInput("A design must be checked by labels, got none. Give --labels FILE, or --compare FILE.")
    if (ask or store) and labels is None:
        raise BadInput("The teacher's answers must be held against people's labels, got none. Give --labels FILE.")
    if ask and store is None:
        raise BadInput("A teacher's answers must have a store that keeps them, got none. Give --store STORE.")
    path = Path(out)
    _require_a_place_of_its_own(path, [card_address, labels, texts, compare])
    card = cards.read(card_address, is_draft=not ask)[0]
    votes = None if labels is None else labelled.read(labels, texts, card)
    compared = None if compare is None else design.read_compared(compare, card)
    keep = None if store is None else prepare_store(store, must_exist=not ask)
    record = design.check(card, votes, compared, keep, ask)
    try:
        path.write_text(pages.page(record), encoding="utf-8")
        path.with_suffix(".json").write_bytes(codecs.as_json(record))
    except OSError as error:
        raise BadInput(f"A page must be written where one may write, got {error} (--out). Mend the path.") from error
    click.echo(pages.summary(record))
    click.echo(f"laid out: {out}")


def _require_a_place_of_its_own(page: Path, inputs: Sequence[str | None]) -> None:
    """Refuse a page whose record would overwrite it, and page or record in the place of a file that is read."""
    record = page.with_suffix(".json")
    if page == record:
        raise BadInput(f"A page must not end in .json, for its record does, got {page} (--out). Name it .html.")
    read = {Path(name).resolve() for name in inputs if name is not None}
    if taken := [path for path in (page, record) if path.resolve() in read]:
        raise BadInput(f"Page and record must not overwrite what is read, got {taken[0]} (--out). Name another page.")
