"""The parts of a step's README that are generated from the code: what it is for, inputs, outputs, settings."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import understudy
from understudy.runtime import docstrings, shell
from understudy.task.settings import SECTIONS, STEPS, config_of, field_types, reads

Row = tuple[str, str, str, str]
STEPS_DIR = Path(understudy.__file__).parent / "steps"
BEGIN, END = "<!-- generated: `make docs` -->", "<!-- end of generated -->"


def settings_lines(step: str) -> list[str]:
    """One line a setting that the step reads: name, with its section where that is not the step's, default, meaning."""
    return [f"  {name}={default}  {text}" for name, _, default, text in [*_own(step), *_of_others(step)]]


def _own(step: str) -> list[Row]:
    return _rows(step, "")


def _of_others(step: str) -> list[Row]:
    rows = [row for section in SECTIONS if section != step for row in _rows(section, f"{section}.")]
    return [row for row in rows if reads(step, row[0])]


def _rows(section: str, prefix: str) -> list[Row]:
    """Return name, type, default and meaning of each setting of a section."""
    config = config_of(section)
    described, types = docstrings.attributes(config), field_types(config)
    return [
        (f"{prefix}{field.name}", types[field.name], _default(field), described.get(field.name, ""))
        for field in fields(config)
    ]


def generated_part(step: str) -> str:
    """Return the generated part of a step's README, between its two marks."""
    run = shell.load_run(step)
    shape = shell.signature(step)
    described = docstrings.arguments(run)
    rows = [f"| `{name}` | input | {described.get(name, '')} |" for name in shape.inputs]
    rows += [f"| `{name}` | output | {described.get(name, '')} |" for name in shape.outputs]
    rows += [f"| `{name}` | parameter | {described.get(name, '')} |" for name in shape.parameters]
    table = "\n".join(["| argument | kind | what |", "|---|---|---|", *rows])
    return f"{BEGIN}\n\n{docstrings.intro(run)}\n\n{table}\n\n{_settings_table(step)}\n\n{END}"


def refreshed(step: str, readme: str) -> str:
    """Return a step's README with its generated part brought up to date."""
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return before + generated_part(step) + (after or "\n")


def _settings_table(step: str) -> str:
    own, others = _own(step), _of_others(step)
    if not own and not others:
        return "No settings."
    told = [f"Settings, in the card's section `{step}` or by `--set`:", "", *_table(own)]
    if others:
        told += ["", "Read too, in the sections that they name, or by `--set` with the section:", "", *_table(others)]
    return "\n".join(told)


def _table(rows: list[Row]) -> list[str]:
    lines = [f"| `{name}` | {kind} | `{default}` | {text} |" for name, kind, default, text in rows]
    return ["| setting | type | default | what |", "|---|---|---|---|", *lines]


def _default(field: Any) -> str:
    return "required" if field.default is MISSING else str(field.default)


def main() -> None:
    """Bring the README of every step up to date."""
    for step in STEPS:
        path = STEPS_DIR / step / "README.md"
        path.write_text(refreshed(step, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
