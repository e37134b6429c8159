"""The parts of a step's README that are generated from the code: what it is for, inputs, outputs, settings."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import understudy
from understudy.runtime import docstrings, shell
from understudy.task.settings import STEPS, config_of, field_types

STEPS_DIR = Path(understudy.__file__).parent / "steps"
BEGIN, END = "<!-- generated: `make docs` -->", "<!-- end of generated -->"


def settings_lines(step: str) -> list[str]:
    """One line a setting: name, default, what it means."""
    config = config_of(step)
    described = docstrings.attributes(config)
    return [f"  {field.name}={_default(field)}  {described.get(field.name, '')}" for field in fields(config)]


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
    config = config_of(step)
    described = docstrings.attributes(config)
    types = field_types(config)
    rows = [
        f"| `{field.name}` | {types[field.name]} | `{_default(field)}` | {described.get(field.name, '')} |"
        for field in fields(config)
    ]
    if not rows:
        return "No settings."
    return "\n".join(
        [
            f"Settings, in the card's section `{step}` or by `--set`:",
            "",
            "| setting | type | default | what |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _default(field: Any) -> str:
    return "required" if field.default is MISSING else str(field.default)


def main() -> None:
    """Bring the README of every step up to date."""
    for step in STEPS:
        path = STEPS_DIR / step / "README.md"
        path.write_text(refreshed(step, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
