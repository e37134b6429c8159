"""The task card: one YAML file that defines the task, its decision rules, budgets, goals and every step's settings."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from understudy.config import STEPS, build_config, config_of, overrides_for
from understudy.errors import BadCard, BadSetting

CARD_FILE = "card.yaml"
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Words = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Part(BaseModel):
    """A part of the card: frozen, and unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Label(Part):
    """One answer a text can get."""

    name: Words
    definition: Words
    examples: tuple[Words, ...] = ()


class WeakRule(Part):
    """A pattern that suggests a label without a teacher: it balances the first set and is a baseline in the report."""

    name: Words
    pattern: Words
    label: Words

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return _regular_expression(pattern)


class Slice(Part):
    """A part of the texts that audit and evaluate look at apart: by pattern, by length in words, or by a column."""

    name: Words
    pattern: Words | None = None
    min_words: int | None = Field(default=None, ge=0)
    max_words: int | None = Field(default=None, ge=1)
    column: Words | None = None
    equals: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return pattern and _regular_expression(pattern)

    @model_validator(mode="after")
    def _is_one_kind(self) -> "Slice":
        by_length = self.min_words is not None or self.max_words is not None
        if sum([self.pattern is not None, by_length, self.column is not None]) != 1:
            raise ValueError(
                f"A slice must be cut by exactly one of pattern, min_words/max_words or column, got '{self.name}'."
            )
        if (self.column is None) != (self.equals is None):
            raise ValueError(f"A slice by column must say which value it equals, got '{self.name}'.")
        return self


class Teacher(Part):
    """The LLM that labels, and its price; the key comes from OPENAI_API_KEY, never from the card."""

    model: Words
    base_url: str | None = None
    instructions: str = ""
    input_usd_per_million: Annotated[float, Field(ge=0)]
    output_usd_per_million: Annotated[float, Field(ge=0)]
    seconds_per_text: Positive = 1.2


class Budget(Part):
    """What a training run may cost."""

    teacher_usd: Positive
    human_labels: Annotated[int, Field(gt=0)] = 1000


class Prices(Part):
    """What an hour costs, for the cost arithmetic in the report."""

    instance_usd_per_hour: Positive = 0.085
    annotator_usd_per_hour: Positive = 25.0


class Goals(Part):
    """What the student must reach to be published; None asks nothing."""

    f1: Share | None = None
    recall: Share | None = None
    p95_latency_ms: Positive | None = None
    cost_per_1k_usd: Positive | None = None


class Card(Part):
    """The whole card; see `understudy card new` for a commented one."""

    name: Name
    unit: Words = "text"
    question: Words
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=2)]
    positive_label: Words
    rules: Annotated[tuple[Words, ...], Field(min_length=1)]
    weak_rules: tuple[WeakRule, ...] = ()
    slices: tuple[Slice, ...] = ()
    prior: Share | Literal["estimate"] = "estimate"
    texts_per_month: Annotated[int, Field(gt=0)] = 1_000_000
    teacher: Teacher
    student: Words = "minilm"
    budget: Budget
    prices: Prices = Prices()
    goals: Goals = Goals()
    accelerator: str | None = None
    ingest: dict[str, Any] = {}
    label: dict[str, Any] = {}
    audit: dict[str, Any] = {}
    train: dict[str, Any] = {}
    export: dict[str, Any] = {}
    calibrate: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    publish: dict[str, Any] = {}
    mine: dict[str, Any] = {}

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the card's order: the order of every array of scores."""
        return tuple(label.name for label in self.labels)

    @property
    def positive_index(self) -> int:
        """Column of the positive label in every array of scores."""
        return self.label_names.index(self.positive_label)

    @property
    def hash(self) -> str:
        """SHA-256 of what the card says; comments and key order do not count."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def parse_card(text: str, where: str = CARD_FILE) -> Card:
    """Read a card, reporting every fault at once with its line.

    Args:
        text: the YAML.
        where: named in the messages, usually the file.

    Raises:
        BadCard: with one sentence a fault, "<where>:<line>: <what, rule, value>".
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise BadCard(f"{where}: A card must be valid YAML, got: {error}") from error
    if not isinstance(content, dict):
        raise BadCard(
            f"{where}:1: A card must be a mapping of settings, got {type(content).__name__}. Start from `understudy card new`."
        )
    checks = (_duplicate_keys(root), _model_faults(content), _section_faults(content), _contradictions(content))
    faults = [fault for check in checks for fault in check]
    if faults:
        lines = sorted({(_line(root, path), sentence) for path, sentence in faults})
        raise BadCard([f"{where}:{line}: {sentence}" for line, sentence in lines])
    return Card.model_validate(content)


