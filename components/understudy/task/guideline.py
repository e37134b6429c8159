"""Tell a card's guideline, by which people and teacher label, from other ones: its name, and what changed."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.task.card import Card
from understudy.text.numbers import clipped, count

DIGITS = 12
SHOWN_CHARS = 200  # of a rule, a definition or an example that changed
Described = tuple[str, tuple[str, ...]]  # a label's definition and examples


@dataclass(frozen=True, slots=True)
class Change:
    """What changed from one guideline to another.

    Attributes:
        sentences: each change in words.
        is_general: a rule or the question changed, or a label was added, so that any text's label may be another now.
        labels: names of the labels whose own definition or examples changed, or that were taken out.
    """

    sentences: tuple[str, ...]
    is_general: bool
    labels: frozenset[str]

    def touches(self, names: Collection[str]) -> bool:
        """Tell whether the change is about what a text was given.

        Args:
            names: of the labels that it was given.

        >>> change = Change(("...",), is_general=False, labels=frozenset({"tip"}))
        >>> change.touches(["tip"]), change.touches(["praise"])
        (True, False)
        """
        return self.is_general or not self.labels.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Guideline:
    """What people and teacher label by.

    The order of labels and of their examples, how lines are broken, and what else a card says (budgets, goals, columns,
    aliases, other settings, and instructions that the teacher alone reads) are no part of it.

    Attributes:
        question: the card's.
        rules: the decision rules in their order: an earlier one may take precedence.
        labels: definition and examples of each label by its name.
        is_many: a text may have several labels, or none.
    """

    question: str
    rules: tuple[str, ...]
    labels: Mapping[str, Described]
    is_many: bool = False

    @classmethod
    def of(cls, card: Card) -> "Guideline":
        """Return the guideline of a card."""
        labels = {label.name: _described(label.definition, label.examples) for label in card.labels}
        return cls(_flat(card.question), _all_flat(card.rules), labels, card.is_many)

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> "Guideline":
        """Return the guideline of a card of any release, by what its YAML says.

        Raises:
            KeyError, TypeError, AttributeError: it is no card.
        """
        labels = {
            str(label["name"]).strip(): _described(label.get("definition") or "", label.get("examples") or ())
            for label in content["labels"]
        }
        is_many = content.get("labels_per_text") == "many"
        return cls(_flat(content.get("question") or ""), _all_flat(content.get("rules") or ()), labels, is_many)

    @property
    def hash(self) -> str:
        """Its name: "g" and the first digits of a SHA-256; by the letter no spreadsheet takes 12e4567 for a number."""
        said: dict[str, Any] = {"question": self.question, "rules": self.rules, "labels": self.labels}
        said |= {"labels_per_text": "many"} if self.is_many else {}
        canonical = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return "g" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]

    def change_to(self, now: "Guideline") -> Change:
        """Say what changed from this guideline to a newer one.

        >>> old = Guideline("Tip?", ("When unsure, no.",), {"tip": ("Advice.", ()), "no": ("The rest.", ())})
        >>> new = Guideline("Tip?", ("When unsure, no.",), {"tip": ("Advice to act on.", ()), "no": ("The rest.", ())})
        >>> old.change_to(new).sentences
        ("the definition of 'tip' was 'Advice.' and is 'Advice to act on.'",)
        >>> old.change_to(new).labels
        frozenset({'tip'})
        """
        both = [name for name in now.labels if name in self.labels]
        own = {name: [*_of_label(name, self.labels[name], now.labels[name])] for name in both}
        own |= {name: [f"label taken out: {_quoted(name)}"] for name in self.labels if name not in now.labels}
        general = [*_of_all(self, now)]
        sentences = [*general, *(sentence for said in own.values() for sentence in said)]
        return Change(tuple(sentences), bool(general), frozenset(name for name, said in own.items() if said))


def _of_all(old: Guideline, now: Guideline) -> Iterator[str]:
    """Say what changed that may touch any text."""
    if old.question != now.question:
        yield f"the question was {_quoted(old.question)} and is {_quoted(now.question)}"
    if old.is_many != now.is_many:
        yield f"a text may have {'several labels, or none' if now.is_many else 'one label alone'}"
    yield from _parts("decision rule", old.rules, now.rules)
    if old.rules != now.rules and sorted(old.rules) == sorted(now.rules):
        yield f"the {count(len(now.rules), 'decision rule')} stand in another order"
    yield from (f"label added: {_quoted(name)}" for name in now.labels if name not in old.labels)


def _of_label(name: str, old: Described, now: Described) -> Iterator[str]:
    """Say what changed of one label."""
    if old[0] != now[0]:
        yield f"the definition of '{clipped(name)}' was {_quoted(old[0])} and is {_quoted(now[0])}"
    yield from _parts(f"example of '{clipped(name)}'", old[1], now[1])


def _parts(what: str, old: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    yield from (f"{what} taken out: {_quoted(part)}" for part in dict.fromkeys(old) if part not in now)
    yield from (f"{what} added: {_quoted(part)}" for part in dict.fromkeys(now) if part not in old)


def _quoted(words: str) -> str:
    return f"'{clipped(words, SHOWN_CHARS)}'"


def _described(definition: Any, examples: Sequence[Any]) -> Described:
    return _flat(definition), tuple(sorted(set(_all_flat(examples))))


def _all_flat(parts: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(_flat, parts))


def _flat(words: Any) -> str:
    """Write words in one line, as YAML may fold them."""
    return " ".join(str(words).split())
