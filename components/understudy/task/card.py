"""Parse the task card: one YAML file with the task, its decision rules, budgets, goals and settings."""

import hashlib
import json
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from understudy.errors import BadCard, BadSetting
from understudy.secrets.keys import has_password
from understudy.task import label_sets, must, plain_yaml
from understudy.task.patterns import fault_of
from understudy.task.prices import listed as listed_prices
from understudy.task.settings import (
    NO_OVERRIDES,
    Overrides,
    Settings,
    build_section,
    build_settings,
    config_of,
    fault_sentence,
    field_names,
    sections,
)
from understudy.task.steps import STEPS
from understudy.text import signs
from understudy.text.numbers import without_middle

CARD_FILE = "card.yaml"
LARGEST_FILE = 4 * plain_yaml.LONGEST  # bytes: a character has at most four
NO_CARD = "Mend the path, or start a card with `understudy card new`."
QUESTION = "TODO:"  # begins what a new card asks its user
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Pattern = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
TrueShare = Annotated[float, Field(strict=True, gt=0, lt=1)]  # a quoted number would pass by the rules on the raw card
Days = Annotated[int, Field(ge=1, le=36_500)]
LONGEST_LABEL = 200
FEWEST_LABELS, MOST_LABELS = 2, 500
PRIOR_SLACK = 0.01  # shares of labels are rounded
MOST_WORDINGS = 20  # of a prompt bank: each is paid for with every text
MOST_PARTS = 100  # weak rules, and slices: each is looked for in every text
MOST_ALIASES = 50  # of a label
MOST_ALIKE = 20  # texts that say the same as one of must
MOST_SETTINGS = 100  # of a step; none has half as many
MOST_FAULTS = 100  # that are told at once
LONGEST_SENTENCE = 1_000


SECTIONS = tuple(name for name in sections() if name != "teacher")  # of settings alone
WAYS = ("literal[", "constrained-", "float", "dict[")  # in which a value may be meant, by pydantic's names
# keys that a card had no word for before, and whose silence says nothing
SINCE = ("confusion_costs", "context", "models", "must", "registry")
GOALS_SINCE = ("macro_f1", "micro_f1", "accuracy", "labels")  # the same of goals


class Part(BaseModel):
    """A part of the card: frozen, and unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Label(Part):
    """One answer a text can get; `aliases` are what people's files call it, such as 1 or true."""

    name: Words
    definition: Words
    examples: tuple[Words, ...] = ()
    aliases: Annotated[tuple[Words, ...], Field(max_length=MOST_ALIASES)] = ()

    @field_validator("aliases", mode="before")
    @classmethod
    def _as_written(cls, aliases: Any) -> Any:
        return [label_sets.as_cell(alias) for alias in aliases] if isinstance(aliases, list) else aliases

    @field_validator("name")
    @classmethod
    def _is_one_line(cls, name: str) -> str:
        if len(name) > LONGEST_LABEL:
            raise ValueError(f"A label's name must have at most {LONGEST_LABEL} signs, got {len(name):,}.")
        if odd := next(filter(signs.breaks_a_line, name), None):
            raise ValueError(f"A label's name must be one line of text, got the sign U+{ord(odd):04X} in {name!a}.")
        if not any(map(signs.is_visible, name)):
            raise ValueError(f"A label's name must have a sign that can be seen, got {name!a}.")
        return name


class WeakRule(Part):
    """A pattern that suggests a label without a teacher: it balances the first set and is a baseline in the report."""

    name: Words
    pattern: Pattern
    label: Words

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return _regular_expression(pattern)


class Slice(Part):
    """A part of the texts that audit and evaluate look at apart: by pattern, by length in words, or by a column."""

    name: Words
    pattern: Pattern | None = None
    min_words: int | None = Field(default=None, ge=0)
    max_words: int | None = Field(default=None, ge=1)
    column: Words | None = None
    equals: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return pattern and _regular_expression(pattern)

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        by_length = self.min_words is not None or self.max_words is not None
        if sum([self.pattern is not None, by_length, self.column is not None]) != 1:
            raise ValueError(
                f"A slice must be cut by exactly one of pattern, min_words/max_words or column, got '{self.name}'."
            )
        if (self.column is None) != (self.equals is None):
            raise ValueError(f"A slice by column must say which value it equals, got '{self.name}'.")
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            raise ValueError(
                f"A slice's min_words must be at most its max_words, got {self.min_words} and {self.max_words}."
            )
        return self


