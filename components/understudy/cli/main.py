"""The command `understudy`: every step's `run` as a command built from its signature, and the commands around them."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

import understudy
from understudy.errors import UnderstudyError
from understudy.secrets.keys import redact
from understudy.secrets.sinks import guard_streams
from understudy.task.settings import STEPS, Overrides, require_read


class StepGroup(click.Group):
    """The root command: what is written below, and one command a step, imported when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """List the steps in the order in which they run, then the rest."""
        return [*STEPS, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Build a step's command on demand."""
        if name in STEPS:
            from understudy.cli.steps import step_command

            return step_command(name)
        return super().get_command(context, name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Let `publish --rollback` be `rollback`, and `index --from-store` or `--replay` be `reindex`."""
        if args[0] == "publish" and "--rollback" in args:
            args = ["rollback", *(word for word in args[1:] if word != "--rollback")]
        if args[0] == "index" and {"--from-store", "--replay"} & set(args):
            args = ["reindex", *args[1:]]
        return super().resolve_command(context, args)


@click.group(cls=StepGroup)
@click.version_option(understudy.__version__, package_name="understudy")
def app() -> None:
    """Learns the part of the LLM that labels your texts, and goes on every night in its place."""


@app.group("card")
def card_group() -> None:
    """Write and check task cards."""


@card_group.command("check")
@click.argument("card")
def card_check(card: str) -> None:
    """Report every fault of a card at once, each with its line.

    CARD is a file, a snapshot folder, or an s3:// address.
    """
    from understudy.data import cards

    loaded, _ = cards.read(card)
    click.echo(f"{card}: the card '{loaded.name}' is sound (hash {loaded.hash[:12]}).")


@card_group.command("new")
@click.option("--name", default="my-task", show_default=True, help="Name of the task: a-z, 0-9 and -.")
def card_new(name: str) -> None:
    """Print a commented card to start from."""
    from understudy.task.template import new_card

    click.echo(new_card(name), nl=False)


@app.group("labels")
def labels_group() -> None:
    """Take in what people say."""


@labels_group.command("add")
@click.argument("file")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the card.")
@click.option("--card", metavar="NAME", help="Name of the card; needed when the store holds several.")
def labels_add(file: str, store: str, card: str | None) -> None:
    """Put people's answers to a review queue into the store; the next training run takes them in.

    FILE is CSV, JSONL or Parquet with the columns id and label (and annotator), or Label Studio's JSON export.
    """
    from understudy.data.listing import told
    from understudy.review import labels
    from understudy.store.storage import prepare_store

    done = labels.add(prepare_store(store, must_exist=True), file, card)
    where = f"added to the card '{done.card_name}'" if done.key else "nothing added: the store holds just these already"
    click.echo(f"labels: {done.labels:,} labels, {where}; {done.skipped:,} rows without a label.")
    if done.strange_ids:
        click.echo(
            f"labels: {done.strange_ids:,} of {done.ids:,} ids are in no queue of this store; "
            "they count only if a later run's texts hold them."
        )
    if done.passed_over:
        click.echo(f"labels: {told(done.passed_over)}.")
    if done.refusals:
        click.echo(f"labels: {len(done.refusals):,} rows refused: {labels.tally(done.refusals)}.")


@app.command("rehearse")
@click.option("--answers", required=True, type=click.Path(path_type=Path), help="CSV with columns text and label.")
@click.option("--card", type=click.Path(path_type=Path), help="Card that names labels and slices; needed with --bias.")
@click.option("--flip", type=float, default=0.0, show_default=True, help="Chance that a text gets a wrong label.")
@click.option("--bias", multiple=True, metavar="SLICE=P", help="Chance that a positive text of a slice is missed.")
@click.option("--logprobs", is_flag=True, help="Give log-probabilities to who asks for them.")
@click.option("--unknown", type=click.Choice(["guess", "refuse"]), default="guess", help="For texts not in the file.")
@click.option("--planted", type=click.Path(path_type=Path), help="File that takes what was planted, as JSON lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed plants errors in other texts.")
@click.option("--rate-limit", type=click.IntRange(min=0), default=0, help="Answer every n-th request with 429.")
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, help="Seconds to think about each request.")
@click.option("--port", type=int, default=0, show_default=True, help="0 takes any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def rehearse(**options: Any) -> None:
    """Run a rehearsal teacher: an OpenAI-compatible server that answers from a labelled file, errors planted.

    Its URL is the first line of output; put it into OPENAI_BASE_URL. It costs nothing, and its answers never mix with
    bought ones.
    """
    from understudy.teacher import simulated

    ended = simulated.told_to_end()
    with simulated.serve(simulated.plan_of(options), options["host"], options["port"]) as server:
        click.echo(server.url)
        click.echo(f"Rehearsing with {simulated.summary(server.script)}; Ctrl-C ends it.", err=True)
        ended.wait()


@app.command("predict")
@click.argument("texts", nargs=-1)
@click.option("--store", help="Store whose published bundle answers: a folder or s3://bucket/prefix.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Folder of a bundle that answers, published or not.")
@click.option("--file", help="File with one text a line; - for standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def predict_texts(
    texts: tuple[str, ...], store: str | None, bundle: Path | None, file: str | None, as_json: bool
) -> None:
    """Label texts: TEXT..., or - for one a line of standard input.

    A line holds the label, its probability, the probability of the positive label, and the text. A blank line, and any
    other that cannot be labelled, keeps its place as "-" with the reason, and is counted at the end.
    """
    from understudy.cli import predict

    given = predict.read_texts(texts, file)
    opened = predict.open_bundle(store, bundle)
    click.echo(predict.introduction(opened), err=True)
    predictions = predict.predict(opened, given)
    for prediction in predictions:
        click.echo(predict.json_line(prediction) if as_json else predict.line(prediction, opened))
    if told := predict.left_out(predictions):
        click.echo(told, err=True)


@app.command("rollback")
@click.option("--store", required=True, help="Store to go back in: a folder or s3://bucket/prefix.")
@click.option("--to", help="Version to go back to, in the place of the one before; `bundles/` in the store lists them.")
def roll_back(store: str, to: str | None) -> None:
    """Let the version before serve again; `publish --rollback` is the same."""
    from understudy.store import registry
    from understudy.store.storage import prepare_store

    current = registry.rollback(prepare_store(store, must_exist=True), to)
    click.echo(f"rollback: {current.version} serves again (generation {current.generation}, {store}).")


@app.command("reindex")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the predictions.")
@click.option("--from-store", "is_whole", is_flag=True, help="Send every prediction that the store holds.")
@click.option("--replay", "is_replay", is_flag=True, help="Send again only what the index refused.")
@click.option("--card", type=click.Path(path_type=Path), help="Task card; without it the published bundle's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable.")
def reindex(store: str, is_whole: bool, is_replay: bool, card: Path | None, overrides: tuple[str, ...]) -> None:
    """Fill an empty index from the store; `index --from-store` and `index --replay` are the same."""
    from understudy.cli import search

    if is_whole == is_replay:
        raise click.UsageError("Give one of --from-store and --replay.")
    run = search.from_store if is_whole else search.replay
    changes = Overrides.parse("\n".join(overrides), "index")
    require_read(changes, "index")
    click.echo(f"index: {run(store, card, changes)}.")


@app.command("search")
@click.argument("words", nargs=-1)
@click.option("--store", required=True, help="Folder or s3://bucket/prefix whose nights are searched.")
@click.option("--label", help="Only texts with this label.")
@click.option(
    "--since", metavar="DAY", help="Only texts written since 2026-11-01, say; one without a time counts from its night."
)
@click.option("--limit", type=int, default=20, show_default=True, help="Most texts to print, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def search_texts(
    words: tuple[str, ...], store: str, label: str | None, since: str | None, limit: int, as_json: bool
) -> None:
    """Find labelled texts that hold all of WORDS; words in double quotes must stand side by side.

    A line holds the day, the label, the probability of the positive label, the text's id and the text.
    """
    from understudy.cli import search
    from understudy.search import query
    from understudy.store.storage import open_store

    answer = search.search(open_store(store), query.parse(" ".join(words), label, since, limit))
    for line in search.lines(answer, as_json=as_json):
        click.echo(line)
    click.echo(search.summary(answer), err=True)


@app.command("runs")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that the runs were started with.")
def list_runs(store: str) -> None:
    """List what ran: when, with which card, how it ended as far as somebody saw it, and where its artifacts lie."""
    from understudy.store import runs
    from understudy.store.storage import open_store

    opened = open_store(store)
    found = runs.read_all(opened)
    for line in runs.lines(found) if found else [f"No run was started with this store ({opened.uri})."]:
        click.echo(line)


@app.command("forget")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Id of a text; repeatable.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A review, thread or dialogue; repeatable.")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that met the texts.")
@click.option(
    "--index-url",
    "servers",
    multiple=True,
    metavar="URL",
    help="A further Elasticsearch that holds the texts, beside ELASTICSEARCH_URL; repeatable.",
)
def forget_texts(ids: tuple[str, ...], groups: tuple[str, ...], store: str, servers: tuple[str, ...]) -> None:
    """Remove texts and all derived from them from store, cache and index, and let no later night take them.

    The source files are yours: remove the texts there too. A model that learned from them stays until the next training
    run.
    """
    from datetime import UTC, datetime

    from understudy.privacy import erasure
    from understudy.store.storage import prepare_store

    erased = erasure.forget(
        prepare_store(store, must_exist=True), ids, groups, f"{datetime.now(UTC):%Y-%m-%d}", servers
    )
    if not erased.rows and not erased.documents:
        click.echo("forget: no such text is in the store or an index; a note stays, so that no later night takes it.")
        return
    rows = ", ".join(f"{name}/ {count:,}" for name, count in erased.rows.items()) or "none"
    click.echo(f"forget: rows removed from the store: {rows}; from the index: {erased.documents:,} documents.")
    click.echo("forget: remove the texts from your source files too; a trained model forgets at its next training.")


def main() -> None:
    """Run the command; an error raised on purpose is one sentence a fault on standard error, and an exit code."""
    guard_streams()
    try:
        app.main(standalone_mode=True)
    except UnderstudyError as error:
        fail(error)


def fail(error: UnderstudyError) -> None:
    """Print an error's sentences and leave with its exit code."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    for line in redact(str(error)).splitlines():
        console.print(line)
    sys.exit(error.exit_code)
