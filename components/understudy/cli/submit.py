"""Submit a pipeline to Kubeflow Pipelines: `understudy submit`."""

import sys
from datetime import UTC, datetime, tzinfo
from typing import Any

import click

from understudy.cli import columns
from understudy.errors import BadInput
from understudy.pipelines.compile import PIPELINES
from understudy.runners.cluster.create import Target
from understudy.runners.cluster.schedule import day_of, zone_named
from understudy.runners.cluster.submit import PERIODIC, Repeating, run
from understudy.runners.request import OWN, Request


def zone_of(_context: click.Context, _option: click.Parameter, name: str) -> tzinfo:
    """Return the time zone that an option names.

    Raises:
        BadParameter: it is unknown here.
    """
    try:
        return zone_named(name)
    except BadInput as error:
        raise click.BadParameter(str(error)) from error


@click.command("submit", context_settings={"show_default": True})
@click.argument("pipeline", type=click.Choice(PIPELINES))
@click.option(
    "--card", required=True, help="The task card: a file, a folder or s3:// address. It is put into the store."
)
@click.option("--texts", default="", help="Texts: an s3:// address; for training and nightly.")
@click.option("--labels", default="", help="Human labels: an s3:// address; for training.")
@click.option("--store", required=True, help="What outlives the run: s3://bucket/prefix.")
@click.option("--answers", default="", help="People's answers to a sample: an s3:// address; for quality.")
@click.option("--date", default="", help="The night, YYYY-MM-DD; for nightly and quality. [default: --job's, or today]")
@click.option("--job", default="", envvar="UNDERSTUDY_JOB", show_envvar=True, help="A CronJob's Job: its day counts.")
@click.option("--time-zone", default="UTC", envvar="TIME_ZONE", show_envvar=True, callback=zone_of, help="Of that day.")
@columns.with_options
@click.option("--set", "settings", multiple=True, metavar="STEP.KEY=VALUE", help="Change a setting for this run.")
@click.option("--name", help="Name of the run. [default: <card>-<pipeline>-<night or week>; of a training a new one]")
@click.option("--host", default="", envvar="KF_PIPELINES_ENDPOINT", show_envvar=True, help="URL of the pipelines API.")
@click.option("--ui", default="", help="URL of the pages of Kubeflow Pipelines, for the link. [default: --host]")
@click.option("--namespace", default="", help="Namespace of the runs, for an API that serves several.")
@click.option("--experiment", default="", help="Experiment of the run. [default: the card's name]")
@click.option("--version", default="", help="Name of the pipeline version. [default: the one of this source]")
@click.option("--root", default="", help="Address for the artifacts. [default: the server's]")
@click.option("--service-account", default="", help="Account of the steps' pods. [default: the server's]")
@click.option(
    "--when-asked", is_flag=True, help="Train only when a night has asked for it (watch), and none is under way."
)
@click.option("--at-most-every-days", type=click.IntRange(min=0), default=7, help="With --when-asked: days between.")
@click.option(
    "--tries",
    type=click.IntRange(min=1),
    default=1,
    help="Enter what failed again, until so many runs were made for it.",
)
@click.option("--again", "is_mended", is_flag=True, help="What a run with the same inputs has found was mended.")
@click.option("--wait", "is_waiting", is_flag=True, help="Wait until the run has ended; the exit code says how.")
def command(
    pipeline: str,
    settings: tuple[str, ...],
    job: str,
    time_zone: tzinfo,
    when_asked: bool,
    at_most_every_days: int,
    tries: int,
    is_mended: bool,
    is_waiting: bool,
    **given: Any,
) -> None:
    """Submit a run of PIPELINE to Kubeflow Pipelines, once for each name, and wait for it when asked to.

    Given again with the same name, the command finds the run that it made before.

    Exit code 0: submitted, or ended well. 2: something that was given must be changed, also the name of a run that has
    failed. 3: a gate refused (with --wait). 1: anything else, as an outage, or a run that failed or was cancelled while
    it was waited for.
    """
    target = Target(**{field: given.pop(field) for field in Target.__slots__})
    if when_asked and (pipeline != "training" or given["name"]):
        raise click.UsageError("--when-asked is for training, and names the run itself.")
    if tries > 1 and pipeline not in PERIODIC:
        raise click.UsageError("--tries is for nightly and quality; --when-asked has its own rule.")
    if "date" in OWN[pipeline]:
        given["date"] = given["date"] or day_of(job, time_zone, datetime.now(UTC))
    lines = [*settings, *columns.as_settings(given)]
    request = Request(pipeline=pipeline, overrides="\n".join(lines), **given)
    most_days = at_most_every_days if when_asked else None
    repeating = Repeating(tries=tries, is_mended=is_mended)
    sys.exit(run(request, target, most_days, repeating, is_waiting=is_waiting))
