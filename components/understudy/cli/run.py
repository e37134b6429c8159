"""Run a pipeline on this machine: `understudy run`."""

import sys
from pathlib import Path
from typing import Any

import click

from understudy.cli import columns
from understudy.pipelines.compile import PIPELINES
from understudy.runners.local import cycles as loop
from understudy.runners.local.run import run
from understudy.runners.request import Request


@click.command("run", context_settings={"show_default": True})
@click.argument("pipeline", type=click.Choice(PIPELINES))
@click.option("--card", required=True, help="The task card: a file, a folder or s3:// address.")
@click.option("--texts", default="", help="Texts: a file, folder or s3:// address; for training and nightly.")
@click.option("--labels", default="", help="Human labels: a file, folder or s3:// address; for training.")
@click.option("--store", required=True, help="What outlives the run: a folder or s3://bucket/prefix.")
@click.option("--answers", default="", help="People's answers: to a sample, for quality; to the queues of --cycles.")
@click.option("--date", default="", help="The night, YYYY-MM-DD; for nightly and quality. [default: today's in UTC]")
@columns.with_options
@click.option("--set", "settings", multiple=True, metavar="STEP.KEY=VALUE", help="Change a setting for this run.")
@click.option("--runner", type=click.Choice(["direct", "kfp"]), default="direct")
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), default="build/runs")
@click.option("--name", help="Name of the run. [default: <card>-<UTC time>-<random>]")
@click.option(
    "--resume", is_flag=True, help="Go on with the newest unfinished run that was given the same, or the one named."
)
@click.option(
    "--cycles",
    type=click.IntRange(min=1),
    default=1,
    help="Train, answer the queue from --answers, train again: so often.",
)
@click.option("--dry-run", is_flag=True, help="Only say what a training would cost: texts, dollars, minutes, hours.")
def command(settings: tuple[str, ...], cycles: int, **given: Any) -> None:
    """Run PIPELINE on this machine: no cluster, no API key, no model hub needed.

    \b
    understudy run training --card CARD --texts FILE --labels FILE --store STORE
    understudy run nightly --card CARD --texts SOURCE --store STORE [--date YYYY-MM-DD]
    understudy run training ... --cycles 3 --answers FILE
    understudy run quality --card CARD --store STORE [--answers FILE]

    Exit code 0: published, or the night is done. 2: something that was given must be changed. 3: a gate refused.
    1: anything else.
    """  # noqa: D301 - \b is click's
    lines = [*settings, *columns.as_settings(given)]
    request = Request(overrides="\n".join(lines), **given)
    sys.exit(loop.run(request, cycles) if cycles > 1 else run(request))
