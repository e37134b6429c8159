"""Set our figures beside those that the four systems behind Understudy published, with a line of verdict each.

    python -m tools.seeds           # print the table
    python -m tools.seeds --keep    # first keep what the benchmarks wrote to build/, dated, under docs/quality/

Ours are read from `docs/quality/`, where each benchmark's result is kept as it was written. An aim that was not reached
stands there as it is; a figure that nobody measured stands as such.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from understudy.text.numbers import count

ROOT = Path(__file__).parents[1]
BUILD, KEPT = ROOT / "build", ROOT / "docs/quality"
PAGE, README = ROOT / "docs/quality.md", ROOT / "README.md"
BENCHMARKS = ("quality", "preference")
BEGIN, END = "<!-- generated: `make docs` -->", "<!-- end of generated -->"
INTRO = f"""# Quality beside the four systems

{BEGIN}

Published figures are of other texts, people and teachers than ours: they say what each recipe was worth where it was
made, and the aim that follows for us. `make benchmark-quality DATA=../shared/data` measures ours again, on public texts
with labels by people; `make seeds` prints the first table. Intervals are 95%, over test texts and seeds together.
Of the forum's test set the share of suggestions is known beforehand, as a card states it, to the student and to TF-IDF
alike (`forum_f1`, `forum_vs_tfidf`, `forum_ece_excess_stated`); a tenth of its sentences are suggestions, a quarter of
those that were learned from.
"""
Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Seed:
    """A system that Understudy unites.

    Attributes:
        name: of the system.
        published: its figures and recipe.
        ours: what of ours stands beside them.
        benchmark: that measures it.
        figure: its name there.
        aim: least value that is aimed at.
        scale: from the figure to what is printed: 100 for percent.
        unit: of what is printed.
    """

    name: str
    published: str
    ours: str
    benchmark: str
    figure: str
    aim: float
    scale: float = 1.0
    unit: str = ""


SEEDS = (
    Seed(
        "Traveller tips",
        "F1 0.84 against the teacher's 0.76: +10.5%; 4,000 teacher and weak labels, up to 500 human ones a cycle",
        "F1 over a simulated teacher of 0.76 on 808 hotel sentences, half of them tips; 500 human labels, other folds",
        "quality", "gain", 0.105, 100, "%",
    ),
    Seed(
        "Analyze-Revise-Finetune",
        "an editor revises the teacher's named errors before fine-tuning; no figure that our data can repeat",
        "MCC over the vote of three open LLMs on news, their errors answered by 500 human labels, no editor",
        "quality", "real_gain_mcc", 0.0,
    ),
    Seed(
        "TakeMeter",
        "label design first, and do not fine-tune where the LLM wins",
        "accuracy over the same LLMs, in points: above zero, fine-tuning is worth it",
        "quality", "real_gain_accuracy", 0.0, 100, " points",
    ),
    Seed(
        "Preference learning over dialogue pairs",
        "more than 1.5 points over cross-entropy on dialogue acts, most with little data",
        "the same difference on acts of meetings, same 500 noisy labels",
        "preference", "acts_500_gain_session", 1.5, 1, " points",
    ),
)  # fmt: skip


def read_kept() -> dict[str, dict[str, Any]]:
    """Read the results that are kept, by benchmark."""
    files = ((name, KEPT / f"{name}.json") for name in BENCHMARKS)
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files if file.is_file()}


def keep(day: str) -> list[str]:
    """Keep what the benchmarks wrote, with its date; return whose."""
    KEPT.mkdir(exist_ok=True)
    found = [name for name in BENCHMARKS if (BUILD / f"benchmark-{name}.json").is_file()]
    for name in found:
        result = {"date": day, **json.loads((BUILD / f"benchmark-{name}.json").read_text(encoding="utf-8"))}
        (KEPT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return found


def verdict(figure: Mapping[str, float | None] | None, aim: float) -> str:
    """Say in a few words whether an aim was reached.

    >>> verdict({"value": 0.12, "low": 0.11, "high": 0.13}, 0.105)
    'reached'
    >>> verdict({"value": 0.12, "low": 0.05, "high": 0.19}, 0.105)
    'reached by the estimate, not by its whole interval'
    >>> verdict({"value": 0.05, "low": 0.01, "high": 0.12}, 0.105)
    'not reached; the interval holds the aim'
    >>> verdict({"value": 0.05, "low": 0.01, "high": 0.09}, 0.105), verdict(None, 0.105)
    ('not reached', 'not measured yet')
    >>> verdict({"value": 0.12, "low": None, "high": None}, 0.105)
    'not told by one seed'
    """
    if figure is None:
        return "not measured yet"
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "not measured yet" if value is None else "not told by one seed"
    if value >= aim:
        return "reached" if low >= aim else "reached by the estimate, not by its whole interval"
    return "not reached; the interval holds the aim" if high >= aim else "not reached"


def table(results: Results) -> str:
    """Return the four systems' table in Markdown."""
    rows = [_row(seed, results.get(seed.benchmark)) for seed in SEEDS]
    head = ["| system | published there | ours | figure | aim | verdict |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _row(seed: Seed, result: Mapping[str, Any] | None) -> str:
    figure = None if result is None else result["figures"].get(seed.figure)
    shown = "-" if result is None or figure is None else f"{_shown(figure, seed)}; {_extent(result)}"
    aim = f"{seed.scale * seed.aim:g}{seed.unit}"
    return f"| {seed.name} | {seed.published} | {seed.ours} | {shown} | {aim} | {verdict(figure, seed.aim)} |"


def _shown(figure: Mapping[str, float | None], seed: Seed) -> str:
    scale = seed.scale
    known = (scale * it for name in ("value", "low", "high") if (it := figure[name]) is not None)
    value, *ends = (f"{it:.{1 if scale > 1 else 3}f}" for it in known)
    return f"{value}{seed.unit} ({' to '.join(ends)})" if ends else f"{value}{seed.unit}"


def _extent(result: Mapping[str, Any]) -> str:
    """Say how much was measured."""
    return f"{count(len(result['seeds']), 'seed')}, size {result['settings'].get('size', 'full')}"


def page(results: Results) -> str:
    """Return docs/quality.md."""
    parts = [INTRO, table(results), ""]
    for name, result in results.items():
        extent = f"{_extent(result)}, {result['seconds'] / 3600:.1f} hours."
        parts += [f"## benchmark-{name}, {result['date']}", "", extent, ""]
        parts += ["| figure | value | 95% interval |", "|---|---|---|"]
        parts += [
            f"| `{key}` | {it['value']:.3f} | {it['low']:.3f} to {it['high']:.3f} |"
            for key, it in result["figures"].items()
            if it["low"] is not None
        ]
        parts += [""]
    return "\n".join([*parts, END, ""])


def refreshed_readme(text: str, results: Results) -> str:
    """Return the README with the table brought up to date."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{rest.partition(END)[2]}"


def write_pages() -> None:
    """Bring docs/quality.md and the README's table up to date."""
    results = read_kept()
    PAGE.write_text(page(results), encoding="utf-8")
    README.write_text(refreshed_readme(README.read_text(encoding="utf-8"), results), encoding="utf-8")


def main() -> None:
    """Keep results where that is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    if parser.parse_args().keep:
        print("kept:", ", ".join(keep(f"{datetime.now(UTC):%Y-%m-%d}")) or "nothing")
        write_pages()
    print(table(read_kept()))


if __name__ == "__main__":
    main()