class Must(Part):
    """A text that a student must label rightly to be published and to serve; `alike` say the same in other words.

    All of them get `label`; without it they may get any, as long as it is one and the same.
    """

    text: Words
    label: Words | None = None
    alike: Annotated[tuple[Words, ...], Field(max_length=MOST_ALIKE)] = ()


class Context(Part):
    """The turns before a text, within its group, that teacher and student are shown.

    Attributes:
        turns: how many at most.
        order: column of the texts by which a group's texts stand in order; None for the order of the file.
        words: most words of all turns together; what is farthest from the text is cut.
    """

    turns: Annotated[int, Field(ge=1, le=20)]
    order: Words | None = None
    words: Annotated[int, Field(ge=1, le=1_000)] = 60

    @field_validator("order")
    @classmethod
    def _is_free(cls, order: str | None) -> str | None:
        if order in {"file", "row", "context"}:
            raise ValueError(f"A column that orders turns must not be called file, row or context, got '{order}'.")
        return order

    @property
    def columns(self) -> list[str]:
        """Columns that the texts must have."""
        return list(dict.fromkeys(["group", *([self.order] if self.order else [])]))


class Redact(Part):
    """What is taken out of a text before it is sent to the teacher: known kinds, and own patterns by a name."""

    kinds: tuple[Literal["email", "phone", "card"], ...] = ()
    patterns: dict[Words, Pattern] = {}

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: dict[str, str]) -> dict[str, str]:
        return {name: _regular_expression(pattern) for name, pattern in patterns.items()}


class Wording(Part):
    """One of several ways to ask the teacher: what it leaves out is asked as without wordings."""

    name: Words
    instructions: str | None = None
    order: int | None = None
    rationale: bool | None = None


class Teacher(Part):
    """The LLM that labels, where it may stand, and its price; the key comes from OPENAI_API_KEY, never from the card.

    Prices that the card does not say are those of the list of prices (`prices.py`), by the model's name.
    With `place: in-house` no text is sent to a server outside of the house (`teacher/place.py` says what that is).
    What else the section says are settings of how it is asked (sections.py), which a run may change; they are checked
    with those of the steps.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    role: ClassVar[str] = ""  # of the card's other models: what they do

    model: Words
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    place: Literal["anywhere", "in-house"] = "anywhere"
    redact: Redact = Redact()
    instructions: str = ""
    prompts: Annotated[tuple[Wording, ...], Field(max_length=MOST_WORDINGS)] = ()
    input_usd_per_million: Annotated[float, Field(ge=0)] | None = None
    output_usd_per_million: Annotated[float, Field(ge=0)] | None = None
    seconds_per_text: Positive = 1.2

    @field_validator("prompts")
    @classmethod
    def _have_own_names(cls, prompts: tuple[Wording, ...]) -> tuple[Wording, ...]:
        names = [wording.name for wording in prompts]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"Each wording must have a name of its own, got '{twice}' twice.")
        return prompts

    @model_validator(mode="after")
    def _is_priced(self) -> Self:
        if not self.is_own_price and self.model not in listed_prices().models:
            raise ValueError(
                f"A teacher under a budget must have prices, got none for '{self.model:.80}', which the list of "
                f"{listed_prices().as_of} does not have. Say input_usd_per_million and output_usd_per_million; 0 for a "
                "server of your own."
            )
        return self

    @property
    def is_own_price(self) -> bool:
        """Whether the card says both prices itself."""
        return self.input_usd_per_million is not None and self.output_usd_per_million is not None

    @property
    def usd_per_million(self) -> tuple[float, float]:
        """Dollars for a million tokens of requests, and of answers: the card's, else those of the list of prices."""
        said = self.input_usd_per_million, self.output_usd_per_million
        if said[0] is not None and said[1] is not None:
            return said[0], said[1]
        price = listed_prices().models[self.model]
        return (price.input_usd if said[0] is None else said[0], price.output_usd if said[1] is None else said[1])

    @property
    def price_words(self) -> str:
        """Say what a million tokens cost, and who says so."""
        asked, answered = self.usd_per_million
        own, listed = self.input_usd_per_million, f"as of {listed_prices().as_of}"
        whose = "by the card" if self.is_own_price else f"list prices {listed}"
        if not self.is_own_price and (own, self.output_usd_per_million) != (None, None):
            of_card, of_list = ("out", "in") if own is None else ("in", "out")
            whose = f"{of_card} by the card, {of_list} by list prices {listed}"
        return f"${asked:g} a million tokens in, ${answered:g} out ({whose})"

    @property
    def is_in_house(self) -> bool:
        """Whether texts may only be sent to a server in the house."""
        return self.place == "in-house"


