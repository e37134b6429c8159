"""Run a pipeline on this machine: no cluster, no API key, no model hub needed.

`run` reads from the request to the exit code: check all that can be checked, open the run's folder, carry out its
tasks with a line each, and say in one sentence how it ended.

Exit code 0: published, or the night is done. 2: something that was given must be changed. 3: a gate refused.
1: anything else.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from understudy.errors import BadInput, UnderstudyError
from understudy.pipelines.compile import pipeline_spec
from understudy.runners import checks, runs
from understudy.runners.events import Event
from understudy.runners.names import new_name
from understudy.runners.outcome import outcome
from understudy.runners.request import OWN, Request, check_own, check_texts
from understudy.runners.signals import signal_of
from understudy.runners.terminal import Board, noise_to, say, tell
from understudy.store.address import parse_address
from understudy.store.names import night_of
from understudy.store.runs import PUBLISH
from understudy.store.storage import open_store
from understudy.task.card import Card

FIRST, ASKING, PAGE = "ingest", "label", "page"
Events = Generator[Event, None, None]


def run(request: Request) -> int:
    """Check a request, run the pipeline, and say in one sentence how it ended.

    Returns:
        the exit code, as this module describes them.
    """
    try:
        card = check(request)
        if request.dry_run:
            return say_costs(request)
        if request.resume:
            begun = runs.take_up(unfinished(request, card))
            opened = replace(begun, record=replace(begun.record, arguments=arguments_of(request)))
        else:
            opened = runs.start(request.work, record_of(request, card))
        with opened.held():
            return carry_out(opened, partial(begin, opened))
    except UnderstudyError as error:
        tell(str(error))
        return error.exit_code


def say_costs(request: Request) -> int:
    """Say what a training would cost; nothing is spent, and the store stays as it is."""
    from understudy.runners.local import forecast

    with tempfile.NamedTemporaryFile() as log, noise_to(Path(log.name)):
        lines = forecast.dry_run(arguments_of(request))
    for line in lines:
        say(line)
    return 0


def check(request: Request) -> Card:
    """Check everything that can be checked before the first step, and report all faults together.

    Raises:
        BadInput: with one sentence a fault.
    """
    if request.resume and request.runner == "kfp":
        raise BadInput(
            "--resume must be used with the direct runner, got --runner kfp. Leave out --resume: the store keeps the "
            "teacher's answers and the checkpoints, so a new run asks and trains only what is missing."
        )
    if request.dry_run and request.pipeline != "training":
        raise BadInput(
            f"--dry-run must be used with training, which alone costs dollars and hours, got {request.pipeline}. Leave "
            "it out."
        )
    card, (store, *_, is_rehearsal) = checks.with_card(request.card, partial(checks_of, request))
    if is_rehearsal:
        checks.check_rehearsal(store, card, request.overrides)
    return card


def checks_of(request: Request, card: Card | None) -> Iterator[Callable[[], Any]]:
    """Return the checks of all that a request names but the card; with a card, they also look at what it says."""
    yield partial(checks.check_store, request.store, card, is_dry_run=request.dry_run)
    yield partial(checks.check_settings, request.overrides, card)
    yield partial(check_texts, request, card)
    yield partial(check_own, request, card)
    if request.date:
        yield partial(night_of, request.date)
    yield partial(checks.check_work, request.work)
    yield partial(runs.check_name, request.name)
    if card is not None:
        if request.resume:
            yield partial(unfinished, request, card)
        yield partial(checks.check_student, card)
        yield partial(check_teacher, request, card)


def check_teacher(request: Request, card: Card) -> bool:
    """Check the teacher of a pipeline that asks one, and tell whether it is a rehearsal."""
    if request.dry_run:
        return False
    is_asking = f"exec-{ASKING}" in pipeline_spec(request.pipeline)["deploymentSpec"]["executors"]
    return is_asking and checks.check_teacher(card)


def unfinished(request: Request, card: Card) -> runs.Run:
    """Find the run that a request goes on with.

    Raises:
        BadInput: there is none that was begun with the same.
    """
    return runs.unfinished(request.work, record_of(request, card), request.name)


def record_of(request: Request, card: Card) -> runs.Record:
    """Write down what is asked for."""
    name = request.name or new_name(card)
    return runs.Record(
        name=name,
        pipeline=request.pipeline,
        runner=request.runner,
        card=card.name,
        card_hash=card.hash,
        arguments=arguments_of(request),
        started=runs.utc_now(),
        artifacts=str((request.work / name).resolve()),
    )


def arguments_of(request: Request) -> dict[str, str]:
    """Return the pipeline's arguments, which mean the same from every folder."""
    own = {name: getattr(request, name) for name in OWN[request.pipeline]}
    return {
        "card": lasting(request.card),
        "store": open_store(request.store).uri,
        "overrides": request.overrides,
        **{name: value if name == "date" or not value else lasting(value) for name, value in own.items()},
    }


