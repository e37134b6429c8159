"""Make a step of a run again: `understudy rerun`."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from understudy.errors import BadInput


@click.command("rerun")
@click.argument("run")
@click.option("--from", "step", default="", metavar="STEP", help="The step of RUN to make again.")
@click.option("--downstream", "is_downstream", is_flag=True, help="With --from: make all that follows from it again.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting; may be given again.")
@click.option("--work", type=click.Path(path_type=Path), default="build/runs", show_default=True, help="Of the runs.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="[default: <run>/<task>-rerun-N]")
@click.option("--submit", "is_submitted", is_flag=True, help="Run on the cluster, not here.")
@click.option("--store", default="", help="With --submit: s3://bucket/prefix. [default: the one of the first run]")
@click.option("--host", default="", envvar="KF_PIPELINES_ENDPOINT", help="With --submit: URL of the pipelines API.")
@click.option("--namespace", default="", help="With --submit: of the run, for an API that serves several.")
@click.option("--root", default="", help="With --submit: address for the artifacts. [default: the server's]")
@click.option("--service-account", default="", help="With --submit: account of the steps' pods.")
@click.option("--wait", "is_waiting", is_flag=True, help="With --submit: wait until the run has ended.")
def command(
    run: str,
    step: str,
    is_downstream: bool,
    settings: tuple[str, ...],
    work: Path,
    out: Path | None,
    is_submitted: bool,
    store: str,
    is_waiting: bool,
    **place: str,
) -> None:
    """Make a step of RUN again, with other settings, from the inputs that it had.

    RUN is a run's folder or its name, with --from; or the address of an artifact, whose step is made again. With
    --submit it is a run's name in the store (--store), or an s3:// address.

    \b
    understudy rerun RUN --from calibrate --set objective=recall
    understudy rerun RUN --from train --set epochs=2 --downstream
    understudy rerun build/runs/RUN/train/student --set epochs=2
    understudy rerun RUN --from train --submit --store s3://bucket/task

    What is made anew and what is kept is said first.
    """  # noqa: D301 - \b is click's
    if is_downstream and not step:
        raise click.UsageError("--downstream needs --from STEP.")
    if is_downstream and out:
        raise click.UsageError("--out is for one step alone: with --downstream the run has a folder of its own.")
    overrides = "\n".join(settings)
    if is_submitted:
        sys.exit(_there(run, step, overrides, store, place, is_downstream=is_downstream, is_waiting=is_waiting))
    sys.exit(_here(run, step, overrides, work, out, is_downstream=is_downstream))


def _here(run: str, step: str, overrides: str, work: Path, out: Path | None, *, is_downstream: bool) -> int:
    from understudy.runners.local import artifacts, rerun

    if "://" in run:
        raise BadInput(
            f"An artifact must lie on this machine, got {run}. Add --submit to run its step on the cluster, or "
            "copy it here."
        )
    if not step:
        return rerun.run_step(Path(run), overrides, out)
    folder = artifacts.find_run(run, work)
    if folder is None:
        raise BadInput(f"A run must be there, got no {run} here or in {work} (RUN). Give its folder, or --work.")
    if is_downstream:
        return rerun.run_downstream(folder, step, overrides)
    return rerun.run_step(artifacts.artifact_of(folder, step), overrides, out)


def _there(
    run: str,
    step: str,
    overrides: str,
    store: str,
    place: Mapping[str, str],
    *,
    is_downstream: bool,
    is_waiting: bool,
) -> int:
    from understudy.runners.cluster import artifacts, resubmit
    from understudy.runners.cluster.create import Target

    target = Target(**place)
    if is_downstream:
        return resubmit.run_downstream(run, step, overrides, store, target, is_waiting=is_waiting)
    artifact = artifacts.artifact_of(resubmit.open_there(store), run, step) if step else run
    return resubmit.run_step(artifact, overrides, store, target, is_waiting=is_waiting)