class Role(Teacher):
    """A model that does something else than the teacher for the same card, under a cap of its own.

    What it does not say of place, redact and base_url is the teacher's: texts that must stay in the house stay there
    whoever reads them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget_usd: Positive
    _has_own_address: bool = PrivateAttr(default=False)  # of `acting`'s copy, which may have the teacher's, too

    @model_validator(mode="after")
    def _notes_its_address(self) -> Self:
        self._has_own_address = self.base_url is not None
        return self

    @property
    def has_own_address(self) -> bool:
        """Whether the card says where it is, and not only where the teacher is."""
        return self._has_own_address


class Oracle(Role):
    """The model that mine asks in the teacher's place."""

    role: ClassVar[str] = "oracle"


class Editor(Role):
    """The model that revises what the teacher gets wrong. Each category of errors is a wording of its own."""

    role: ClassVar[str] = "editor"

    @model_validator(mode="after")
    def _is_asked_in_one_way(self) -> Self:
        if self.prompts:
            raise ValueError("An editor must be asked in one way, got prompts. Take them out.")
        return self


class Models(Part):
    """The models beside the teacher; the teacher plays a part that nobody has, but for the editor's."""

    oracle: Oracle | None = None
    editor: Editor | None = None

    @property
    def all(self) -> tuple[Role, ...]:
        """Those that the card names."""
        return tuple(role for role in (self.oracle, self.editor) if role is not None)


class Budget(Part):
    """What learning the task may cost: `teacher_usd` over all runs into one store."""

    teacher_usd: Positive
    human_labels: Annotated[int, Field(gt=0)] = 1000


class Prices(Part):
    """What an hour costs, for the cost arithmetic in the report; None trains on the instance that labels."""

    instance_usd_per_hour: Positive = 0.085
    annotator_usd_per_hour: Positive = 25.0
    training_usd_per_hour: Positive | None = None

    @property
    def training_usd(self) -> float:
        """Dollars an hour of training."""
        return self.training_usd_per_hour or self.instance_usd_per_hour


class LabelGoals(Part):
    """What the student must reach on one label, against the rest; None asks nothing."""

    f1: Share | None = None
    recall: Share | None = None


class Goals(Part):
    """What the student must reach to be published; None asks nothing. `f1` and `recall` are of the positive label.

    `micro_f1` is of all labels of all texts together, where a text may have several; `accuracy` is then the share of
    texts with exactly the right ones.
    """

    f1: Share | None = None
    recall: Share | None = None
    macro_f1: Share | None = None
    micro_f1: Share | None = None
    accuracy: Share | None = None
    labels: dict[Words, LabelGoals] = {}
    p95_latency_ms: Positive | None = None
    cost_per_1k_usd: Positive | None = None


class ConfusionCost(Part):
    """What it costs to give a text of one label another one; every other mistake costs 1."""

    label: Words
    given: Words
    cost: Annotated[float, Field(gt=0, le=1_000_000)]


class Retention(Part):
    """How many days what the nights leave stays in the store and the index, counted back from the newest night.

    None keeps it. Manifests and the watch's series stay: they hold no texts.
    """

    predictions_days: Days | None = None
    refusals_days: Days | None = None
    samples_days: Days | None = None


if TYPE_CHECKING:
    Sections = Part
else:  # a section of settings for each step of the registry, which alone knows them, and the shared ones
    Sections = create_model("Sections", __base__=Part, **{name: (dict[str, Any], {}) for name in SECTIONS})


