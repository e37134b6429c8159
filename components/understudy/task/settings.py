r"""Build the settings of a run once and whole: defaults, then the card's sections, then what the run changes.

    overrides = Overrides.parse("epochs=2\nteacher.concurrency=4", step="train")  # at the border, from --set
    settings = card.settings(overrides)  # every section, checked together
    config = settings.of(TrainConfig)

A section of the card is a step's own, or shared: `teacher`, `cascade` and `columns` (sections.py). A step's config.py
names in `ALSO_READS` what it reads of other sections.
"""

import importlib
import math
import re
import reprlib
import types
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from functools import cache
from typing import Any, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadSetting
from understudy.secrets.keys import has_password
from understudy.task import plain_yaml
from understudy.task.steps import STEPS

SHARED = ("teacher", "cascade", "columns")
C = TypeVar("C")
_YAML_WORDS = {r"valid dictionary( or instance of \w+)?": "mapping", "valid tuple": "list", "valid string": "string"}
LONGEST_NAME = 100  # of what is quoted in a sentence
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


def sections() -> tuple[str, ...]:
    """Return the names of the card's sections of settings: one a step, and those that steps share."""
    return (*STEPS, *SHARED)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one run changes of the card's settings.

    Attributes:
        values: what was set, by "<section>.<setting>".
    """

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, step: str = "") -> Self:
        r"""Read `key=value` lines; values are YAML scalars.

        >>> Overrides.parse("epochs=2\nlabel.texts=50", step="train").values
        {'train.epochs': 2, 'label.texts': 50}

        Args:
            text: the lines.
            step: whose settings the keys without a section are; without one each key needs its section.

        Raises:
            BadSetting: a line is not `key=value`, or a key has no section that the card knows.
        """
        values = parse_lines(text, step)
        if faults := key_faults(values, step):
            raise BadSetting(faults)
        return cls(values)

    def of(self, section: str) -> dict[str, Any]:
        """Return what was set of a section, by setting.

        >>> Overrides({"train.epochs": 2, "label.texts": 50}).of("train")
        {'epochs': 2}
        """
        pairs = ((key.rpartition("."), value) for key, value in self.values.items())
        return {name: value for (prefix, _, name), value in pairs if prefix == section}

    def read_by(self, step: str) -> dict[str, Any]:
        """Return what was set of all that a step reads, by section and setting.

        >>> Overrides({"cascade.max_missed": 0.01, "cascade.checked_share": 1, "train.seed": 3}).read_by("export")
        {'cascade.max_missed': 0.01}
        """
        return {key: value for key, value in self.values.items() if reads(step, key)}


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of all sections, whole and sound.

    Attributes:
        records: the config record of each section, by its type.
    """

    records: Mapping[type[Any], Any]

    def of(self, config: type[C]) -> C:
        """Return the settings of a section, by the type of its config record."""
        return self.records[config]  # type: ignore[no-any-return]

    def value(self, key: str) -> Any:
        """Return the setting <section>.<setting>, for a step that reads a single one of another step."""
        section, _, name = key.rpartition(".")
        return getattr(self.records[config_of(section)], name)

    def read_by(self, step: str) -> dict[str, Any]:
        """Return all that a step reads: its own settings by name, those of another section in a mapping of its name."""
        own = config_of(step)
        read = {name: getattr(self.records[own], name) for name in field_names(own)}
        for section in (section for section in sections() if section != step):
            config = config_of(section)
            names = [name for name in field_names(config) if reads(step, f"{section}.{name}")]
            if names:
                read[section] = {name: getattr(self.records[config], name) for name in names}
        return read


def build_settings(written: Mapping[str, Mapping[str, Any]], overrides: Overrides) -> Settings:
    """Build all settings from a card's sections and what a run changes, reporting every fault at once.

    Raises:
        BadSetting: a value breaks a rule, or a setting is unknown.
    """
    records, faults = {}, []
    for section in sections():
        try:
            record = build_section(section, {**written.get(section, {}), **overrides.of(section)}, f"{section}.")
            records[config_of(section)] = record
        except BadSetting as error:
            faults += error.faults
    if faults:
        raise BadSetting(faults)
    return Settings(records)


