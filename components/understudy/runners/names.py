"""Name runs: by card and time, by the night or week that they are of, or by the step that they make again."""

import secrets
import time
from datetime import date

from understudy.runners.request import Request
from understudy.store.manifests import night_of
from understudy.task.card import Card


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
    return f"rerun-{step}-{_stamp()}"


def _stamp() -> str:
    """Return the time in UTC and four random signs, as they end a name that must be new."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
