"""The figures of an attack: how they add up, what they may be, and how they are told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "build" / "attack.json"
MAY_BE_ANY = ("kills", "fuzz")  # how much was tried; everything else must be 0


@dataclass(slots=True)
class Counts:
    """What an attack found.

    Attributes:
        kills: processes killed.
        lost: texts or answers that are gone, and runs that never end.
        doubled: documents or answers that stand twice.
        burnt_names: names of runs that neither --resume nor a new run accepts.
        paid_twice: requests to a teacher for a text that was paid for before, beyond those in flight at a kill.
        budget_overshoot_usd: dollars past the card's cap.
        wrong_codes: commands that ended with another exit code than their fault asks for.
        fuzz: malformed inputs that were tried.
        tracebacks: of those, how many ended in a traceback or another end that nobody wrote a sentence for.
        hangs: of those, how many ran longer than 10 seconds.
        memory_over: of those, how many held 200 MB more than the same command on good input.
        keys_shown: bytes of keys in outputs and files.
        notes: what was found, a line each.
    """

    kills: int = 0
    lost: int = 0
    doubled: int = 0
    burnt_names: int = 0
    paid_twice: int = 0
    budget_overshoot_usd: float = 0.0
    wrong_codes: int = 0
    fuzz: int = 0
    tracebacks: int = 0
    hangs: int = 0
    memory_over: int = 0
    keys_shown: int = 0
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: "Counts") -> "Counts":
        """Add two attacks up."""
        return Counts(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    @property
    def figures(self) -> dict[str, float]:
        """Every figure by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "notes"}

    @property
    def broken(self) -> list[str]:
        """Names of the figures that break their bound."""
        return [name for name, value in self.figures.items() if value and name not in MAY_BE_ANY]


def report(counts: Counts, settings: Mapping[str, Any], seed: int, seconds: float) -> None:
    """Print a line a figure, and write them as a benchmark's are."""
    for name, value in counts.figures.items():
        print(f"{name} {value:.6g}")
    content = {
        "figures": {name: {"value": value, "low": None, "high": None} for name, value in counts.figures.items()},
        "settings": dict(settings),
        "seeds": [seed],
        "seconds": round(seconds, 1),
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
