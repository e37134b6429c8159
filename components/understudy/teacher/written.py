"""Find the JSON object in what a model wrote: in a fence, after its thoughts, in a sentence, or in single quotes."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.errors import UnderstudyError

THOUGHTS = re.compile(r"<think>.*?</think>|^.*?</think>|<think>.*\Z", re.DOTALL)
FLAT = re.compile(r"\{[^{}]*\}")
SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'(?=\s*[,:}\]])")


class NoObject(UnderstudyError):
    """There is no answer to read; the message is the reason that is counted."""


def text_of(content: object) -> str:
    """Return what a message says: a text, or the texts among its parts; empty when there is none.

    >>> text_of([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])
    'ab'
    """
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    said = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "".join(text for text in said if isinstance(text, str))


def is_json(content: str) -> bool:
    """Tell whether all that a model wrote is JSON.

    >>> is_json('{"label": "tip"}'), is_json("{'label': 'tip'}")
    (True, False)
    """
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def find_object(content: str, key: str) -> tuple[Mapping[str, Any], str]:
    r"""Find the one object that a model wrote.

    Args:
        content: what it wrote.
        key: that the object has, in whatever case.

    Returns:
        the object, with this key in the card's case; and the JSON as it was written.

    >>> find_object('<think>{"label": "other"}?</think>\n```json\n{"Label": "tip"}\n```', "label")
    ({'label': 'tip'}, '{"Label": "tip"}')
    >>> find_object("My answer is {'label': 'tip'}.", "label")
    ({'label': 'tip'}, "{'label': 'tip'}")

    Raises:
        NoObject: there is none, or there are several that differ.
    """
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        pass
    else:
        if not isinstance(whole, Mapping):
            raise NoObject("the answer is not a JSON object")
        return _with_key(whole, key), content
    said = THOUGHTS.sub("", content)
    found = [(_with_key(answer, key), raw) for answer, raw in _objects(said)]
    meant = [(answer, raw) for answer, raw in found if key in answer]
    if not meant:
        raise NoObject("the answer is not JSON")
    if any(answer[key] != meant[0][0][key] for answer, _ in meant):
        raise NoObject("the answer holds several answers that differ")
    return meant[-1]


def _objects(said: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the outermost objects of a text; one in single quotes where it has no braces inside."""
    decoder, place = json.JSONDecoder(), said.find("{")
    while place >= 0:
        end = place + 1
        try:
            answer, end = decoder.raw_decode(said, place)
            yield answer, said[place:end]
        except (ValueError, RecursionError):
            flat = FLAT.match(said, place)
            answer = _single_quoted(flat[0]) if flat else None
            if flat and answer is not None:
                end = flat.end()
                yield answer, flat[0]
        place = said.find("{", end)


def _single_quoted(raw: str) -> Mapping[str, Any] | None:
    """Read an object as Python writes it; None where it is none."""
    doubled = SINGLE.sub(lambda found: json.dumps(found[1].replace("\\'", "'")), raw)
    try:
        answer = json.loads(doubled)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, Mapping) else None


def _with_key(answer: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Write one key of an object as the card does, where the object has it in another case alone."""
    if key in answer:
        return answer
    return {key if name.casefold() == key else name: value for name, value in answer.items()}
