"""Read people's answers from Label Studio's JSON export, the one that leaves a task's data as it was.

Its CSV and its JSON-MIN write the number of the task over a field `id` of the data, so an answer from there may stand
for another text; they are known by their columns and refused. The id that counts is in a field that no export writes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from understudy.data import rows
from understudy.data.limits import MOST_EXPORT_BYTES, MOST_EXPORT_VALUES, MOST_TASK_BYTES
from understudy.data.rows import Refusal
from understudy.errors import BadData
from understudy.task import label_sets
from understudy.text.numbers import clipped

CONTROL = "label"  # name of the choice on our labelling page
ID_FIELD = "understudy_id"
MOST_SECONDS = 86_400  # of one answer: beyond, a page was left open
ITS_COLUMNS = {"annotator", "created_at", "updated_at", "lead_time"}  # beside annotation_id, in CSV and JSON-MIN
ANSWERS = {"file": pl.String, "row": pl.Int64, "id": pl.String, "label": pl.String}
ANSWERS |= {"annotator": pl.String, "seconds": pl.Float64, "text": pl.String, "guideline": pl.String}
Vote = tuple[str | None, str | None, float | None]  # label, annotator, and the seconds that it took
NONE = {label_sets.NOTHING, label_sets.NO_LABEL}  # what the choice that is no label comes back as: alias, or value


class NotATask(ValueError):
    """What an export holds in the place of a task, or of a part of it; the reason and the detail of a refusal."""

    def __init__(self, detail: str, reason: str = "not_a_task") -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def is_other_export(columns: Sequence[str]) -> bool:
    """Tell whether a table comes from an export that may have written other numbers over our ids."""
    return "annotation_id" in columns and not ITS_COLUMNS.isdisjoint(columns)


def refuse_other_export(file: str) -> BadData:
    """Return the error for such a table."""
    return BadData(
        "Answers from Label Studio must be its JSON export, got one that writes its own numbers over the ids "
        f"(a column annotation_id: CSV, TSV or JSON-MIN; {file}). Export again, and choose JSON."
    )


def load(name: str, path: Path) -> list[Any] | None:
    """Read the tasks of an export: a list of them, or one alone; None for what is no such file, as a list of rows.

    Raises:
        BadData: it is another of Label Studio's exports, or larger than can be held.
    """
    try:
        with path.open("rb") as file:
            first = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if first not in {b"[", b"{"} or (first == b"{" and path.stat().st_size > MOST_TASK_BYTES):
            return None
        content = json.loads(_bounded(name, path, first))
    except (OSError, ValueError, RecursionError):
        return None
    tasks = content if isinstance(content, list) else [content]
    if any(isinstance(task, dict) and not _is_task(task) and is_other_export(list(task)) for task in tasks):
        raise refuse_other_export(name)
    is_table = bool(tasks) and all(isinstance(task, dict) and CONTROL in task and not _is_task(task) for task in tasks)
    return tasks if (isinstance(content, list) and not is_table) or _is_task(content) else None


def _bounded(name: str, path: Path, first: bytes) -> str:
    size = path.stat().st_size
    data = path.read_bytes() if size <= MOST_EXPORT_BYTES else b""
    values = sum(data.count(sign) for sign in (b",", b"{", b"[")) if first == b"[" else 0
    if size > MOST_EXPORT_BYTES or values > MOST_EXPORT_VALUES:
        got = f"{size:,} bytes" if size > MOST_EXPORT_BYTES else f"{values:,}"
        raise BadData(
            f"A JSON list must be at most {MOST_EXPORT_BYTES:,} bytes with {MOST_EXPORT_VALUES:,} values, got {got} "
            f"({name}). Export in parts, or write one object a line (JSONL)."
        )
    return data.decode("utf-8-sig")


def _is_task(task: Any) -> bool:
    return isinstance(task, dict) and "data" in task and ("annotations" in task or "completions" in task)


def read(file: str, tasks: Sequence[Any], *, is_many: bool = False) -> tuple[pl.DataFrame, list[Refusal]]:
    """Take one vote from each annotation; rows are tasks, and a task without an answer has one empty label.

    Args:
        file: its name, for refusals.
        tasks: what `load` returned.
        is_many: an annotation may hold several choices, and its label is a JSON list of them; the choice of
            `label_sets.NOTHING` alone says that the text has none of the labels.

    Returns:
        table ANSWERS, and the refused tasks.
    """
    people = _people(tasks)
    votes: list[tuple[str | float | None, ...]] = []
    refusals: list[Refusal] = []
    for number, task in enumerate(tasks, start=1):
        try:
            identity, *asked = _subject(task)
            votes += [(file, number, identity, *vote, *asked) for vote in _votes(task, people, is_many=is_many)]
        except NotATask as error:
            refusals.append(Refusal(file, number, None, error.reason, error.detail))
    return pl.DataFrame(votes, schema=ANSWERS, orient="row"), refusals


def _subject(task: Any) -> tuple[str, str | None, str | None]:
    """Return the id and the text that a task asks about, and the guideline by which."""
    data = task.get("data") if _is_task(task) else None
    if not isinstance(data, dict):
        raise NotATask("a task needs data and annotations")
    if ID_FIELD not in data and is_other_export(list(data)):
        raise NotATask("data.id may be a number of Label Studio's, for the task was imported from its export")
    identity = _plain("id", data[ID_FIELD] if ID_FIELD in data else data.get("id"))
    if identity is None:
        raise NotATask(f"the task has neither data.{ID_FIELD} nor data.id", "empty_id")
    text = data.get("text")
    guideline = data.get("guideline")
    said, fault = rows.cell_of("guideline", guideline) if isinstance(guideline, str) else (None, None)
    return identity, rows.mended(text) if isinstance(text, str) else None, None if fault else said


def _plain(name: str, value: Any) -> str | None:
    cell, fault = rows.cell_of(name, value)
    if fault:
        raise NotATask(fault[1], fault[0])
    return cell


def _votes(task: Mapping[str, Any], people: Mapping[str, str], *, is_many: bool) -> list[Vote]:
    """Return a vote for each annotation that was not cancelled; one with an empty label when there is none."""
    choice = _set_of_choices if is_many else _choice
    found = [
        (_plain("label", choice(annotation)), _plain("annotator", _person(annotation, people)), _seconds(annotation))
        for annotation in _annotations(task)
        if not annotation.get("was_cancelled") and not annotation.get("skipped")
    ]
    return found or [(None, None, None)]


def _seconds(annotation: Mapping[str, Any]) -> float | None:
    """Return how long the page was open for an answer, as Label Studio measured it; None where it says nothing of use.

    >>> _seconds({"lead_time": 12.5}), _seconds({"lead_time": "long"}), _seconds({})
    (12.5, None, None)
    """
    measured = annotation.get("lead_time")
    if isinstance(measured, bool) or not isinstance(measured, int | float):
        return None
    return float(measured) if 0 < measured < MOST_SECONDS else None


def _annotations(task: Any) -> Iterator[Mapping[str, Any]]:
    listed = (task["annotations"] if "annotations" in task else task["completions"]) if _is_task(task) else []
    for annotation in listed if isinstance(listed, list) else [None]:
        if not isinstance(annotation, dict):
            raise NotATask("a task needs a list of annotations")
        yield annotation


def _choice(annotation: Mapping[str, Any]) -> Any:
    """Return what was chosen on our page; None where nothing was."""
    chosen = _chosen(annotation)
    if len(chosen) > 1:
        raise NotATask(f"{len(chosen)} choices in one annotation")
    return chosen[0] if chosen else None


def _set_of_choices(annotation: Mapping[str, Any]) -> str | None:
    """Return all that was chosen on our page as a JSON list; None where nothing was."""
    cells = [_plain("label", choice) for choice in _chosen(annotation)]
    chosen = {cell for cell in cells if cell is not None}
    names = chosen - NONE
    if names and len(names) < len(chosen):
        raise NotATask(f"'{label_sets.NO_LABEL}' and {len(names)} of them in one annotation")
    return label_sets.written(sorted(names)) if chosen else None


def _chosen(annotation: Mapping[str, Any]) -> list[Any]:
    """Return the different choices on our page. Other controls on it are no matter of ours."""
    parts = annotation.get("result")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise NotATask("an annotation needs a list of results")
    ours = [part for part in parts if part.get("from_name") == CONTROL]
    others = [part for part in parts if part not in ours and _choices(part)]
    if not ours and others:
        name = clipped(str(others[0].get("from_name")))
        raise NotATask(f"an annotation needs a choice named '{CONTROL}', as our page has it, got one named '{name}'")
    return list({json.dumps(choice): choice for part in ours for choice in _choices(part)}.values())


def _choices(part: Mapping[str, Any]) -> list[Any]:
    value = part.get("value")
    choices = value.get("choices", []) if isinstance(value, dict) else []
    if not isinstance(choices, list):
        raise NotATask("a result needs a list of choices")
    return choices


def _people(tasks: Sequence[Any]) -> dict[str, str]:
    """Return the number of each person whose address the export names beside it."""
    people: dict[str, str] = {}
    for task in tasks:
        listed = task.get("annotations") or task.get("completions") if isinstance(task, dict) else None
        for annotation in listed if isinstance(listed, list) else []:
            person = annotation.get("completed_by") if isinstance(annotation, dict) else None
            if isinstance(person, dict) and person.get("email") and person.get("id") is not None:
                people[str(person["email"]).casefold()] = str(person["id"])
    return people


def _person(annotation: Mapping[str, Any], people: Mapping[str, str]) -> Any:
    """Return one name for a person, however the export names it: the number, which every export has, else the address.

    An export that was told to name people in full gives number and address, another the number alone.
    """
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") if person.get("id") is None else person["id"]
    return people.get(person.casefold(), person) if isinstance(person, str) else person
