"""Label a review queue in a browser: `understudy review`."""

from collections.abc import Sequence
from pathlib import Path

import click

from understudy.review import labels, waiting
from understudy.review.desk import Desk
from understudy.review.journal import Journal
from understudy.review.known import read_known
from understudy.review.server import new_token, server_of
from understudy.review.waiting import Known, Queue
from understudy.store.storage import Store, prepare_store
from understudy.text.numbers import count


@click.command("review")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the card and its queues.")
@click.option("--card", metavar="NAME", help="Name of the card; needed when the store holds several.")
@click.option(
    "--queue",
    metavar="QUEUE",
    help="A queue of the store by its name, 'sample' for the week's, or a folder in which mine or audit left one; "
    "else the newest of mine.",
)
@click.option("--people", type=click.IntRange(1, 20), default=1, show_default=True, help="Answers that each text gets.")
@click.option("--gold", metavar="FILE", help="Texts with known labels (id, text, label), mixed in to measure people.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at and to open.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; a free one where none is given.")
@click.option("--list", "is_list", is_flag=True, help="List the queues that wait, and serve nothing.")
def command(
    store: str, card: str | None, queue: str | None, people: int, gold: str | None, host: str, port: int, is_list: bool
) -> None:
    """Label a review queue in a browser, one person or several at once.

    The page is served on this machine, at an address that nobody guesses. Each answer is in the store at once, with who
    gave it, when, in how many seconds and by which guideline; the next training run takes them in, and answers to the
    week's sample measure. Ctrl-C ends it.
    """
    keep = prepare_store(store, must_exist=True)
    name, _ = labels.card_labels(keep, card)
    if queue is not None and _is_address(queue):
        queue = waiting.put_artifact(keep, name, queue)
    found = waiting.read_all(keep, name)

    def left(waits: Queue) -> int:
        return Desk(waits, Journal(keep, name, waits), people).texts_left()

    if is_list:
        for line in [_listed(waits, left(waits)) for waits in found] or ["no queue waits."]:
            click.echo(f"review: {line}")
        return
    chosen = waiting.choose(found, queue, left)
    known = read_known(keep, name, gold, chosen) if gold else []
    _serve(keep, name, chosen, known, people, host, port)


def _is_address(queue: str) -> bool:
    return queue.startswith("s3://") or queue.endswith(".parquet") or Path(queue).is_dir()


def _listed(queue: Queue, left: int) -> str:
    put = f", put {queue.put}" if queue.put else ""
    return f"{queue.name}: {queue.kind}, {left:,} of {count(len(queue.texts), 'text')} wait{put}"


def _serve(store: Store, card: str, queue: Queue, known: Sequence[Known], people: int, host: str, port: int) -> None:
    desk = Desk(queue, Journal(store, card, queue, known), people, known)
    token = new_token()
    server = server_of(desk, host, port, token)
    held_out = f"; {count(queue.held_out, 'text')} held out, for they measure the model" if queue.held_out else ""
    checks = f"; {count(len(known), 'text')} with known labels mixed in" if known else ""
    click.echo(f"review: {queue.name} ({queue.kind}), {count(len(queue.texts), 'text')}{held_out}{checks}.")
    click.echo(f"review: http://{host}:{server.server_address[1]}/{token}/ (Ctrl-C ends it)")
    with server:
        server.serve_forever()
