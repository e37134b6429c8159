"""Wait for a submitted run, a line for every task that has ended, and say how it ended.

The state comes from the pipelines API, evaluate's decision from the store: the API tells what tasks gave only by
artifact ids of its metadata store and by names that its workflow engine makes up, while `decision.json` is put by the
step itself, under the name that was claimed for the run.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.errors import BadInput
from understudy.runners.cluster import claims
from understudy.runners.cluster.api import FINAL, Absent, Api, ApiFailed, Unanswered
from understudy.runners.names import base_of, free_try
from understudy.runners.outcome import REFUSED, outcome
from understudy.runners.runs import Record, runs_step, utc_now
from understudy.runners.terminal import say, tell
from understudy.store.runs import DECISION, ENDED, FAULT, STARTED, fault_line, key_of, put, read
from understudy.store.storage import Store

POLL_S = 10.0
PATIENCE_S = 900.0
SUCCEEDED = "SUCCEEDED"
GONE = "GONE"  # the API has no such run any more
FAILURES = {"FAILED", "CANCELED", GONE}
OF_THE_ENGINE = ("-driver", "executor")


def wait(api: Api, store: Store, record: Record, about: Mapping[str, Any]) -> int:
    """Wait for a run, and say how it ended.

    Returns:
        0: ended well; 1: failed or was cancelled; 3: evaluate decided against publishing.

    Raises:
        ApiFailed: the API was out of order for PATIENCE_S, or the run has left no decision.
    """
    try:
        run = until_final(api, str(about["run_id"]))
    except SystemExit:
        tell(f"Stopped waiting; the run goes on: {about['url']}\nThe same command waits for it again.")
        raise
    return conclude(store, record, run)


def require_no_failure(api: Api, store: Store, record: Record, about: Mapping[str, Any]) -> None:
    """Check that a run which was submitted before has not failed since: its name makes no other one.

    Raises:
        BadInput: it has failed, was cancelled, or is gone.
    """
    state = state_of(api, store, record.name, str(about["run_id"]))
    if state not in FAILURES:
        return

    def is_claimed(name: str) -> bool:
        return read(store, name, STARTED) is not None

    free = free_try(base_of(record.name, is_claimed), is_claimed)
    day = f" --date {record.arguments['date']}" if "date" in record.arguments else ""
    raise BadInput(
        f"A name that is submitted again must be of a run that goes on or went well, got '{record.name}', which has "
        f"ended as {state} ({about['url']}). Find out why; to repeat it, submit it with --name {free}{day}."
    )


def state_of(api: Api, store: Store, name: str, run_id: str) -> str:
    """Return the state of a run, or GONE; of one that has ended it is written down."""
    try:
        state = str(api.get_run(run_id).state)
    except Absent:
        state = GONE
    if state in {*FINAL, GONE}:
        write_end(store, name, state)
    return state


def write_end(store: Store, name: str, state: str) -> dict[str, Any]:
    """Write down how a run has ended, unless somebody has, and return evaluate's decision; empty when there is none."""
    decision = read(store, name, DECISION) or {}
    put(store, name, ENDED, {"state": state, **decision, "ended": utc_now()})
    return decision


def until_final(api: Api, run_id: str) -> Any:
    """Ask for a run again and again until it has ended, telling of its tasks."""
    told: set[str] = set()
    since = time.monotonic()
    while True:
        try:
            run = api.get_run(run_id)
            since = time.monotonic()
        except Unanswered:
            if time.monotonic() - since > PATIENCE_S:
                raise
            time.sleep(POLL_S)
            continue
        for line in news(run, told):
            say(line)
        if run.state in FINAL:
            return run
        time.sleep(POLL_S)


def news(run: Any, told: set[str]) -> Iterator[str]:
    """Write a line for every task that has begun or ended since the last time; `told` keeps what was told."""
    for task in tasks_of(run):
        key = f"{task.task_id} {task.state}"
        if key not in told and task.state in {"RUNNING", *FINAL}:
            told.add(key)
            yield f"{time.strftime('%H:%M:%S', time.gmtime())} {task.display_name:<12} {task.state.lower()}"


def tasks_of(run: Any) -> list[Any]:
    """Return the tasks that are steps, not those that the workflow engine adds."""
    tasks = (run.run_details.task_details if run.run_details else None) or ()
    return [task for task in tasks if task.display_name and not task.display_name.endswith(OF_THE_ENGINE)]


def conclude(store: Store, record: Record, run: Any) -> int:
    """Write down how a run ended, and say it in a sentence."""
    decision = write_end(store, record.name, run.state)
    if run.state != SUCCEEDED:
        return _tell_failure(run, read(store, record.name, FAULT) or {})
    is_training = record.pipeline == "training"
    is_decided = "decision" in decision or not runs_step(claims.claimed(store, record.name).begins_at, "evaluate")
    if is_training and not is_decided:
        raise ApiFailed(
            "A training run that has succeeded must leave evaluate's decision in the store, got none "
            f"({store.locate(key_of(record.name, DECISION))}). Look at the run's report."
        )
    decided = decision if is_training else {}  # evaluate run again alone publishes nothing
    sentence, code = outcome(record.name, decided, str(decided.get("headline") or ""))
    say(sentence)
    return code


def _tell_failure(run: Any, fault: Mapping[str, Any]) -> int:
    """Say why a run failed; returns what a step that only a person can help would have ended with, else 1."""
    failed = [task for task in tasks_of(run) if task.state == "FAILED"]
    for task in failed:
        why = task.error.message if task.error and task.error.message else "its pod's log says why"
        tell(f"{task.display_name} failed: {why}")
    if fault:
        tell(f"Its {fault_line(fault)}")
    error = f": {run.error.message}" if run.error and run.error.message else ""
    tell(f"The run has ended as {run.state}{error}. Mend it, and submit again under another --name.")
    return REFUSED if fault.get("exit_code") == REFUSED else 1