def load_card(path: Path) -> Card:
    """Read a card file, or the card in a snapshot folder.

    Raises:
        BadCard: the file is missing or unreadable, or the card has faults.
    """
    file = path / CARD_FILE if path.is_dir() else path
    try:
        return parse_card(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadCard(f"A card must be a readable UTF-8 file, got {error} ({file}).") from error


def load_config(step: str, card: Card, overrides: str = "") -> Any:
    """Return the step's config record: defaults, then the card's section, then the overrides.

    Raises:
        BadSetting: an override breaks a rule.
    """
    settings = {**getattr(card, step), **overrides_for(step, overrides)}
    return build_config(config_of(step), settings, f"{step}.")


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"A pattern must be a Python regular expression, got '{pattern}' ({error}).") from error
    return pattern


Fault = tuple[tuple[str | int, ...], str]


def _duplicate_keys(node: yaml.Node, path: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*path, key.value), f"A key must stand once, got '{key.value}' twice."
            seen.add(key.value)
            yield from _duplicate_keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicate_keys(item, (*path, index))


def _model_faults(content: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        Card.model_validate(content)
    except ValidationError as error:
        for fault in error.errors():
            path = tuple(
                part for part in fault["loc"] if not str(part).startswith(("literal[", "constrained-", "float"))
            )
            yield path, _sentence(path, fault)


def _sentence(path: tuple[str | int, ...], fault: Any) -> str:
    key = ".".join(map(str, path))
    kind, value, message = fault["type"], fault["input"], str(fault["msg"]).removeprefix("Value error, ")
    if path == ("rules",):
        return (
            "A card must have decision rules, got none (rules). Rules come before labels: without them neither teacher "
            "nor people can agree. Write how a careful stranger decides the hard cases."
        )
    if path == ("labels",) and kind in {"too_long", "too_short"} and len(value) != 2:
        return f"A card must have exactly two labels, got {len(value)} (labels)."
    if kind == "missing":
        return f"The key '{key}' must be there, got none. Add it; `understudy card new` shows it with a comment."
    if kind == "extra_forbidden":
        return f"A key must be one that the card knows, got '{key}'. `understudy card new` lists them all."
    if "got" in message:
        return message
    return f"{key}: {message}, got {value!r}."


def _section_faults(content: Mapping[str, Any]) -> Iterator[Fault]:
    for step in STEPS:
        section = content.get(step)
        for key, value in section.items() if isinstance(section, dict) else ():
            try:
                build_config(config_of(step), {key: value}, f"{step}.")
            except BadSetting as error:
                yield from (((step, str(key)), sentence) for sentence in error.faults)


def _contradictions(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Rules between parts of the card, checked on the raw content so that they show beside all other faults."""
    names = _names(content, "labels")
    listed = ", ".join(map(str, names))
    if (positive := content.get("positive_label")) is not None and names and positive not in names:
        yield ("positive_label",), f"The positive label must be one of {listed}, got '{positive}' (positive_label)."
    for index, rule in enumerate(_parts(content, "weak_rules")):
        if names and rule.get("label") not in names:
            yield (
                ("weak_rules", index, "label"),
                f"A weak rule's label must be one of {listed}, got '{rule.get('label')}'.",
            )
    for part in ("labels", "weak_rules", "slices"):
        found = _names(content, part)
        for index, name in enumerate(found):
            if name in found[:index]:
                yield (part, index, "name"), f"A name must stand once in {part}, got '{name}' twice."


def _parts(content: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    items = content.get(part)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _names(content: Mapping[str, Any], part: str) -> list[Any]:
    return [item.get("name") for item in _parts(content, part)]


def _line(node: yaml.Node, path: tuple[str | int, ...]) -> int:
    """Line of the deepest part of `path` that the file has, counted from 1."""
    line = int(node.start_mark.line) + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                break
            line = int(found[-1][0].start_mark.line) + 1
            node = found[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = int(node.start_mark.line) + 1
        else:
            break
    return line