def build_section(section: str, settings: Mapping[str, Any], where: str) -> Any:
    """Build the config record of a section; a shared setting that stands in a step's section is told its place.

    Args:
        section: a step or a shared section.
        settings: what differs from the defaults.
        where: named in the messages, as "<where><key>".

    Raises:
        BadSetting: with one sentence a fault.
    """
    homes = {key: home for key in settings if (home := _home_elsewhere(section, key))}
    faults = [
        f"The setting '{key}' must stand in the section '{home}', got it in '{section}' ({where}{key}). Move it there."
        for key, home in homes.items()
    ]
    left = {key: value for key, value in settings.items() if key not in homes}
    try:
        record = build_config(config_of(section), left, where)
    except BadSetting as error:
        raise BadSetting([*faults, *error.faults]) from error
    if faults:
        raise BadSetting(faults)
    return record


def _home_elsewhere(section: str, key: str) -> str | None:
    """Return the shared section that has a setting which this one lacks, as those do that once were a step's."""
    if key in field_names(config_of(section)):
        return None
    return next((home for home in SHARED if key in field_names(config_of(home))), None)


@cache
def config_of(section: str) -> type[Any]:
    """Return the config record of a section, by the naming rule: <Section>Config in the step's config.py.

    That of a shared section is in `understudy.task.sections`.
    """
    home = "understudy.task.sections" if section in SHARED else f"understudy.steps.{section}.config"
    return getattr(importlib.import_module(home), f"{section.capitalize()}Config")  # type: ignore[no-any-return]


@cache
def also_reads(step: str) -> tuple[str, ...]:
    """Return what a step reads beside its own section: whole sections, and single settings as <section>.<setting>."""
    if step not in STEPS:
        return ()
    return getattr(importlib.import_module(f"understudy.steps.{step}.config"), "ALSO_READS", ())


def reads(step: str, key: str) -> bool:
    """Tell whether a step reads the setting <section>.<setting>.

    >>> reads("export", "export.int8"), reads("export", "cascade.max_missed"), reads("export", "train.epochs")
    (True, True, False)
    """
    section = key.rpartition(".")[0]
    return section == step or not {section, key}.isdisjoint(also_reads(step))


def require_read(overrides: Overrides, step: str) -> None:
    """Refuse to set what has nothing to do with the step that is run or rerun alone.

    Raises:
        BadSetting: a setting is one of other steps; they are named.
    """
    faults = [
        f"A setting must be one that the step '{step}' reads, got '{key}' (--set), which {_listed(readers)} "
        f"{'reads' if len(readers) == 1 else 'read'}. Leave it out, or run that step instead."
        for key in overrides.values
        if not reads(step, key) and _is_setting(key) and (readers := [other for other in STEPS if reads(other, key)])
    ]
    if faults:
        raise BadSetting(faults)


def _is_setting(key: str) -> bool:
    """Tell whether a section that there is has a setting; one that it has not is told as unknown."""
    section, _, name = key.rpartition(".")
    return name in field_names(config_of(section))


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]


def parse_lines(text: str, step: str = "") -> dict[str, Any]:
    r"""Read `key=value` lines; a key without a section gets the step's, where there is one.

    Raises:
        BadSetting: a line is not `key=value`.
    """
    values: dict[str, Any] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        key, sign, value = (part.strip() for part in line.partition("="))
        if not sign or not key:
            raise BadSetting(
                f"An override must be key=value, got {_SHORT.repr(line)} (--set). Write it like train.epochs=2."
            )
        if has_password(value, is_address=key.endswith("url")):
            raise BadSetting(
                f"An address must hold no password, got one (--set {key}; not shown). Put it into the environment."
            )
        try:
            values[full_key(key, step)] = plain_yaml.load(value)
        except yaml.YAMLError as error:
            why = getattr(error, "problem", None) or getattr(error, "reason", "no YAML")
            raise BadSetting(
                f"An override's value must be a YAML scalar, got {_SHORT.repr(line)} (--set): {why}. Put the value in "
                "quotes."
            ) from error
    return values


def full_key(key: str, step: str) -> str:
    """Return a key with its section, which is the step's where it names none.

    >>> full_key("epochs", "train"), full_key("label.texts", "train"), full_key("epochs", "")
    ('train.epochs', 'label.texts', 'epochs')
    """
    return f"{step}.{key}" if step and "." not in key else key


def key_faults(values: Mapping[str, Any], step: str = "") -> list[str]:
    """Say which keys name no section."""
    known = {*sections(), step} - {""}
    return [_no_section(key) for key in values if key.rpartition(".")[0] not in known]


