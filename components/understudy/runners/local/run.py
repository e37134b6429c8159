"""Run a pipeline on this machine: no cluster, no API key, no model hub needed.

    understudy run training --card CARD --texts FILE --labels FILE --store DIR_OR_S3 [--set step.key=value]
    understudy run nightly --card CARD --texts SOURCE --store DIR_OR_S3 [--date YYYY-MM-DD]
    understudy run quality --card CARD --store DIR_OR_S3 [--answers FILE] [--date YYYY-MM-DD]

Exit code 0: published, or the night is done. 2: something that was given must be changed. 3: a gate refused.
1: anything else.
"""

import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from understudy.errors import BadInput, StorageError, UnderstudyError
from understudy.pipelines.compile import PIPELINES, pipeline_spec
from understudy.runners import checks, runs
from understudy.runners.events import Event
from understudy.runners.terminal import Board, front_door, noise_to, tell
from understudy.store.address import parse_address
from understudy.store.manifests import night_of
from understudy.store.storage import open_store
from understudy.task.card import Card

ASKING, PUBLISH, PAGE = "label", "publish", "page"
REFUSED = 3
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Runner = Literal["direct", "kfp"]
OWN = {  # what a pipeline takes beside card, store and overrides
    "training": ("texts", "labels"),
    "nightly": ("texts", "date"),
    "quality": ("answers", "date"),
}
NEEDED = {"texts": "texts", "labels": "human labels"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for.

    Attributes:
        pipeline: name of the pipeline.
        card: path or s3:// address of the task card.
        store: folder or s3://bucket/prefix.
        texts: file, folder or s3:// address; for training and nightly.
        labels: file, folder or s3:// address; for training.
        answers: people's answers to a sample, file or s3:// address; for quality.
        date: the night or day, YYYY-MM-DD; for nightly and quality, today's in UTC when empty.
        overrides: step.key=value lines.
        runner: "direct" calls the steps in this process, "kfp" has KFP's local runner start a process for each.
        work: folder of the runs.
        name: of the run; None makes one of the card's name, the time and chance.
        resume: go on with an unfinished run.
    """

    pipeline: str
    card: str
    store: str
    texts: str = ""
    labels: str = ""
    answers: str = ""
    date: str = ""
    overrides: str = ""
    runner: Runner = "direct"
    work: Path = Path("build/runs")
    name: str | None = None
    resume: bool = False


def run(request: Request) -> int:
    """Check a request, run the pipeline, and say in one sentence how it ended.

    Returns:
        the exit code, as this module describes them.
    """
    try:
        card = check(request)
        opened = open_run(request, card)
        with opened.held():
            return carry_out(opened)
    except UnderstudyError as error:
        tell(str(error))
        return error.exit_code


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
    try:
        card = checks.check_card(request.card)
    except (BadInput, StorageError) as error:
        checks.all_of(partial(checks.refuse, error), *checks_of(request, None))
        raise
    steps = steps_of(pipeline_spec(request.pipeline))
    teacher = partial(checks.check_teacher, card) if ASKING in steps else lambda: False
    student = partial(checks.check_student, card)
    resumed = [partial(open_unfinished, request, card)] if request.resume else []
    store, *_, is_rehearsal = checks.all_of(*checks_of(request, card), *resumed, student, teacher)
    if is_rehearsal:
        checks.check_rehearsal(store, card, request.overrides)
    return card


def checks_of(request: Request, card: Card | None) -> tuple[Callable[[], Any], ...]:
    """Return the checks of all that a request names but the card; with a card, they also look at what it says."""
    return (
        partial(checks.check_store, request.store, card),
        partial(checks.check_settings, request.overrides, card),
        partial(check_texts, request),
        partial(check_own, request),
        partial(checks.check_work, request.work),
        partial(runs.check_name, request.name),
    )


def check_own(request: Request) -> None:
    """Check what one pipeline takes and another does not.

    Raises:
        BadInput: something is missing or out of place.
    """
    own = OWN[request.pipeline]
    given = [name for name in ("texts", "labels", "answers", "date") if getattr(request, name)]
    if strange := [name for name in given if name not in own]:
        raise BadInput(f"{request.pipeline} must be given what it takes, got --{strange[0]}. Leave it out.")
    if missing := [name for name in own if name in NEEDED and name not in given]:
        raise BadInput(f"{request.pipeline} must be given {NEEDED[missing[0]]}, got none (--{missing[0]}).")
    if "labels" in given:
        checks.check_source(request.labels, "--labels", ("id", "label"))


def check_texts(request: Request) -> None:
    """Check that there are texts to read, where the pipeline takes any.

    Raises:
        BadInput: there are none, or they lack a column.
    """
    if request.texts:
        texts = request.texts.replace("{date}", night_of(request.date))
        checks.check_source(texts, "--texts", ("id", "text"))


def steps_of(spec: Mapping[str, Any]) -> set[str]:
    """Return the names of the steps of a compiled pipeline."""
    return {name.removeprefix("exec-") for name in spec["deploymentSpec"]["executors"]}


def open_run(request: Request, card: Card) -> runs.Run:
    """Start a run under a name of its own, or find the one to go on with.

    Raises:
        BadInput: the name is taken, or there is nothing to go on with.
    """
    if request.resume:
        found = runs.take_up(open_unfinished(request, card))
        return replace(found, record=replace(found.record, arguments=arguments_of(request)))
    return runs.start(request.work, record_of(request, card))


def open_unfinished(request: Request, card: Card) -> runs.Run:
    """Find the run that a request goes on with.

    Raises:
        BadInput: there is none that was begun with the same.
    """
    return runs.unfinished(request.work, record_of(request, card), request.name)


def record_of(request: Request, card: Card) -> runs.Record:
    """Write down what is asked for."""
    name = request.name or default_name(card)
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


def default_name(card: Card) -> str:
    """Name a run by card and time; two that start in the same second differ by four random signs."""
    return f"{card.name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


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


def carry_out(opened: runs.Run) -> int:
    """Run the pipeline's tasks, a line each, and end with a sentence."""
    try:
        with noise_to(opened.log) as real, ended_by_signals(), Board(real, opened.log) as board:
            return conclude(opened, board, follow(events_of(opened), board))
    except (SystemExit, Exception) as error:
        return tell_failure(opened, error)


def events_of(opened: runs.Run) -> Generator[Event, None, None]:
    """Start the runner that the run was begun with."""
    record = opened.record
    if record.runner == "kfp":
        from understudy.runners.local import kfp

        return kfp.run(record.pipeline, record.arguments, opened.folder, sys.stdout)
    from understudy.runners.local import direct

    return direct.run(pipeline_spec(record.pipeline), record.arguments, opened.folder)


def follow(events: Generator[Event, None, None], board: Board) -> dict[str, Mapping[str, Any]]:
    """Show every event; return each task's provenance."""
    told: dict[str, Mapping[str, Any]] = {}
    with closing(events):
        for event in events:
            board.show(event)
            told[event.task] = event.record
    return told


def conclude(opened: runs.Run, board: Board, told: Mapping[str, Mapping[str, Any]]) -> int:
    """Say how a run ended that came to its end, and write it down."""
    decided = {task: record["parameters"] for task, record in told.items() if record["parameters"]}
    gate = next((given for given in decided.values() if "decision" in given), {"decision": PUBLISH})
    opened.end({"decision": gate["decision"], "reason": gate.get("reason", ""), "parameters": decided})
    if (report := keep_report(opened)) is not None:
        board.say(f"Report: {report}")
    if opened.record.pipeline != "training":
        board.say(f"Done: {told.get('watch', {}).get('headline', opened.record.name)}")
        return 0
    if gate["decision"] == PUBLISH:
        board.say(f"Published: {told.get('publish', {}).get('headline', opened.record.name)}")
        return 0
    board.say(f"Not published ({gate['decision']}): {gate.get('reason') or 'evaluate gave no reason'}")
    return REFUSED


def keep_report(opened: runs.Run) -> Path | None:
    """Copy the report to the run's folder, under a name that a browser opens as a page."""
    pages = sorted(opened.folder.glob(f"**/{PAGE}"))
    if not pages:
        return None
    return Path(shutil.copyfile(pages[-1], opened.folder / "report.html"))


def tell_failure(opened: runs.Run, error: SystemExit | Exception) -> int:
    """Say on standard error why a run did not come to its end, and how to go on; the log has the whole story."""
    tell(reason_of(error))
    if opened.record.runner == "direct":
        again = "Mend it, then go" if isinstance(error, BadInput) else "Go"
        tell(f"{again} on with the same command and --resume --name {opened.record.name}")
    tell(f"Log: {opened.log}")
    number = signal_of(error)
    return 128 + number if number else int(getattr(error, "exit_code", 1))


def reason_of(error: SystemExit | Exception) -> str:
    """Write why a run ended early, for a person."""
    if number := signal_of(error):
        return f"Stopped by {number.name}; what was done is kept."
    return str(error) if isinstance(error, UnderstudyError) else f"{type(error).__name__}: {error}"


def signal_of(error: SystemExit | Exception) -> signal.Signals | None:
    """Return the signal that ended a run, by this module's handler or by a step's own."""
    code = error.code if isinstance(error, SystemExit) else None
    return next((number for number in SIGNALS if code == 128 + number), None)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what runs inside, by SystemExit; a second one ends the process at once."""

    def stop(number: int, _frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@click.command(context_settings={"show_default": True})
@click.argument("pipeline", type=click.Choice(PIPELINES))
@click.option("--card", required=True, help="The task card: a file or s3:// address.")
@click.option("--texts", default="", help="Texts: a file, folder or s3:// address; for training and nightly.")
@click.option("--labels", default="", help="Human labels: a file, folder or s3:// address; for training.")
@click.option("--store", required=True, help="What outlives the run: a folder or s3://bucket/prefix.")
@click.option("--answers", default="", help="People's answers to a sample: a file or s3:// address; for quality.")
@click.option("--date", default="", help="The night, YYYY-MM-DD; for nightly and quality. [default: today's in UTC]")
@click.option("--set", "settings", multiple=True, metavar="STEP.KEY=VALUE", help="Change a setting for this run.")
@click.option("--runner", type=click.Choice(["direct", "kfp"]), default="direct")
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), default="build/runs")
@click.option("--name", help="Name of the run. [default: <card>-<UTC time>-<random>]")
@click.option(
    "--resume", is_flag=True, help="Go on with the newest unfinished run that was given the same, or the one named."
)
def main(settings: tuple[str, ...], **given: Any) -> None:
    """Run PIPELINE on this machine."""
    sys.exit(run(Request(overrides="\n".join(settings), **given)))


if __name__ == "__main__":
    front_door(main)
