"""Run a rehearsal teacher: `understudy rehearse`."""

from pathlib import Path
from typing import Any

import click

from understudy.teacher import simulated
from understudy.teacher.injected_errors import LIKE_SHARE
from understudy.teacher.misbehaviours import MISBEHAVIOURS
from understudy.teacher.simulated_editor import RIGHT


@click.command("rehearse")
@click.option("--answers", required=True, type=click.Path(path_type=Path), help="Labelled CSV, Parquet or JSON lines.")
@click.option("--text-column", default="text", show_default=True, help="What the file calls its texts.")
@click.option(
    "--label-column",
    "--column",
    "label_column",
    default="label",
    show_default=True,
    help="What it calls its labels; or the column of one judge's real answers, where ? is one that could not be used.",
)
@click.option(
    "--card",
    help="Card (file, folder or s3:// address) that names labels and slices; needed with --bias, and where a text may "
    "have several labels.",
)
@click.option(
    "--flip",
    type=float,
    default=0.0,
    show_default=True,
    help="Chance that a text gets a wrong label, or that one of several is dropped or added.",
)
@click.option(
    "--bias",
    multiple=True,
    metavar="SLICE=P",
    help="Chance that a slice's positive texts, or all where none is, get a wrong label, or lose one of several.",
)
@click.option("--confuse", multiple=True, metavar="A=B", help="Two labels that are taken for one another.")
@click.option(
    "--confuse-share",
    type=float,
    default=LIKE_SHARE,
    show_default=True,
    help="Share of wrong answers that go to those.",
)
@click.option("--logprobs", is_flag=True, help="Give log-probabilities to who asks for them.")
@click.option("--unknown", type=click.Choice(["guess", "refuse"]), default="guess", help="For texts not in the file.")
@click.option("--injected", type=click.Path(path_type=Path), help="File that takes what was injected, as JSON lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed injects errors in other texts.")
@click.option("--rate-limit", type=click.IntRange(min=0), default=0, help="Answer every n-th request with 429.")
@click.option(
    "--misbehave",
    multiple=True,
    metavar="KIND[:NAME][=SHARE]",
    help=f"Do as real servers do: {', '.join(MISBEHAVIOURS)} (docs/teachers.md says what each is).",
)
@click.option(
    "--editor-right",
    type=click.FloatRange(min=0, max=1),
    default=RIGHT,
    show_default=True,
    help="Share of right answers as the card's editor; the others flip right labels and leave wrong ones.",
)
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, help="Seconds to think about each request.")
@click.option("--batch-seconds", type=click.FloatRange(min=0), default=0.0, help="Seconds that a batch takes.")
@click.option(
    "--batch-expires",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    help="Share of a batch's requests that it does not come to before it expires.",
)
@click.option("--port", type=int, default=0, show_default=True, help="0 takes any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def command(**options: Any) -> None:
    """Run a rehearsal teacher: an OpenAI-compatible server that answers from a labelled file, errors injected.

    Its URL is the first line of output; put it into OPENAI_BASE_URL. It costs nothing, and its answers never mix with
    bought ones.
    """
    ended = simulated.told_to_end()
    with simulated.serve(simulated.plan_of(options), options["host"], options["port"]) as server:
        click.echo(server.url)
        click.echo(f"Rehearsing with {simulated.summary(server.script)}; Ctrl-C ends it.", err=True)
        ended.wait()
        if unknown := simulated.unknown_texts(server):
            click.echo(f"{unknown} Give --card where the card takes something out of texts (teacher.redact).", err=True)
