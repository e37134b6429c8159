"""Whether a training run is to be submitted because a night has asked for one.

`watch` leaves `watch/retrain/<night>.json` when the model should learn again. The run that answers is named after that
night, so that its claim is the answer: nothing else has to be written down, and asking twice makes one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pipelines.api import FINAL, Absent, Api
from pipelines.claims import RUNNER
from pipelines.runs import utc_now
from understudy.run_records import ENDED, Told, put, read_all
from understudy.storage import Store

TRIGGERS = "watch/retrain/"


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
    """
    nights = [key.removeprefix(TRIGGERS).removesuffix(".json") for key in store.list(TRIGGERS)]
    trainings = [it for it in read_all(store) if (it.started["pipeline"], it.started["card"]) == ("training", card)]
    found = decide(card, nights, trainings, most_days, datetime.now(UTC).date())
    if found.name and (
        running := [it.name for it in trainings if it.name != found.name and is_running(store, api, it)]
    ):
        return Answer("", f"Nothing to do now: the training run {running[0]} is under way.")
    return found


def decide(card: str, nights: Sequence[str], trainings: Sequence[Told], most_days: int, today: date) -> Answer:
    """Decide by what is in the store alone.

    Args:
        card: name of the task.
        nights: that have asked, YYYY-MM-DD.
        trainings: of this card, the newest first.
        most_days: no training within so many days of the one before.
        today: in UTC.
    """
    if not nights:
        return Answer("", "Nothing to do: no night has asked for a training.")
    night = max(nights)
    name = f"{card}-retrain-{night}"
    if any(it.name == name and not it.submitted for it in trainings):
        return Answer(name, "begun and not yet submitted")
    begun = max((str(it.started["started"])[:10] for it in trainings), default="")
    if begun >= night:
        return Answer("", f"Nothing to do: the night {night} was answered by the training of {begun}.")
    if begun and today < (free := date.fromisoformat(begun) + timedelta(days=most_days)):
        return Answer("", f"Nothing to do now: the last training began on {begun}, the next may on {free}.")
    return Answer(name, f"the night {night} has asked for it")


def is_running(store: Store, api: Api, told: Told) -> bool:
    """Tell whether a submitted run has not ended; what is learned of an ended one is written down."""
    if told.ended or told.started["runner"] != RUNNER or not told.submitted:
        return False
    try:
        state = api.get_run(told.submitted["run_id"]).state
    except Absent:
        state = "GONE"
    if state in {*FINAL, "GONE"}:
        put(store, told.name, ENDED, {"state": state, **told.decision, "ended": utc_now()})
        return False
    return True
