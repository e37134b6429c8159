"""Merge the settings of a rerun with those that the step had, and check them together before anything runs."""

from collections.abc import Mapping
from typing import Any

from understudy.errors import BadSetting
from understudy.task.settings import (
    Overrides,
    build_section,
    config_of,
    field_names,
    full_key,
    parse_lines,
    require_read,
)


def check(provenance: Mapping[str, Any], overrides: str) -> None:
    """Check new settings beside those that the step had.

    Args:
        provenance: of what the step made.
        overrides: key=value lines.

    Raises:
        BadSetting: one is nothing that the step reads, unknown, or breaks a rule.
    """
    step = str(provenance["step"])
    changes = Overrides.parse(overrides, step)
    require_read(changes, step)
    had = dict(provenance.get("settings", {}))
    sections = dict.fromkeys(key.rpartition(".")[0] for key in changes.values)
    faults = []
    for section in sections:
        before = had if section == step else had.get(section, {})
        known = {name: before[name] for name in field_names(config_of(section)) if name in before}
        try:
            build_section(section, {**known, **changes.of(section)}, f"--set {section}.")
        except BadSetting as error:
            faults += error.faults
    if faults:
        raise BadSetting(faults)


def merged(step: str, before: str, now: str) -> str:
    r"""Put new override lines in the place of those that set the same of a step.

    >>> merged("train", "train.epochs=2\nlabel.texts=9", "epochs=3")
    'label.texts=9\nepochs=3'
    """
    new = parse_lines(now, step)
    kept = [line for line in before.splitlines() if full_key(line.partition("=")[0].strip(), step) not in new]
    return "\n".join([*kept, *now.splitlines()])


def with_sections(lines: str, step: str) -> str:
    r"""Write override lines as a pipeline takes them: a key without a section is the step's.

    >>> with_sections("epochs=2\nlabel.texts=9", "train")
    'train.epochs=2\nlabel.texts=9'
    """
    pairs = (line.partition("=") for line in lines.splitlines() if line.strip())
    return "\n".join(f"{full_key(key.strip(), step)}={value.strip()}" for key, _, value in pairs)
