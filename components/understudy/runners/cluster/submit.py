"""Submit a pipeline run to Kubeflow Pipelines, once for each name, and wait for it when asked to.

    understudy submit nightly --card CARD --texts s3://.. --store s3://.. [--date YYYY-MM-DD] [--wait]
    understudy submit training --card CARD --texts s3://.. --labels s3://.. --store s3://.. [--when-asked]
    understudy submit quality --card CARD --store s3://.. [--answers s3://..]

Given again with the same name, the command finds the run that it made before: see claims.py. `run` reads from the
request to the exit code.

Exit code 0: submitted, or ended well. 2: something that was given must be changed, also the name of a run that has
failed. 3: a gate refused (with --wait). 1: anything else, as an outage, or a run that failed or was cancelled while it
was waited for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from understudy.data import cards
from understudy.errors import BadInput, UnderstudyError
from understudy.pipelines.compile import version_name
from understudy.runners import checks, runs
from understudy.runners.cluster import claims, follow, repeats, retrain
from understudy.runners.cluster.create import Cluster, Target, connected, create_once
from understudy.runners.names import default_name
from understudy.runners.request import OWN, Request, check_own, check_texts
from understudy.runners.runs import Record
from understudy.runners.terminal import say, tell
from understudy.store import layout
from understudy.store.names import night_of
from understudy.store.runs import DECISION, FAULT, STARTED, key_of, read
from understudy.store.storage import Store, open_store
from understudy.task.card import Card

MOST_BYTES = 10_000  # of all arguments together: the API refuses more
PERIODIC = ("nightly", "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeating:
    """What is to become of runs that failed.

    Attributes:
        tries: most runs of the same night or week: what failed is entered again until there are so many.
        is_mended: enter a run although one that started from the same has found what only a person can mend.
    """

    tries: int = 1
    is_mended: bool = False


def run(request: Request, target: Target, most_days: int | None, repeating: Repeating, *, is_waiting: bool) -> int:
    """Check a request, see that its run is there, and wait for it when asked to.

    Args:
        request: what a person or a CronJob asks for.
        target: where.
        most_days: submit only when a night has asked for it, and at most once in so many days; None submits always.
        repeating: what is to become of runs that failed.
        is_waiting: wait until the run has ended.

    Returns:
        the exit code, as this module describes them.
    """
    try:
        return _entered(request, target, most_days, repeating, is_waiting=is_waiting)
    except UnderstudyError as error:
        tell(str(error))
        return error.exit_code


def _entered(request: Request, target: Target, most_days: int | None, repeating: Repeating, *, is_waiting: bool) -> int:
    """See that the run that is asked for is there; returns the exit code."""
    card = check(request)
    cluster = connected(target, open_store(request.store))
    name = request.name or default_name(request, card)
    if most_days is not None:
        answer = retrain.answer(cluster.store, card.name, most_days, cluster.api)
        if not answer.name:
            say(answer.reason)
            return 0
        name = answer.name
    name = repeats.name_to_enter(cluster.store, cluster.api, name, repeating.tries)
    record, about, is_new = submit(replace(request, name=name), cluster, repeating)
    code = 0 if request.name else enter_earlier(request, card, cluster, repeating)
    if is_waiting:
        return follow.wait(cluster.api, cluster.store, record, about) or code
    if not is_new:
        follow.require_no_failure(cluster.api, cluster.store, record, about)
    return code


def check(request: Request) -> Card:
    """Check everything that can be checked here, and report all faults together.

    The student's weights and the teacher's key are in other images and pods: their steps check them first of all.

    Raises:
        BadInput: with one sentence a fault.
        StorageError: the same, and a store is out of order.
    """
    return checks.with_card(request.card, partial(checks_of, request))[0]


def checks_of(request: Request, card: Card | None) -> Iterator[Callable[[], Any]]:
    """Return the checks of all that a request names but the card."""
    yield partial(on_s3, "--store", request.store, partial(checks.check_store, request.store, card))
    yield partial(on_s3, "--texts", request.texts, partial(check_texts, request, card))
    yield partial(on_s3, "--labels", request.labels, partial(check_own, request, card))
    yield partial(on_s3, "--answers", request.answers, partial(night_of, request.date))
    yield partial(checks.check_settings, request.overrides, card)
    yield partial(runs.check_name, request.name)


def on_s3(flag: str, address: str, check: Callable[[], Any]) -> None:
    """Check that the cluster can reach what an address names, then the rest.

    Raises:
        BadInput: it lies on this machine, or what `check` finds.
    """
    if address and not address.startswith("s3://"):
        raise BadInput(
            f"An address must begin with s3:// in a submitted run, got '{address}' ({flag}). The cluster cannot read "
            "this machine's files: copy them to object storage."
        )
    check()


def submit(request: Request, cluster: Cluster, repeating: Repeating) -> tuple[Record, Mapping[str, Any], bool]:
    """See that the run of a request is there, once, and say where.

    Returns:
        what was asked for, what the store says of the run, and whether this call created it.

    Raises:
        BadInput: the pipeline or its version is not installed, access is lacking, the name is another's, or a run that
            started from the same has found what only a person can mend.
        ApiFailed: the pipelines API is out of order.
    """
    api, store = cluster.api, cluster.store
    record = record_of(request, cluster.target, store)
    about, is_new = claims.submitted(store, record), False
    if about is None:
        version = api.version(record.pipeline, record.target["version"])  # one that is not installed claims no name
        if not repeating.is_mended and read(store, record.name, STARTED) is None:
            repeats.require_mended(store, record)
        first = claims.claim(store, record, tell)
        if first.target["version"] != version.name:
            version = api.version(first.pipeline, first.target["version"])
        about, is_new = create_once(cluster, first, version, first.arguments)
    say(f"{'Submitted' if is_new else 'Submitted before'}: {record.name} ({about['version']})")
    say(f"Run: {about['run_id']}\n{about['url']}")
    return record, about, is_new


def enter_earlier(request: Request, card: Card, cluster: Cluster, repeating: Repeating) -> int:
    """Enter again the nights or weeks before that failed, and say what keeps one from it.

    Returns:
        1 when one could not be entered and the next try may do it, else 0: what only a person can mend is said, and
        keeps nobody from the night that was asked for.
    """
    code = 0
    if repeating.tries == 1 or request.pipeline not in PERIODIC:
        return code
    day = night_of(request.date)
    names = [default_name(replace(request, date=before), card) for before in repeats.days_before(day)]
    for base in dict.fromkeys(name for name in names if name != default_name(request, card)):
        try:
            again = repeats.again(cluster.store, cluster.api, base, repeating.tries)
            if again is None:
                continue
            asked = replace(request, name=again.name, date=again.day)
            check(asked)
            submit(asked, cluster, repeating)
        except UnderstudyError as error:
            tell(f"'{base}' could not be entered again: {error}")
            code = code or (0 if isinstance(error, BadInput) else error.exit_code)
    return code


def record_of(request: Request, target: Target, store: Store) -> Record:
    """Put the card into the store, and write down what is asked for."""
    card, text = cards.read(request.card)
    key = layout.CARDS.key(card=card.name, name=card.hash)
    store.put_if_absent(key, text.encode())
    name = str(request.name)
    record = Record(
        name=name,
        pipeline=request.pipeline,
        runner=claims.RUNNER,
        card=card.name,
        card_hash=card.hash,
        arguments=arguments_of(request, store, store.locate(key), name),
        started=runs.utc_now(),
        artifacts=target.root,
        target=target.claimed(card.name, target.version or version_name(request.pipeline)),
    )
    return replace(record, inputs=repeats.inputs_of(record, store))


def arguments_of(request: Request, store: Store, card: str, name: str) -> dict[str, str]:
    """Return the pipeline's arguments; the day is fixed now, so that a run which begins after midnight keeps it.

    Raises:
        BadInput: they are longer than the API takes.
    """
    own = {key: getattr(request, key) for key in OWN[request.pipeline]}
    if "date" in own:
        own["date"] = night_of(request.date)
    own["fault"] = store.locate(key_of(name, FAULT))
    if request.pipeline == "training":
        own["record"] = store.locate(key_of(name, DECISION))
    found = {"card": card, "store": store.uri, "overrides": request.overrides, **own}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in found.items())
    if size > MOST_BYTES:
        raise BadInput(
            f"A run's arguments must be at most {MOST_BYTES:,} bytes, got {size:,} (--set). Put settings into the card."
        )
    return found
