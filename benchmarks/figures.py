"""How a benchmark tells what it found: a line a figure, and build/benchmark-NAME.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.stats.metrics import Interval

BUILD = Path(__file__).parents[1] / "build"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95% interval; None for a count, or where there is none."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, interval: Interval) -> "Figure":
        """Take a value with its interval."""
        return cls(interval.value, interval.low, interval.high)


def report(
    name: str, figures: Mapping[str, Figure], settings: Mapping[str, Any], seeds: Sequence[int], seconds: float
) -> Path:
    """Print a line a figure, and write the file.

    Args:
        name: of the benchmark.
        figures: by name.
        settings: what else somebody must know who repeats it.
        seeds: of everything that was drawn.
        seconds: how long it took.

    Returns:
        the file.
    """
    for key, figure in figures.items():
        bounds = [f"{bound:.6g}" for bound in (figure.low, figure.high) if bound is not None]
        print(" ".join([key, f"{figure.value:.6g}", *bounds]), flush=True)
    file = BUILD / f"benchmark-{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "figures": {key: asdict(figure) for key, figure in figures.items()},
        "settings": dict(settings),
        "seeds": list(seeds),
        "seconds": round(seconds, 1),
    }
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file
