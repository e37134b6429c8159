"""Run the demo: a training run on its own texts, then three nights.

A rehearsal teacher stands in for the LLM, so it costs nothing. It gives some wrong answers on purpose, most of them on
texts that warn ("avoid ..."), and the end says whether the audit has found that out. Everything is under build/demo.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.runners.local import run as local
from understudy.runners.outcome import REFUSED
from understudy.runners.request import Request
from understudy.runners.terminal import duration, front_door, tell
from understudy.text import numbers

ROOT = Path(__file__).parents[1]
TASK = ROOT / "pipelines/tasks/hotel-tips"
BUILD = ROOT / "build/demo"
FLIP, BIAS = 0.04, {"avoid": 0.6}
NIGHTS = ("2026-11-01", "2026-11-02", "2026-11-03")
SENTENCE = "Avoid the rooms above the bar, and ask for one facing the garden."


def main() -> int:
    """Run the demo from a clean folder; returns the exit code of the training run."""
    started = time.monotonic()
    shutil.rmtree(BUILD, ignore_errors=True)
    print("Learning to find the tips in hotel reviews from a rehearsal teacher; this takes a few minutes.\n")
    try:
        with rehearsal_teacher(BUILD / "injected.jsonl") as injected:
            code = local.run(request())
    except UnderstudyError as error:
        tell(str(error))
        return error.exit_code
    if code in {0, REFUSED}:
        shutil.copyfile(BUILD / "runs/demo/report.html", BUILD / "report.html")
        print("\n".join(closing_lines(injected, is_published=code == 0)))
        code = code or run_nights()
        print(f"\nThe demo took {duration(time.monotonic() - started)}.")
    return code


def run_nights() -> int:
    """Label three nights by what was published, and say where the answers are; returns the first exit code but 0."""
    for night in NIGHTS:
        print(f"\nThe night of {night}:\n")
        if code := local.run(night_request(night)):
            return code
    print(f"\nWatch:     {shown(BUILD / 'runs' / f'night-{NIGHTS[-1]}' / 'report.html')}")
    print(f'Search:    .venv/bin/understudy search "avoid" --label tip --store {shown(BUILD / "store")}')
    return 0


def night_request(night: str) -> Request:
    """Say what a night of the demo runs."""
    return Request(
        pipeline="nightly",
        card=str(TASK / "card.yaml"),
        texts=str(TASK / "nights" / "{date}.csv"),
        store=str(BUILD / "store"),
        date=night,
        work=Path(shown(BUILD / "runs")),
        name=f"night-{night}",
    )


def request() -> Request:
    """Say what the demo runs."""
    return Request(
        pipeline="training",
        card=str(TASK / "card.yaml"),
        texts=str(TASK / "texts.csv"),
        labels=str(TASK / "labels.csv"),
        store=str(BUILD / "store"),
        work=Path(shown(BUILD / "runs")),
        name="demo",
    )


@contextmanager
def rehearsal_teacher(injected: Path) -> Iterator[Path]:
    """Start a rehearsal teacher, and let this process ask it.

    Args:
        injected: file that takes what it answers, and why where that is wrong.

    Yields:
        that file.
    """
    from understudy.teacher.injected_errors import Errors
    from understudy.teacher.simulated import Plan, serve

    injected.parent.mkdir(parents=True, exist_ok=True)
    errors = Errors(flip=FLIP, bias=BIAS)
    plan = Plan(TASK / "answers.csv", errors, card=TASK / "card.yaml", has_logprobs=True, injected=injected)
    with serve(plan) as server, environment(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="rehearsal"):
        yield injected


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables for the length of a `with` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def closing_lines(injected: Path, *, is_published: bool) -> Iterator[str]:
    """Write what came out: the headline table, what was injected and what was found, and where to go from here."""
    from understudy.reports.evaluation import summary_lines

    run = BUILD / "runs/demo"
    audit = read(run / "audit/audit/audit.json")
    answers = [json.loads(line) for line in injected.read_text(encoding="utf-8").splitlines()]
    yield ""
    yield from summary_lines(read(run / "evaluate/evaluation/evaluation.json"))
    yield ""
    yield f"Injected: {injected_sentence(answers)}"
    yield f"Audit:   {audit_sentence(audit)}"
    yield f"         {found_sentence(set(BIAS), audit)}"
    yield ""
    yield f"Report:    {shown(BUILD / 'report.html')}"
    if is_published:
        yield f"Published: {shown(BUILD / 'store/current.json')}"
        yield f'Try it:    .venv/bin/understudy predict --store {shown(BUILD / "store")} "{SENTENCE}"'


def injected_sentence(answers: list[Mapping[str, str]]) -> str:
    """Say which wrong answers the rehearsal teacher gave on purpose."""
    flipped = sum(answer["why"] == "flip" for answer in answers)
    missed = {name: sum(answer["why"] == f"bias:{name}" for answer in answers) for name in BIAS}
    biases = " and ".join(f"missed {number} tips of the slice '{name}'" for name, number in missed.items())
    return (
        f"of {numbers.count(len(answers), 'text')} the rehearsal teacher {biases}, and flipped {flipped} other answers."
    )


def audit_sentence(audit: Mapping[str, Any]) -> str:
    """Return the audit's verdict on the slices that it calls biased."""
    biased = [part["sentence"] for part in audit["slices"] if part["is_biased"]]
    return " ".join(biased) or str(audit["verdict"][0])


def found_sentence(injected: set[str], audit: Mapping[str, Any]) -> str:
    """Compare the slices in which a bias was injected with those that the audit calls biased.

    >>> found_sentence({"avoid"}, {"slices": [{"name": "avoid", "is_biased": True}]})
    "Found what was injected, and nothing else: 'avoid'."
    """
    found = {part["name"] for part in audit["slices"] if part["is_biased"]}
    if found == injected:
        return f"Found what was injected, and nothing else: {quoted(found)}."
    missed, invented = injected - found, found - injected
    parts = [f"missed {quoted(missed)}"] * bool(missed) + [f"named {quoted(invented)} by mistake"] * bool(invented)
    return f"The audit {' and '.join(parts)}."


def quoted(names: set[str]) -> str:
    """List names in quotes."""
    return ", ".join(f"'{name}'" for name in sorted(names))


def read(file: Path) -> dict[str, Any]:
    """Read a JSON file."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def shown(path: Path) -> str:
    """Write a path as it is typed from here."""
    return os.path.relpath(path)


if __name__ == "__main__":
    front_door(lambda: sys.exit(main()))