class Card(Sections):
    """The whole card; see `understudy card new` for a commented one."""

    name: Name
    unit: Words = "text"
    question: Words
    labels: Annotated[tuple[Label, ...], Field(min_length=FEWEST_LABELS, max_length=MOST_LABELS)]
    labels_per_text: Literal["one", "many"] = "one"
    positive_label: Words | None = None
    rules: Annotated[tuple[Words, ...], Field(min_length=1)]
    weak_rules: Annotated[tuple[WeakRule, ...], Field(max_length=MOST_PARTS)] = ()
    slices: Annotated[tuple[Slice, ...], Field(max_length=MOST_PARTS)] = ()
    must: Annotated[tuple[Must, ...], Field(max_length=MOST_PARTS)] = ()
    prior: TrueShare | dict[Words, TrueShare] | Literal["estimate"] = "estimate"
    confusion_costs: tuple[ConfusionCost, ...] = ()
    context: Context | None = None
    texts_per_month: Annotated[int, Field(gt=0)] = 1_000_000
    teacher: Teacher
    models: Models | None = None
    student: Words = "minilm"
    budget: Budget
    prices: Prices = Prices()
    goals: Goals = Goals()
    retention: Retention = Retention()
    registry: Annotated[str, Field(pattern=r"^https?://[^@?#\s]+$")] | None = None

    @field_validator(*SECTIONS, mode="before", check_fields=False)
    @classmethod
    def _may_be_empty(cls, section: Any) -> Any:
        return {} if section is None else section

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the card's order: the order of every array of scores."""
        return tuple(label.name for label in self.labels)

    @property
    def is_many(self) -> bool:
        """Whether a text may have several labels, or none: each is then a yes or no of its own."""
        return self.labels_per_text == "many"

    @property
    def hash(self) -> str:
        """SHA-256 of what the card says; comments, key order and sections of settings that say nothing do not count.

        Nor do the goals and costs of labels, the context, other models, the texts of must, and the price of training,
        where there are none, nor a teacher that may stand anywhere, reads texts as they are or is asked in one way,
        so that a card keeps the hash that it had before these were known.
        """
        silent = {name for name in SECTIONS if not self.section(name)}
        goals = {name for name in GOALS_SINCE if not getattr(self.goals, name)}
        silent |= {name for name in SINCE if not getattr(self, name)}
        silent |= set() if self.is_many else {"labels_per_text"}
        left_out: dict[str, Any] = dict.fromkeys(silent, True) | {"goals": goals}
        if not any(label.aliases for label in self.labels):
            left_out["labels"] = {"__all__": {"aliases"}}
        teacher = {} if self.teacher.is_in_house else {"place": True}
        teacher |= {} if self.teacher.redact != Redact() else {"redact": True}
        teacher |= {} if self.teacher.prompts else {"prompts": True}
        if teacher:
            left_out["teacher"] = teacher
        if self.prices.training_usd_per_hour is None:
            left_out["prices"] = {"training_usd_per_hour"}
        said = self.model_dump(mode="json", exclude=left_out)
        canonical = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def contract(self) -> list[str]:
        """Return all texts of must."""
        return [text for one in self.must for text in (one.text, *one.alike)]

    def roles(self) -> tuple[Role, ...]:
        """Return the models that the card names beside the teacher."""
        return () if self.models is None else self.models.all

    def playing(self) -> "tuple[Teacher, ...]":
        """Return the models beside the teacher as they are asked, with what they have of the teacher."""
        return tuple(self.acting(each.role).teacher for each in self.roles())

    def acting(self, role: str) -> "Card":
        """Return the card with the model of a role in the teacher's place, and its cap in that of the teacher's budget.

        It is for asking alone: what settings the card has of the teacher are not in it. Where the card names no such
        model it is the card itself.
        """
        found = next((each for each in self.roles() if each.role == role), None)
        if found is None:
            return self
        inherited = {"place", "redact", "base_url"} - found.model_fields_set
        playing = found.model_copy(update={name: getattr(self.teacher, name) for name in inherited})
        budget = self.budget.model_copy(update={"teacher_usd": found.budget_usd})
        return self.model_copy(update={"teacher": playing, "budget": budget})

    def settings(self, overrides: Overrides = NO_OVERRIDES) -> Settings:
        """Build the settings of every section: defaults, then what the card says, then what one run changes.

        Raises:
            BadSetting: an override breaks a rule, alone or together with the card.
        """
        return build_settings({name: self.section(name) for name in sections()}, overrides)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return the settings that the card has in a section, as they are written."""
        return self.teacher.model_extra or {} if name == "teacher" else getattr(self, name, {})


def parse_card(text: str, where: str = CARD_FILE, *, is_draft: bool = False) -> Card:
    """Read a card, reporting every fault at once with its line.

    Args:
        text: the YAML.
        where: named in the messages, usually the file.
        is_draft: questions of a new card may stand unanswered.

    Raises:
        BadCard: with one sentence a fault, "<where>:<line>: <what, rule, value>".
    """
    try:
        root, loader = plain_yaml.compose(text)
        twice = [] if root is None else list(_duplicate_keys(root))
        content = plain_yaml.construct(root, loader)
    except yaml.YAMLError as error:
        raise BadCard(f"{where}:{_problem(error)}") from error
    if root is None or not isinstance(content, dict):
        kind = "nothing" if content is None else type(content).__name__
        raise BadCard(f"{where}:1: A card must be a mapping of settings, got {kind}. Start from `understudy card new`.")
    asked = () if is_draft else _questions(content)
    checks = (_model_faults(content), _section_faults(content), _contradictions(content), _passwords(root), asked)
    faults = [*twice, *(fault for check in checks for fault in check)]
    if faults:
        keys: Keys = {}
        lines = sorted(
            {(_line(root, path, keys), without_middle(sentence, LONGEST_SENTENCE)) for path, sentence in faults}
        )
        told = [f"{where}:{line}: {sentence}" for line, sentence in lines[:MOST_FAULTS]]
        more = [f"{where}: {len(lines) - MOST_FAULTS:,} more faults. Mend these first."]
        raise BadCard([*told, *(more if len(lines) > MOST_FAULTS else [])])
    return Card.model_validate(content)


def _problem(error: yaml.YAMLError) -> str:
    """Say what is wrong with the YAML, after the number of its line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    return f"{mark.line + 1 if mark else 1}: A card must be valid YAML, got: {problem}."


