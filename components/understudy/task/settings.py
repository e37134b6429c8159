"""Load a step's settings: defaults from its config record, then the card's section, then one run's overrides."""

import importlib
import math
import re
import reprlib
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadSetting
from understudy.secrets.keys import has_password
from understudy.task import plain_yaml
from understudy.task.steps import STEPS

C = TypeVar("C")
_YAML_WORDS = {r"valid dictionary( or instance of \w+)?": "mapping", "valid tuple": "list", "valid string": "string"}
LONGEST_NAME = 100  # of what is quoted in a sentence
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


def config_of(step: str) -> type[Any]:
    """Return the config record of a step, by the naming rule: `understudy.steps.<step>.config.<Step>Config`."""
    module = importlib.import_module(f"understudy.steps.{step}.config")
    return getattr(module, f"{step.capitalize()}Config")  # type: ignore[no-any-return]


def parse_overrides(text: str) -> dict[str, Any]:
    r"""Read `key=value` lines; values are YAML scalars.

    >>> parse_overrides("train.epochs=2\nseed=7")
    {'train.epochs': 2, 'seed': 7}

    Raises:
        BadSetting: a line is not `key=value`.
    """
    overrides: dict[str, Any] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        key, sign, value = line.partition("=")
        if not sign or not key.strip():
            raise BadSetting(
                f"An override must be key=value, got {_SHORT.repr(line)} (--set). Write it like train.epochs=2."
            )
        if has_password(value, is_address=key.strip().endswith("url")):
            raise BadSetting(
                f"An address must hold no password, got one (--set {key.strip()}; not shown). "
                "Put it into the environment."
            )
        try:
            overrides[key.strip()] = plain_yaml.load(value)
        except yaml.YAMLError as error:
            why = getattr(error, "problem", None) or getattr(error, "reason", "no YAML")
            raise BadSetting(
                f"An override's value must be a YAML scalar, got {_SHORT.repr(line)} (--set): {why}. Put the value in "
                "quotes."
            ) from error
    return overrides


def overrides_for(step: str, text: str) -> dict[str, Any]:
    r"""Keep the overrides that concern `step`, without their prefix; a key without prefix concerns every step.

    >>> overrides_for("train", "train.epochs=2\nlabel.texts=50")
    {'epochs': 2}

    Raises:
        BadSetting: a line is not `key=value`, or its prefix is no step.
    """
    pairs = [(*key.rpartition(".")[::2], value) for key, value in parse_overrides(text).items()]
    if strange := [f"{prefix}.{key}" for prefix, key, _ in pairs if prefix not in {"", step, *STEPS}]:
        raise BadSetting([_no_step(key) for key in strange])
    return {key: value for prefix, key, value in pairs if prefix in {"", step}}


def check_overrides(text: str) -> None:
    """Check the keys of a pipeline's overrides; `task.load_config` judges the values, together with the card's.

    Raises:
        BadSetting: a key without a step, an unknown step or an unknown setting.
    """
    faults = []
    for key in parse_overrides(text):
        step, _, name = key.rpartition(".")
        if step not in STEPS:
            faults.append(_no_step(key))
        elif name not in (known := field_names(config_of(step))):
            faults.append(_unknown(name, known, f"--set {key}"))
    if faults:
        raise BadSetting(faults)


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
        built = TypeAdapter(config).validate_python(
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


def _no_step(key: str) -> str:
    return f"An override must be <step>.<setting>=<value>, got '{key}' (--set). Steps: {', '.join(STEPS)}."


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
