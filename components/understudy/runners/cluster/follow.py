"""Wait for a submitted run, a line for every step that has ended, and say how it ended.

The state comes from the pipelines API, evaluate's decision from the store: the API tells what tasks gave only by
artifact ids of its metadata store and by names that its workflow engine makes up, while `decision.json` is put by the
step itself, under the name that was claimed for the run.
"""

import time
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from understudy.errors import BadInput
from understudy.runners.cluster import claims, workflow
from understudy.runners.cluster.api import FINAL, Absent, Api, ApiFailed, Unanswered
from understudy.runners.cluster.progress import SUCCEEDED, failed_steps, message_of, progress_of
from understudy.runners.names import base_of, free_try
from understudy.runners.outcome import REFUSED, outcome
from understudy.runners.runs import Record, runs_step, utc_now
from understudy.runners.terminal import say, tell
from understudy.store.runs import DECISION, ENDED, FAULT, STARTED, fault_line, key_of, put, read
from understudy.store.storage import Store

POLL_S = 10.0
PATIENCE_S = 900.0
KUBEFLOW = "kubeflow"  # where the runs of an API lie that serves one user
GONE = "GONE"  # the API has no such run any more
FAILURES = {"FAILED", "CANCELED", GONE}


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
    """Ask for a run again and again until it has ended, telling of its steps."""
    told: set[Hashable] = set()
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


def news(run: Any, told: set[Hashable]) -> Iterator[str]:
    """Write a line for every step that has succeeded since the last time, and for every tenth of one's shards.

    `told` keeps what was told.
    """
    for progress in progress_of(run):
        if progress.mark not in told:
            told.add(progress.mark)
            yield f"{time.strftime('%H:%M:%S', time.gmtime())} {progress}"


def conclude(store: Store, record: Record, run: Any) -> int:
    """Write down how a run ended, and say it in a sentence."""
    decision = write_end(store, record.name, run.state)
    if run.state != SUCCEEDED:
        return _tell_failure(record, run, read(store, record.name, FAULT) or {})
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


def _tell_failure(record: Record, run: Any, fault: Mapping[str, Any]) -> int:
    """Say why a run failed; returns what a step that only a person can help would have ended with, else 1."""
    namespace = record.target.get("namespace") or KUBEFLOW
    nodes = workflow.failed_nodes(namespace, str(run.run_id)) if run.state == "FAILED" else []
    logs = f"its pod's log says why, or, where there never was a pod, `{workflow.how_to_read(namespace, run.run_id)}`"
    failed = failed_steps(run)
    for step in failed:
        why = message_of(run, step) or workflow.message_of(nodes, step)
        tell(f"{step} failed: {f'{why} ({logs})' if why else logs}")
    if fault:
        tell(f"Its {fault_line(fault)}")
    said = (run.error and run.error.message) or (nodes[0].message if nodes and not failed else "")
    error = f": {said}" if said else ""
    tell(f"The run has ended as {run.state}{error}. Mend it, and submit again under another --name.")
    return REFUSED if fault.get("exit_code") == REFUSED else 1
