"""Make a step of a run again on this machine, alone or with all that follows from it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.runners import downstream, names, runs
from understudy.runners.cut import Returned
from understudy.runners.local import direct, step
from understudy.runners.local.artifacts import BESIDE, first_artifacts, require_unchanged
from understudy.runners.local.run import carry_out
from understudy.runners.runs import LOG_FILE
from understudy.runners.terminal import noise_to, say, tell


def run_step(artifact: Path, overrides: str, out: Path | None) -> int:
    """Run the step that made an artifact again, and say what changed and what is stale now.

    Returns:
        the exit code.

    Raises:
        BadInput: an input is gone or has changed, or a setting breaks a rule.
    """
    planned = step.plan(artifact, overrides, out)
    made = planned.made
    step.make_folder(planned.folder)
    say(f"Made anew: {made.step}, in {planned.folder}.")
    say(f"Kept: {', '.join(made.provenance['inputs']) or 'no artifact'}.")
    try:
        with noise_to(planned.folder / LOG_FILE):
            done = step.carry_out(planned)
    except UnderstudyError:
        raise
    except Exception as error:
        tell(f"{made.step} failed: {type(error).__name__}: {error}\nLog: {planned.folder / LOG_FILE}")
        return 1
    for line in step.report_lines(done):
        say(line)
    return 0


def run_downstream(run: Path, begin: str, overrides: str) -> int:
    """Run a step of a run and all that follows from it, as a run of its own beside the first.

    Returns:
        the exit code, as that of a run.

    Raises:
        BadInput: something that is to be kept is gone or has changed, or a setting breaks a rule.
    """
    first, made = runs.open_folder(run).record, first_artifacts(run)
    places = {(it.step, it.output): str(it.path) for it in made}
    planned = downstream.plan(first, begin, overrides, places, returned_in(run))
    anew = [it for it in made if it.step in planned.cut.anew]
    require_unchanged(anew, {str(it.path) for it in anew})
    name = names.rerun_name(begin)
    record = replace(
        first,
        name=name,
        runner="rerun",
        arguments=planned.arguments,
        started=runs.utc_now(),
        artifacts=str((run.parent / name).resolve()),
        begins_at=begin,
    )
    for line in planned.lines():
        say(line)
    opened = runs.start(run.parent, record)
    with opened.held():
        return carry_out(opened, partial(direct.run, planned.cut.spec, planned.arguments, opened.folder))


def returned_in(run: Path) -> Returned:
    """Read what the tasks of a run have returned, which the direct runner keeps beside their outputs."""
    files = run.glob(f"*/{direct.OUTPUTS_FILE}")
    return {file.parent.name: _json(file) for file in files if not BESIDE.fullmatch(file.parent.name)}


def _json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