def lasting(address: str) -> str:
    """Return an address that means the same from every folder."""
    path = parse_address(address).path
    return address if path is None else str(path.resolve())


def begin(opened: runs.Run) -> Events:
    """Start the runner that a run was begun with."""
    record = opened.record
    if record.runner == "kfp":
        from understudy.runners.local import kfp

        return kfp.run(record.pipeline, record.arguments, opened.folder, sys.stdout)
    from understudy.runners.local import direct

    return direct.run(pipeline_spec(record.pipeline), record.arguments, opened.folder)


def carry_out(opened: runs.Run, begin: Callable[[], Events]) -> int:
    """Run a pipeline's tasks, a line each, and end with a sentence; returns the exit code."""
    made: dict[str, Mapping[str, Any]] = {}  # each task's provenance
    try:
        with noise_to(opened.log) as real, Board(real, opened.log) as board:
            board.say(f"Log: {opened.log}")
            if opened.record.runner == "kfp" and FIRST in pipeline_spec(opened.record.pipeline)["root"]["dag"]["tasks"]:
                forecast_beside(opened, board)
            with closing(begin()) as events:
                for event in events:
                    board.show(event)
                    made[event.task] = event.provenance
                    if event.task == FIRST and event.provenance and opened.record.runner == "direct":
                        forecast(opened, event.folder, board)
            return conclude(opened, board, made)
    except (SystemExit, Exception) as error:
        return tell_failure(opened, error)


def forecast(opened: runs.Run, ingested: Path, board: Board) -> None:
    """Say what the rest of a training costs before any of it is spent, on the screen and in the log."""
    from understudy.runners.local import forecast as costs

    arguments = opened.record.arguments
    say_forecast(costs.lines(ingested, open_store(arguments["store"]), arguments["overrides"]), board)


def forecast_beside(opened: runs.Run, board: Board) -> None:
    """Say what a training costs before KFP's runner begins: it can't be held between ingest and what costs money."""
    from understudy.runners.local import forecast as costs

    say_forecast(costs.dry_run(opened.record.arguments), board)


def say_forecast(lines: Sequence[str], board: Board) -> None:
    """Say a forecast on the screen and in the log."""
    for line in lines:
        board.say(f"  {line}")
        tell(line)


def conclude(opened: runs.Run, board: Board, made: Mapping[str, Mapping[str, Any]]) -> int:
    """Say how a run ended that came to its end, and write it down."""
    is_training = opened.record.pipeline == "training"
    decided = {task: it["parameters"] for task, it in made.items() if it["parameters"]}
    is_published = not is_training or "publish" in made
    unasked = {"decision": PUBLISH if is_published else ""}  # a run from a later step on has none of evaluate
    gate = next((given for given in decided.values() if "decision" in given), unasked)
    opened.end({"decision": gate["decision"], "reason": gate.get("reason", ""), "parameters": decided})
    if (report := report_of(opened)) is not None:
        board.say(f"Report: {report}")
    headline = made.get("publish" if is_training else "watch", {}).get("headline", "")
    sentence, code = outcome(opened.record.name, gate if is_training else {}, headline)
    board.say(sentence)
    return code


def report_of(opened: runs.Run) -> Path | None:
    """Put the run's newest page under a name that a browser opens as a page; None where no step has made one."""
    pages = sorted(opened.folder.glob(f"**/{PAGE}"))
    return Path(shutil.copyfile(pages[-1], opened.folder / "report.html")) if pages else None


def tell_failure(opened: runs.Run, error: SystemExit | Exception) -> int:
    """Say on standard error why a run did not come to its end, and how to go on; the log has the whole story."""
    number = signal_of(error)
    if number:
        tell(f"Stopped by {number.name}; what was done is kept.")
    else:
        tell(str(error) if isinstance(error, UnderstudyError) else f"{type(error).__name__}: {error}")
    if (report := report_of(opened)) is not None:
        tell(f"Report: {report}")
    if opened.record.runner == "direct":
        again = "Mend it, then go" if isinstance(error, BadInput) else "Go"
        tell(f"{again} on with the same command and --resume --name {opened.record.name}")
    tell(f"Log: {opened.log}")
    return 128 + number if number else int(getattr(error, "exit_code", 1))