def build_config(config: type[C], settings: Mapping[str, Any], where: str) -> C:
    """Build a config record from settings, reporting every fault at once.

    Args:
        config: a frozen dataclass with a default for every field.
        settings: what differs from the defaults.
        where: named in the messages, as "<where><key>".

    Raises:
        BadSetting: unknown keys, values of a wrong type, or a rule of the record's `__post_init__` broken.
    """
    known = field_names(config)
    settings = {key: _without_date(value) for key, value in settings.items()}
    faults = [_unknown(key, known, f"{where}{key}") for key in settings if key not in known]
    odd = _no_numbers(config, settings)
    faults += [f"{where}{sentence}" for sentence in odd.values()]
    try:
        built: C = _adapter(cast("Hashable", config)).validate_python(
            {key: settings[key] for key in known if key in settings.keys() - odd}
        )
        faults += [
            f"{where}{_must_be_finite(key, getattr(built, key))}"
            for key in known
            if not _is_finite(getattr(built, key))
        ]
    except ValidationError as error:
        faults += [where + fault_sentence(".".join(map(str, fault["loc"])), fault) for fault in error.errors()]
    if faults:
        raise BadSetting(faults)
    return built


@cache
def _adapter(config: Any) -> TypeAdapter[Any]:
    return TypeAdapter(config)


def _without_date(value: Any) -> Any:
    """Return what the user wrote where YAML reads a date; no setting is one."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


def _no_numbers(config: type[Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """Say which settings pydantic would take for numbers that nobody can mean: true as 1, and what is not finite."""
    kinds = {key: {hint, *get_args(hint)} for key, hint in get_type_hints(config).items()}
    odd = {}
    for key in (key for key in settings if key in kinds):
        value = settings[key]
        if not _is_finite(value):
            odd[key] = _must_be_finite(key, value)
        elif isinstance(value, bool) and kinds[key] & {int, float} and bool not in kinds[key]:
            odd[key] = f"{key} must be a number, got {str(value).lower()}."
    return odd


def _is_finite(value: object) -> bool:
    """Tell whether no number in a value, or in a list or mapping of values, is infinite or NaN."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, int):
        return abs(value) <= plain_yaml.LARGEST
    return not isinstance(value, float) or math.isfinite(value)


def _must_be_finite(key: str, value: object) -> str:
    return f"{key} must be a finite number, got {_SHORT.repr(value)}."


def field_names(config: type[Any]) -> list[str]:
    """Return the names of a record's settings."""
    return [field.name for field in fields(config)]


def fault_sentence(key: str, fault: Any) -> str:
    """Write one of pydantic's faults as "<key> must <rule>, got <value>."; a rule of our own is such a sentence."""
    message = str(fault["msg"])
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")
    if fault["type"] == "invalid_key":
        return f"A key must be a string, got {fault['input']!r}. Put it in quotes."
    message = message.partition(", got ")[0]
    for words, yaml_word in _YAML_WORDS.items():
        message = re.sub(words, yaml_word, message)
    rule = re.sub(r"^(Input|String|Tuple|List|Dictionary) should ", f"{key} must ", message)
    named = rule if rule != message else f"{key}: {message}"
    hint = " Put it in quotes." if fault["type"] == "string_type" and not _is_nested(fault["input"]) else ""
    return f"{named}, got {_SHORT.repr(fault['input'])}.{hint}"


def _is_nested(value: object) -> bool:
    return value is None or isinstance(value, list | dict)


def _unknown(name: str, known: Sequence[str], where: str) -> str:
    shown = name if len(str(name)) <= LONGEST_NAME else f"{str(name)[:LONGEST_NAME]}..."
    return f"A setting must be one of {', '.join(known)}, got '{shown}' ({where if shown == name else 'cut'})."


def _no_section(key: str) -> str:
    """Say that a key names no section: those that have such a setting, else all."""
    listed = f"Steps: {', '.join(STEPS)}. Shared: {', '.join(SHARED)}"
    if homes := [section for section in sections() if key in field_names(config_of(section))]:
        listed = f"Write {' or '.join(f'{section}.{key}' for section in homes)}"
    return f"An override must be <step>.<setting>=<value>, got '{key}' (--set). {listed}."


def type_name(annotation: object) -> str:
    """Write a field's type as a reader of the docs expects it."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return " or ".join("none" if part is type(None) else type_name(part) for part in get_args(annotation))
    arguments = get_args(annotation)
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return " or ".join(f'"{argument}"' for argument in arguments)
    return getattr(annotation, "__name__", str(annotation))


def field_types(config: type[Any]) -> dict[str, str]:
    """Return each setting's type in words."""
    return {name: type_name(hint) for name, hint in get_type_hints(config).items()}


def require(rule: bool, what: str) -> None:
    """Check one rule of a config record; pydantic collects the failures.

    Raises:
        ValueError: the rule is broken, with `what` as its message.
    """
    if not rule:
        raise ValueError(what)
