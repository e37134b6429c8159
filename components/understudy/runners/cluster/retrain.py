"""Decide whether a training run is submitted because a night has asked for one.

`watch` leaves `watch/retrain/<night>.json` when the model should learn again. The run that answers is named after that
night, so that its claim is the answer: nothing else has to be written down, and asking twice makes one run. A claim
that has no run yet is gone on with before anything else; a run that failed is no answer, and is tried again under a
name of its own a day later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from typing_extensions import TypedDict

from understudy.errors import BadArtifact
from understudy.runners.cluster.api import Api
from understudy.runners.cluster.claims import RUNNER
from understudy.runners.cluster.follow import state_of
from understudy.runners.cluster.repeats import FAILED
from understudy.runners.names import free_try, is_try_of, retrain_name
from understudy.runners.runs import runs_step
from understudy.store import codecs, layout
from understudy.store.names import is_day
from understudy.store.runs import ENDED, Told, read, read_all
from understudy.store.storage import Store

DAYS_AFTER_FAILURE = 1


class Asked(TypedDict, total=False):
    """What a night asked, as far as it matters here."""

    generation: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The name of the run to submit, or, when it is empty, why there is none."""

    name: str
    reason: str


def answer(store: Store, card: str, most_days: int, api: Api) -> Answer:
    """Say whether the newest night that has asked for a training is to get one now.

    Args:
        store: with the watch's records and the runs'.
        card: name of the task.
        most_days: no training within so many days of the one before.
        api: tells which submitted runs have ended.

    Raises:
        BadArtifact: what a night or a run left is damaged.
    """
    nights = asking(store)
    found = [it for it in read_all(store) if (it.started["pipeline"], it.started["card"]) == ("training", card)]
    trainings = [followed(store, api, it) for it in found] if nights else []
    decided = decide(card, nights, trainings, most_days, datetime.now(UTC).date())
    if decided.name and (running := [it.name for it in trainings if is_running(it)]):
        return Answer("", f"Nothing to do now: the training run {running[0]} is under way.")
    return decided


def asking(store: Store) -> list[str]:
    """Return the nights that have asked about the model that serves; what was asked about an older one is over.

    Raises:
        BadArtifact: what a night left is damaged.
    """
    from understudy.store import registry

    current = registry.read_current(store)
    serving = current.generation if current else 0
    nights = {_night(store, key): key for key in store.list(layout.RETRAIN.prefix())}
    return [night for night, key in nights.items() if _generation(store, key, serving) >= serving]


def _night(store: Store, key: str) -> str:
    """Return the night that has asked; its date names the run that answers."""
    fields = layout.RETRAIN.fields(key)
    if fields is None or not is_day(fields["day"]):
        raise codecs.unreadable("named after a night", f"'{key}'", store.uri)
    return fields["day"]


def _generation(store: Store, key: str, default: int) -> int:
    """Return the generation of the model that a night has judged."""
    try:
        asked = codecs.read_mapping(store.read(key), store.locate(key), Asked)
        return int(asked.get("generation", default))
    except BadArtifact as error:
        raise BadArtifact(
            f"What a night has asked must be readable, got: {error} ({store.locate(key)}). Remove that object."
        ) from error


def decide(card: str, nights: Sequence[str], trainings: Sequence[Told], most_days: int, today: date) -> Answer:
    """Decide by what is in the store alone.

    Args:
        card: name of the task.
        nights: that have asked, YYYY-MM-DD.
        trainings: of this card, with their ends.
        most_days: no training within so many days of the one before; of one that failed, within a day.
        today: in UTC.
    """
    if not nights:
        return Answer("", "Nothing to do: no night has asked for a training of the model that serves.")
    night = max(nights)
    begun = max((_day(it) for it in trainings if is_answer(it)), default="")
    claims = {it.name for it in trainings if is_only_claimed(it)}
    if left := [it for ask in nights if ask > begun for it in claims if is_try_of(it, retrain_name(card, ask))]:
        return Answer(max(left), "begun and not yet submitted")
    if begun >= night:
        return Answer("", f"Nothing to do: the night {night} was answered by the training of {begun}.")
    failed = max((_day(it) for it in trainings if it.ended.get("state") == FAILED), default="")
    for day, days, what in ((begun, most_days, "began"), (failed, min(most_days, DAYS_AFTER_FAILURE), "failed")):
        if day and today < (free := date.fromisoformat(day) + timedelta(days=days)):
            return Answer("", f"Nothing to do now: the last training {what} on {day}, the next may on {free}.")
    name = free_try(retrain_name(card, night), {it.name for it in trainings}.__contains__)
    return Answer(name, f"the night {night} has asked for it")


def _day(told: Told) -> str:
    return str(told.started["started"])[:10]


def is_answer(told: Told) -> bool:
    """Tell whether a training run makes a student: it was begun, has not failed, and does not skip that step."""
    is_begun = not is_only_claimed(told) and told.ended.get("state") != FAILED
    return is_begun and runs_step(told.started.get("begins_at", ""), "train")


def is_only_claimed(told: Told) -> bool:
    """Tell whether a name is claimed for a run on a cluster that nobody is known to have created."""
    return told.started["runner"] == RUNNER and not told.submitted and not told.ended


def is_running(told: Told) -> bool:
    """Tell whether a submitted run has not ended."""
    return told.started["runner"] == RUNNER and bool(told.submitted) and not told.ended


def followed(store: Store, api: Api, told: Told) -> Told:
    """Ask for a run that was under way, and add how it has ended."""
    if is_running(told):
        state_of(api, store, told.name, told.submitted["run_id"])
        return replace(told, ended=read(store, told.name, ENDED) or {})
    return told
