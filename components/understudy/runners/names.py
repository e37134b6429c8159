"""Name runs: by card and time, by the night or week that they are of, or by the step that they make again."""

import secrets
import time
from datetime import date

from understudy.runners.request import Request
from understudy.store.names import night_of
from understudy.task.card import Card
from understudy.task.steps import STEPS

RERUN = "rerun"  # how the names of runs that make a step again begin


def new_name(card: Card) -> str:
    """Name a run by card and time; two that start in the same second differ by four random signs."""
    return f"{card.name}-{_stamp()}"


def default_name(request: Request, card: Card) -> str:
    """Name a run by what it is of, so that asking twice for the same night or week makes one run."""
    day = night_of(request.date)
    if request.pipeline == "nightly":
        return f"{card.name}-nightly-{day}"
    if request.pipeline == "quality":
        year, week, _ = date.fromisoformat(day).isocalendar()
        return f"{card.name}-quality-{year}-W{week:02}"
    return new_name(card)


def rerun_name(step: str) -> str:
    """Name the run of a step that is made again."""
    return f"{RERUN}-{step}-{_stamp()}"


def runs_step(name: str, step: str) -> bool:
    """Tell whether a run of a pipeline with a step runs it; one that makes a later step again does not.

    >>> runs_step("nightly-42", "train"), runs_step("rerun-label-1", "train"), runs_step("rerun-mine-1", "train")
    (True, True, False)
    """
    order = list(STEPS)
    first = name.split("-")[1] if name.startswith(f"{RERUN}-") and name.count("-") > 1 else ""
    return first not in order or order.index(first) <= order.index(step)


def _stamp() -> str:
    """Return the time in UTC and four random signs, as they end a name that must be new."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
