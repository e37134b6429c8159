"""Name runs: by card and time, by the night or week that they are of, by the step that they make again, or by a number.

The further tries of a run bear its name and their number: `<base>-2`, `<base>-3`.
"""

import re
import secrets
import time
from collections.abc import Callable
from datetime import date
from itertools import count

from understudy.runners.request import Request
from understudy.store.names import night_of
from understudy.task.card import Card

FURTHER = re.compile(r"-[1-9]\d?")  # what a further try adds to the name


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


def retrain_name(card: str, night: str) -> str:
    """Name the training that answers a night which has asked for one."""
    return f"{card}-retrain-{night}"


def nth_try(base: str, number: int) -> str:
    """Name a try of a run; the first bears the base name alone.

    >>> nth_try("tips-nightly-2026-11-01", 1), nth_try("tips-nightly-2026-11-01", 2)
    ('tips-nightly-2026-11-01', 'tips-nightly-2026-11-01-2')
    """
    return base if number == 1 else f"{base}-{number}"


def free_try(base: str, is_taken: Callable[[str], bool]) -> str:
    """Name the next try of a run: the first that nobody has.

    >>> free_try("tips", {"tips", "tips-2"}.__contains__)
    'tips-3'
    """
    return next(name for number in count(1) if not is_taken(name := nth_try(base, number)))


def is_try_of(name: str, base: str) -> bool:
    """Tell whether a name is that of a run or of a further try of it.

    >>> [is_try_of(name, "tips-2026") for name in ("tips-2026", "tips-2026-2", "tips-2026-mine")]
    [True, True, False]
    """
    return name == base or (name.startswith(base) and FURTHER.fullmatch(name, len(base)) is not None)


def base_of(name: str, is_taken: Callable[[str], bool]) -> str:
    """Return the name of the first try: the one before the number where such a run is there, as a date ends so too.

    >>> base_of("tips-2", {"tips", "tips-2"}.__contains__), base_of("tips-2026-11-12", {"tips"}.__contains__)
    ('tips', 'tips-2026-11-12')
    """
    base = name.rpartition("-")[0]
    return base if is_try_of(name, base) and is_taken(base) else name


def _stamp() -> str:
    """Return the time in UTC and four random signs, as they end a name that must be new."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
