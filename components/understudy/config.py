"""Load a step's settings: defaults from its config record, then the card's section, then one run's overrides."""

import importlib
import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from understudy.errors import BadSetting

STEPS = ("ingest", "label", "audit", "train", "export", "calibrate", "evaluate", "publish", "mine")
C = TypeVar("C")


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
            raise BadSetting(f"An override must be key=value, got '{line}' (--set).")
        overrides[key.strip()] = yaml.safe_load(value)
    return overrides


def overrides_for(step: str, text: str) -> dict[str, Any]:
    r"""Keep the overrides that concern `step`, without their prefix; a key without prefix concerns every step.

    >>> overrides_for("train", "train.epochs=2\nlabel.texts=50")
    {'epochs': 2}
    """
    pairs = ((*key.rpartition(".")[::2], value) for key, value in parse_overrides(text).items())
    return {key: value for prefix, key, value in pairs if prefix in {"", step}}


def check_overrides(text: str) -> None:
    """Check a pipeline's overrides before its first step runs.

    Raises:
        BadSetting: a key without a step, an unknown step or setting, or a value that breaks its rule.
    """
    faults = []
    for key, value in parse_overrides(text).items():
        step, _, name = key.rpartition(".")
        if step not in STEPS:
            faults.append(
                f"An override must be <step>.<setting>=<value>, got '{key}' (--set). Steps: {', '.join(STEPS)}."
            )
            continue
        try:
            build_config(config_of(step), {name: value}, f"--set {step}.")
        except BadSetting as error:
            faults += error.faults
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
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]
    faults = [
        f"A setting must be one of {', '.join(known)}, got '{key}' ({where}{key})."
        for key in settings
        if key not in known
    ]
    adapter = TypeAdapter(config)
    try:
        built = adapter.validate_python({key: value for key, value in settings.items() if key in known})
    except ValidationError as error:
        faults += [f"{where}{'.'.join(map(str, fault['loc']))}: {_sentence(fault)}" for fault in error.errors()]
    if faults:
        raise BadSetting(faults)
    return built


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


def _sentence(fault: Any) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    return message if "got" in message else f"{message}, got {fault['input']!r}."