def load_card(path: Path) -> Card:
    """Read a card file, or the card in a snapshot folder.

    Raises:
        BadCard: the file is missing or unreadable, or the card has faults.
    """
    return parse_card(*read_text(path))


def read_text(path: Path) -> tuple[str, str]:
    """Read the text of a card file, or of the card in a snapshot folder, and say which file it was.

    Raises:
        BadCard: it is missing, unreadable, too large, or neither file nor folder: a pipe or a device may never end.
    """
    file = path
    try:
        file = path / CARD_FILE if path.is_dir() else path
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BadCard(f"A card must be a file, got a pipe, a device or a folder ({file}). {NO_CARD}")
        require_size(found.st_size, str(file))
        return file.read_text(encoding="utf-8"), str(file)
    except (OSError, ValueError) as error:
        raise BadCard(f"A card must be a readable UTF-8 file, got {error} ({file}). {NO_CARD}") from error


def require_size(size: int, where: str) -> None:
    """Refuse what is too large for a card before it is read.

    Raises:
        BadCard: it is.
    """
    if size > LARGEST_FILE:
        raise BadCard(f"A card must be at most {LARGEST_FILE:,} bytes, got {size:,} ({where}). {NO_CARD}")


def _regular_expression(pattern: str) -> str:
    if fault := fault_of(pattern):
        raise ValueError(fault)
    return pattern


Fault = tuple[tuple[str | int, ...], str]
Keys = dict[int, dict[str, tuple[yaml.Node, yaml.Node]]]


def _duplicate_keys(root: yaml.Node) -> Iterator[Fault]:
    """Visit every node once, by whatever aliases it is reached: the YAML reader itself keeps the last of equal keys."""
    waiting: list[tuple[yaml.Node, tuple[str | int, ...]]] = [(root, ())]
    visited: set[int] = set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in visited or not isinstance(node, yaml.CollectionNode):
            continue
        visited.add(id(node))
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        counts = Counter(str(key.value) for key, _ in pairs)
        twice = sorted(key for key, times in counts.items() if times > 1)
        yield from (((*path, key), f"A key must stand once, got '{key}' twice.") for key in twice)
        waiting += [(value, (*path, str(key.value))) for key, value in pairs]
        waiting += [(item, (*path, index)) for index, item in enumerate([] if pairs else node.value)]


