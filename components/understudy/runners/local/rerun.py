"""Make a step of a run again on this machine, alone or with all that follows from it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from understudy.errors import BadInput, UnderstudyError
from understudy.runners import rerun, runs
from understudy.runners.downstream import Returned
from understudy.runners.local import direct
from understudy.runners.local.run import carry_out
from understudy.runners.rerun import Artifact, Downstream
from understudy.runners.runs import LOG_FILE, RECORD_FILE
from understudy.runners.terminal import noise_to, say, tell

BESIDE = re.compile(r".+-rerun-\d+")  # a folder that a rerun of one step has made beside the task's


def find_run(name: str, work: Path) -> Path | None:
    """Find the folder of a run by its address or, in the folder of the runs, by its name; None when it is not here."""
    return next((it for it in (Path(name), work / name) if (it / RECORD_FILE).is_file()), None)


def artifact_of(run: Path, step: str) -> Path:
    """Find an artifact that a step of a run has made.

    Raises:
        BadInput: there is none, or the step ran several times.
    """
    made = [it for it in first_artifacts(run) if it.record["step"] == step]
    folders = sorted({it.path.parent for it in made})
    if not made:
        ran = ", ".join(sorted({str(it.record["step"]) for it in first_artifacts(run)})) or "none"
        raise BadInput(f"A step that is run again must have run, got '{step}' where {ran} did ({run}, --from).")
    if len(folders) > 1:
        raise BadInput(
            f"A step that is run again alone must have run once, got {len(folders)} times ({step}, --from). Add "
            f"--downstream, or give an artifact of one of them: {folders[0]}, ..."
        )
    return made[0].path


def first_artifacts(run: Path) -> list[Artifact]:
    """Find the artifacts of a run's own tasks, not those of reruns beside them."""
    return [it for it in rerun.artifacts_of_run(run / "task") if not BESIDE.fullmatch(it.path.parent.name)]


def run_step(artifact: Path, overrides: str, out: Path | None) -> int:
    """Run the step that made an artifact again, and say what changed and what is stale now.

    Returns:
        the exit code.

    Raises:
        BadInput: an input is gone or has changed, or a setting breaks a rule.
    """
    planned = rerun.plan(artifact, overrides, out)
    rerun.make_folder(planned.folder)
    say(f"Made anew: {planned.step}, in {planned.folder}.")
    say(f"Kept: {', '.join(planned.made.record['inputs']) or 'no artifact'}.")
    try:
        with noise_to(planned.folder / LOG_FILE):
            done = rerun.carry_out(planned)
    except UnderstudyError:
        raise
    except Exception as error:
        tell(f"{planned.step} failed: {type(error).__name__}: {error}\nLog: {planned.folder / LOG_FILE}")
        return 1
    for line in rerun.report_lines(done):
        say(line)
    return 0


def run_downstream(run: Path, step: str, overrides: str) -> int:
    """Run a step of a run and all that follows from it, as a run of its own beside the first.

    Returns:
        the exit code, as that of a run.

    Raises:
        BadInput: something that is to be kept is gone or has changed, or a setting breaks a rule.
    """
    first, made = runs.open_folder(run), first_artifacts(run)
    places = {(str(it.record["step"]), str(it.record["output"])): str(it.path) for it in made}
    planned = rerun.plan_downstream(first.record, step, overrides, places, returned_in(run))
    require_unchanged(planned, made)
    name = rerun.new_name(step)
    record = replace(
        first.record,
        name=name,
        runner="rerun",
        arguments=planned.arguments,
        started=runs.utc_now(),
        artifacts=str((run.parent / name).resolve()),
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


def require_unchanged(planned: Downstream, made: list[Artifact]) -> None:
    """Check that what is kept is what the steps that are made anew had read.

    Raises:
        BadInput: something is gone or has changed; a sentence each.
    """
    if faults := sorted({*_faults(planned, made)}):
        raise BadInput(faults)


def _faults(planned: Downstream, made: list[Artifact]) -> Iterator[str]:
    is_anew = {str(it.path): it.record["step"] in planned.cut.anew for it in made}
    for artifact in made:
        if artifact.record["step"] not in planned.cut.anew:
            continue
        inputs, sources, hashes = rerun.inputs_and_sources(artifact.record)
        for name, place in {**inputs, **sources}.items():
            fault = None if is_anew.get(place) else rerun.fault_of(name, place, str(hashes[name]))
            if fault:
                yield fault
