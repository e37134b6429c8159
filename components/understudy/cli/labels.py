"""Take in what people say: `understudy labels`."""

import click

from understudy.data.listing import told
from understudy.review import labels
from understudy.store.storage import prepare_store


@click.group("labels")
def command() -> None:
    """Take in what people say."""


@command.command("add")
@click.argument("file")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the card.")
@click.option("--card", metavar="NAME", help="Name of the card; needed when the store holds several.")
def add(file: str, store: str, card: str | None) -> None:
    """Put people's answers to a review queue into the store; the next training run takes them in.

    FILE is CSV, JSONL or Parquet with the columns id and label (and annotator), or Label Studio's JSON export. Where a
    text may have several labels, they stand in one cell with ; between them or as a JSON list; [] says it has none.
    """
    done = labels.add(prepare_store(store, must_exist=True), file, card)
    where = f"added to the card '{done.card_name}'" if done.key else "nothing added: the store holds just these already"
    click.echo(f"labels: {done.labels:,} labels, {where}; {done.skipped:,} rows without a label.")
    if done.in_other_letters:
        click.echo(f"labels: {labels.told_letters(done.in_other_letters)}.")
    if done.strange_ids:
        click.echo(
            f"labels: {done.strange_ids:,} of {done.ids:,} ids are in no queue of this store; "
            "they count only if a later run's texts hold them."
        )
    if done.passed_over:
        click.echo(f"labels: {told(done.passed_over)}.")
    if done.refusals:
        click.echo(f"labels: {len(done.refusals):,} rows refused: {labels.tally(done.refusals)}.")