def _questions(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Find what a new card asks and nobody has answered: it would go into the teacher's prompt."""
    asked: list[tuple[tuple[str | int, ...], Any]] = [(("positive_label",), content.get("positive_label"))]
    for index, label in enumerate(_parts(content, "labels")):
        asked += [(("labels", index, key), label.get(key)) for key in ("name", "definition")]
    rules = content.get("rules")
    asked += [(("rules", index), rule) for index, rule in enumerate(rules if isinstance(rules, list) else ())]
    for path, said in asked:
        if isinstance(said, str) and said.startswith(QUESTION):
            got = f"'{said.removeprefix(QUESTION).strip()}' ({'.'.join(map(str, path))})"
            yield path, f"A question of a new card must be answered, got {got}. Write the answer there."


def _model_faults(content: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        Card.model_validate(content)
    except ValidationError as error:
        for fault in error.errors():
            path = tuple(part for part in fault["loc"] if not str(part).startswith(WAYS))
            is_echo = fault["type"] == "too_short" and _has_faulty_items(path, error)
            is_echo |= path == ("prior",) and isinstance(content["prior"], dict) and "dict" not in str(fault["loc"])
            if not is_echo:
                yield path, _sentence(path, fault)


def _has_faulty_items(path: tuple[str | int, ...], error: ValidationError) -> bool:
    """Whether a list is called too short only because pydantic does not count its faulty items."""
    return any(len(fault["loc"]) > len(path) and fault["loc"][: len(path)] == path for fault in error.errors())


def _sentence(path: tuple[str | int, ...], fault: Any) -> str:
    key = ".".join(map(str, path))
    if fault["type"] == "missing" and key != "rules":
        return f"The key '{key}' must be there, got none. Add it; `understudy card new` shows it with a comment."
    if fault["type"] == "extra_forbidden":
        return _unknown_key(key)
    sentence = _own_words(key, fault["type"], fault["input"]) or fault_sentence(key, fault)
    return _with_remedy(sentence, "Mend it; `understudy card new` explains every key.")


def _unknown_key(key: str) -> str:
    return f"A key must be one that the card knows, got '{key}'. `understudy card new` lists them all."


def _with_remedy(sentence: str, remedy: str) -> str:
    """Say what to do, where the sentence does not."""
    return sentence if re.search(r"\.\s[A-Z`][^.]*\.$", sentence) else f"{sentence} {remedy}"


def _own_words(key: str, kind: str, value: Any) -> str | None:
    """Return a sentence of our own for faults that pydantic cannot explain."""
    if key == "rules" and (kind == "missing" or not value):
        return (
            "A card must have decision rules, got none (rules). Rules come before labels: without them neither teacher "
            "nor people can agree. Write how a careful stranger decides the hard cases."
        )
    if key == "labels" and kind in {"too_long", "too_short"}:
        return f"A card must have {FEWEST_LABELS} to {MOST_LABELS} labels, got {len(value):,} (labels)."
    if key == "name" and kind == "string_pattern_mismatch":
        return f"name must be 1 to 63 of a-z, 0-9 and -, with no - at its ends, got '{value}'."
    if key == "prior" or key.startswith("prior."):
        return f"prior must be a number between 0 and 1, one for each label, or 'estimate', got {value!r:.80} ({key})."
    return None


def _section_faults(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Judge each section whole; then again without the settings found faulty, which may have hidden others."""
    for section in sections():
        written = content.get(section)
        left = {str(key): value for key, value in written.items()} if isinstance(written, dict) else {}
        if len(left) > MOST_SETTINGS:
            yield (section,), f"A section must have at most {MOST_SETTINGS} settings, got {len(left):,} ({section})."
            continue
        if section == "teacher":
            left = {key: value for key, value in left.items() if key not in Teacher.model_fields}
            unknown = [key for key in left if key not in field_names(config_of("teacher"))]
            yield from (((section, key), _unknown_key(f"{section}.{key}")) for key in unknown)
            left = {key: value for key, value in left.items() if key not in unknown}
        yield from _settings_faults(section, left)


def _settings_faults(section: str, left: Mapping[str, Any]) -> Iterator[Fault]:
    explained = f"`understudy {section} --help`" if section in STEPS else "`understudy card new`"
    while left:
        try:
            build_section(section, left, f"{section}.")
            break
        except BadSetting as error:
            named = {sentence: _named(left, section, sentence) for sentence in error.faults}
        remedy = f"Mend it; {explained} explains every setting."
        yield from (((section, *keys[:1]), _with_remedy(sentence, remedy)) for sentence, keys in named.items())
        faulty = {key for keys in named.values() for key in keys}
        left = {key: value for key, value in left.items() if key not in faulty} if faulty else {}


def _named(settings: Mapping[str, Any], step: str, sentence: str) -> list[str]:
    """Return the settings that a fault is about: the one with its address, or all that the sentence names."""
    exact = [key for key in settings if f"({step}.{key})" in sentence or sentence.startswith(f"{step}.{key} ")]
    return exact or [key for key in settings if re.search(rf"\b{re.escape(key)}\b", sentence)]


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
    labels, is_many = [name for name in names if isinstance(name, str)], content.get("labels_per_text") == "many"
    yield from must.faults(_parts(content, "must"), labels, is_many=is_many)
    yield from _label_contradictions(content, names)
    yield from _context_contradictions(content)
    for part in ("labels", "weak_rules", "slices"):
        met: set[str] = set()
        for index, name in enumerate(map(str, _names(content, part))):
            if name in met:
                yield (part, index, "name"), f"A name must stand once in {part}, got '{name}' twice."
            met.add(name)
    yield from _alike(content.get("labels"))
    yield from _alike_aliases(content.get("labels"))


def _label_contradictions(content: Mapping[str, Any], names: Sequence[Any]) -> Iterator[Fault]:
    """Rules on what the card says of single labels."""
    goals = content.get("goals")
    asked = goals if isinstance(goals, dict) else {}
    is_many = content.get("labels_per_text") == "many"
    yield from _with_several(content) if is_many else _with_one(asked)
    if content.get("positive_label") is None:
        yield from _without_positive(asked, names, is_many=is_many)
    yield from _prior_contradictions(content, names)
    of_labels = asked.get("labels")
    named: list[tuple[tuple[str | int, ...], Any]] = []
    named += [(("goals", "labels", name), name) for name in (of_labels if isinstance(of_labels, dict) else ())]
    for index, pair in enumerate(_parts(content, "confusion_costs")):
        named += [(("confusion_costs", index, key), pair.get(key)) for key in ("label", "given")]
        if pair.get("label") == pair.get("given"):
            yield ("confusion_costs", index), f"A confusion must be of two labels, got '{pair.get('label')}' twice."
    pairs = Counter((str(pair.get("label")), str(pair.get("given"))) for pair in _parts(content, "confusion_costs"))
    for (label, given), times in pairs.items():
        if times > 1:
            yield ("confusion_costs",), f"A confusion must have one cost, got {times} for '{label}' given '{given}'."
    for path, name in named:
        if names and name not in names:
            yield path, f"A label must be one of the card's, got '{name}' ({'.'.join(map(str, path))})."


def _context_contradictions(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Rules on what is shown before a text."""
    ingest = content.get("ingest")
    split = ingest.get("split", "none") if isinstance(ingest, dict) else "none"
    if content.get("context") is not None and split != "none":
        yield (
            ("context",),
            f"A card with context must leave its texts whole, got ingest.split {split!r:.40}. Take one of the two out.",
        )


def _with_one(goals: Mapping[str, Any]) -> Iterator[Fault]:
    """Rules on what makes no sense where a text has one label."""
    if goals.get("micro_f1") is not None:
        yield (
            ("goals", "micro_f1"),
            (
                "A goal for micro_f1 must have labels_per_text: many, got one label a text, where it is the accuracy "
                "(goals.micro_f1). Ask for accuracy."
            ),
        )


def _with_several(content: Mapping[str, Any]) -> Iterator[Fault]:
    """Rules on what makes no sense where each label is a yes or no of its own."""
    if content.get("positive_label") is not None:
        yield (
            ("positive_label",),
            (
                "A card with labels_per_text: many must look for no single label, got "
                f"{content['positive_label']!r:.80} (positive_label). Take it out; goals.labels asks for F1 and recall "
                "of a label."
            ),
        )
    yield from _like_sets(_names(content, "labels"))
    if content.get("confusion_costs"):
        yield (
            ("confusion_costs",),
            (
                "A card with labels_per_text: many must have no costs of confusion, got some (confusion_costs): a "
                "label is then given or not, never in place of another. Take them out."
            ),
        )
    cascade = content.get("cascade")
    if isinstance(cascade, dict) and cascade.get("max_missed"):
        yield (
            ("cascade", "max_missed"),
            (
                f"A card with labels_per_text: many must have no first stage, got {cascade['max_missed']!r:.40} "
                "(cascade.max_missed): it settles one label, and here each is decided apart. Take it out."
            ),
        )


def _like_sets(names: Sequence[Any]) -> Iterator[Fault]:
    """Rules on names that a file's cell could not hold, since it says something else there."""
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue  # which is said elsewhere
        if name in {label_sets.NOTHING, label_sets.NO_LABEL}:
            yield (
                ("labels", index, "name"),
                (
                    f"A label must not be called {name!r} where a text may have several, for that says that it has "
                    f"none (labels.{index}.name). Call it by what such texts are about, or take it out."
                ),
            )
        elif label_sets.is_list(name):
            yield (
                ("labels", index, "name"),
                (
                    f"A label must not be called {name!r:.80} where a text may have several, for that is how a set of "
                    f"labels is written (labels.{index}.name). Call it otherwise."
                ),
            )


def _without_positive(goals: Mapping[str, Any], names: Sequence[Any], *, is_many: bool) -> Iterator[Fault]:
    if len(names) == FEWEST_LABELS and not is_many:
        listed = ", ".join(map(str, names))
        yield (
            ("positive_label",),
            f"A card with two labels must say which is looked for, got none (positive_label). Name one of {listed}.",
        )
    for key in ("f1", "recall"):
        if goals.get(key) is not None:
            remedy = "Name a positive_label, or ask for macro_f1, accuracy or goals.labels."
            yield ("goals", key), f"A goal for {key} must have a positive label, got none (goals.{key}). {remedy}"


def _prior_contradictions(content: Mapping[str, Any], names: Sequence[Any]) -> Iterator[Fault]:
    prior = content.get("prior")
    is_many = content.get("labels_per_text") == "many"
    if isinstance(prior, float) and content.get("positive_label") is None and (is_many or len(names) != 2):
        yield (
            ("prior",),
            (
                f"prior must say the share of each label where none is looked for, got {prior} (prior). Name a "
                "positive_label, or give each label its share."
            ),
        )
    if not isinstance(prior, dict) or not names:
        return
    if missing := [str(name) for name in names if name not in prior]:
        yield ("prior",), f"prior must have a share for each label, got none for {', '.join(missing[:3])} (prior)."
    for name in prior:
        if name not in names:
            yield ("prior", str(name)), f"A label must be one of the card's, got '{name}' (prior.{name})."
    shares = [share for share in prior.values() if isinstance(share, (int, float)) and 0 < share < 1]
    if content.get("labels_per_text") == "many":  # labels that stand together need not add up
        return
    if len(shares) == len(prior) == len(names) and abs(sum(shares) - 1) > PRIOR_SLACK:
        yield ("prior",), f"prior's shares must add up to 1, got {sum(shares):.4g} (prior)."


def _alike(labels: Any) -> Iterator[Fault]:
    """Find labels that people, and spreadsheets, take for one another."""
    met: dict[str, str] = {}
    for index, label in enumerate(labels if isinstance(labels, list) else ()):
        name = label.get("name") if isinstance(label, dict) else None
        if not isinstance(name, str) or name in met.values() or not (folded := signs.folded(name)):
            continue
        if (other := met.setdefault(folded, name)) != name:
            shown = ascii if signs.look_the_same(name, other) else repr
            rule = "Labels must differ by more than case, blanks and signs that do not show"
            yield ("labels", index, "name"), f"{rule}, got {shown(other)} and {shown(name)}."


def _alike_aliases(labels: Any) -> Iterator[Fault]:
    """Find aliases that could mean two labels."""
    listed = [label for label in labels if isinstance(label, dict)] if isinstance(labels, list) else []
    names = [label.get("name") for label in listed]
    meant = {signs.folded(name): index for index, name in enumerate(names) if isinstance(name, str)}
    for index, label in enumerate(listed):
        aliases = label.get("aliases")
        for alias in aliases if isinstance(aliases, list) else ():
            cell = label_sets.as_cell(alias)
            if isinstance(cell, str) and (other := meant.setdefault(signs.folded(cell), index)) != index:
                yield (
                    ("labels", index, "aliases"),
                    (
                        f"An alias must mean one label, got {cell!r} for '{names[index]}' and '{names[other]}' "
                        f"(labels.{index}.aliases). Take it out of one."
                    ),
                )


def _passwords(root: yaml.Node) -> Iterator[Fault]:
    """Look at every address that the card names: the card goes into the store, where others read it."""
    waiting: list[tuple[yaml.Node, tuple[str | int, ...]]] = [(root, ())]
    visited: set[int] = set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [(value, (*path, str(key.value))) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, (*path, index)) for index, item in enumerate(node.value)]
        elif has_password(str(node.value), is_address=bool(path) and str(path[-1]).endswith("url")):
            key = ".".join(map(str, path))
            yield path, f"An address must hold no password, got one ({key}; not shown). Put it into the environment."


def _parts(content: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    items = content.get(part)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _names(content: Mapping[str, Any], part: str) -> list[Any]:
    return [item.get("name") for item in _parts(content, part)]


def _line(node: yaml.Node, path: tuple[str | int, ...], keys: Keys) -> int:
    """Line of the deepest part of `path` that the file has, counted from 1; `keys` keeps what was looked up."""
    line = int(node.start_mark.line) + 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            if id(node) not in keys:
                keys[id(node)] = {str(key.value): (key, value) for key, value in node.value}
            if str(part) not in keys[id(node)]:
                break
            key, node = keys[id(node)][str(part)]
            line = int(key.start_mark.line) + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = int(node.start_mark.line) + 1
        else:
            break
    return line
