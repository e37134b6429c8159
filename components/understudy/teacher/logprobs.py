"""Turn the log-probabilities of an answer's tokens into one probability a label.

Only the tokens that write the label's name count. The name is walked token by token: an alternative that fits one
label alone gives that label its probability; one that still fits several (labels that begin alike) is followed where
the answer itself went, and else shared out evenly between them. Labels that the server did not list among its
alternatives get the most they can have had: each no more than the least of the listed, and all of them together no
more than what the listed leave. The masses are then scaled to sum to one over the labels.

With many labels that is little to go by: where more than half of the mass is of labels that the tokens do not tell
apart, there are no probabilities.

Where a text may have several labels, an answer lists them in the card's order, so each label's yes or no is decided in
one place: behind the last label that was given before it. There the name that follows, or the end of the list, is told
as above, and a label's probability is that of its name among the names from its own on and the end. It holds given what
the answer says of the labels before. An answer in another order tells nothing.

Servers list tokens that are no part of the answer: an end token, a newline, the fence around the JSON, or what was
thought before it. The answer is looked for in the tokens, from their end.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VALUE = re.compile(rb'"label"\s*:\s*"')
LIST = re.compile(rb'"labels"\s*:\s*\[')
ELEMENT = re.compile(rb'\s*,?\s*("(?:[^"\\]|\\.)*")')
SEPARATOR = re.compile(rb"\s*(,?)\s*")
MOST_UNTOLD = 0.5  # of the mass, that labels may share which the tokens do not tell apart


def label_probabilities(content: str, tokens: Any, labels: Sequence[str]) -> list[float] | None:
    """Return the probability of each label, in the order of `labels`; None where the tokens do not tell.

    Args:
        content: the answer, as JSON with a key "label".
        tokens: `choices[0].logprobs.content` of the chat API, or None.
        labels: names of the labels.

    >>> tokens = [{"token": '{"label":"', "logprob": 0.0},
    ...           {"token": "tip", "logprob": math.log(0.6),
    ...            "top_logprobs": [{"token": "tip", "logprob": math.log(0.6)},
    ...                             {"token": "other", "logprob": math.log(0.2)}]},
    ...           {"token": '"}', "logprob": 0.0}]
    >>> [round(p, 2) for p in label_probabilities('{"label":"tip"}', tokens, ["tip", "other"])]
    [0.75, 0.25]
    """

    def read(_: bytes, begin: int, start: int) -> list[float] | None:
        return _scaled(list(_walk(tokens, begin + start, [written(label) for label in labels])), len(labels))

    return _read(content, tokens, VALUE, read)


def set_probabilities(content: str, tokens: Any, labels: Sequence[str]) -> list[float] | None:
    """Return the probability of each label to be in the set, in the order of `labels`; None where tokens do not tell.

    Args:
        content: the answer, as JSON with a key "labels".
        tokens: as `label_probabilities` takes them.
        labels: names of the labels.

    >>> ended = [{"token": "]", "logprob": math.log(0.6)}, {"token": ', "tip"', "logprob": math.log(0.4)}]
    >>> tokens = [{"token": '{"labels":["praise"', "logprob": math.log(0.9),
    ...            "top_logprobs": [{"token": '{"labels":[]', "logprob": math.log(0.1)}]},
    ...           {**ended[0], "top_logprobs": ended}, {"token": "}", "logprob": 0.0}]
    >>> [round(p, 2) for p in set_probabilities('{"labels":["praise"]}', tokens, ["praise", "tip"])]
    [0.9, 0.4]
    """

    def read(answer: bytes, begin: int, start: int) -> list[float] | None:
        return _decided(tokens, begin, list(_elements(answer, start)), start, labels)

    return _read(content, tokens, LIST, read)


def _read(
    content: str, tokens: Any, opening: re.Pattern[bytes], read: Callable[[bytes, int, int], list[float] | None]
) -> list[float] | None:
    """Find an answer in its tokens and read its probabilities; None where they do not hold it, or are no tokens.

    Args:
        content: the answer.
        tokens: as `label_probabilities` takes them.
        opening: what stands before the label or labels.
        read: takes the answer, where in the tokens it begins, and where in it the opening ends.
    """
    answer = content.strip().encode()
    found = opening.search(answer)
    try:
        begin = b"".join(map(_bytes, tokens or [])).rfind(answer)
        return read(answer, begin, found.end()) if found and begin >= 0 else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _decided(
    tokens: Sequence[Mapping[str, Any]],
    begin: int,
    elements: Sequence[tuple[str, int]],
    start: int,
    labels: Sequence[str],
) -> list[float] | None:
    """Walk a list of names, deciding at each the labels up to it, and at its end the rest.

    Args:
        tokens: as `label_probabilities` takes them.
        begin: where in them the answer begins.
        elements: what `_elements` found.
        start: where in the answer the list begins.
        labels: names of the labels.
    """
    given = [labels.index(name) for name, _ in elements]
    if given != sorted(set(given)):
        return None
    decided: list[float] = []
    for last, place in zip([*given, len(labels) - 1], [start, *(end for _, end in elements)], strict=True):
        following = _next_names(tokens, begin + place, labels[len(decided) :], is_first=place == start)
        if following is None:
            return None
        decided += _chances(following)[: last + 1 - len(decided)]
    return decided


def _elements(answer: bytes, start: int) -> Iterator[tuple[str, int]]:
    """Find the names of a list of them, and where each ends, its closing quote included."""
    while found := ELEMENT.match(answer, start):
        start = found.end()
        yield str(json.loads(found[1])), start


def _next_names(
    tokens: Sequence[Mapping[str, Any]], start: int, labels: Sequence[str], *, is_first: bool
) -> list[float] | None:
    """Probabilities that each label follows in a list, and that the list ends; None where the tokens do not tell."""
    if not labels:
        return [1.0]
    before = b'"' if is_first else b',"'
    forms = [*(tuple(before + way for way in written(label)) for label in labels), (b"]",)]
    return _scaled(list(_walk(tokens, start, forms, _without_space)), len(forms))


def _chances(following: Sequence[float]) -> list[float]:
    """Chance of each label by itself, from the chances that it is the next one and that none of them is.

    >>> [round(chance, 2) for chance in _chances([0.5, 0.1, 0.4])]  # of the half without the first, a fifth is the next
    [0.5, 0.2]
    """
    left, chances = following[-1], []
    for probability in reversed(following[:-1]):
        left += probability
        chances.append(probability / left if left else 0.0)
    return chances[::-1]


def _without_space(text: bytes) -> bytes:
    """Leave out the spaces around the sign that stands before a name in a list."""
    return SEPARATOR.sub(rb"\1", text, count=1)


def _as_it_is(text: bytes) -> bytes:
    return text


def written(label: str) -> tuple[bytes, ...]:
    r"""Return what may follow the opening quote when a label is written in JSON, its closing quote included.

    >>> written('a "tip"'), written("café")
    ((b'a \\"tip\\""',), (b'caf\xc3\xa9"', b'caf\\u00e9"'))
    """
    forms = (json.dumps(label, ensure_ascii=is_ascii)[1:].encode() for is_ascii in (False, True))
    return tuple(dict.fromkeys(forms))


@dataclass(frozen=True, slots=True)
class _Step:
    """What one token tells of the labels, its probabilities already times the chance to come to it.

    Attributes:
        open: columns of the labels that can be meant when the token begins.
        told: probabilities of what was listed, by the columns of the labels that it fits.
        unlisted: what the listed alternatives leave.
        least: the least probability of a listed one.
    """

    open: frozenset[int]
    told: Sequence[tuple[frozenset[int], float]]
    unlisted: float
    least: float


def _walk(
    tokens: Sequence[Mapping[str, Any]],
    start: int,
    forms: Sequence[tuple[bytes, ...]],
    plain: Callable[[bytes], bytes] = _as_it_is,
) -> Iterator[_Step]:
    """Walk the tokens of the label from byte `start`, for as long as they leave several labels open.

    Args:
        tokens: as `label_probabilities` takes them.
        start: where the label begins.
        forms: ways to write each label.
        plain: leaves out of what was written what makes no difference.
    """
    so_far, reach = b"", 1.0
    open_labels = frozenset(range(len(forms)))
    for token, begin in zip(tokens, _begins(tokens), strict=True):
        if begin + len(_bytes(token)) <= start:
            continue
        lead = _bytes(token)[: max(start - begin, 0)]
        listed = _listed(token)
        fits = {
            alternative: _fitting(plain(so_far + alternative[len(lead) :]), forms)
            if alternative.startswith(lead) and alternative != lead
            else frozenset()
            for alternative in listed
        }
        taken = fits[_bytes(token)]
        told = [
            (labels, reach * listed[alternative])
            for alternative, labels in fits.items()
            if len(labels) == 1 or (labels < open_labels and alternative != _bytes(token))
        ]
        left = max(1.0 - sum(listed.values()), 0.0)
        yield _Step(open_labels, told, reach * left, reach * min(listed.values()))
        if len(taken) <= 1:
            return
        so_far += _bytes(token)[len(lead) :]
        reach *= listed[_bytes(token)]
        open_labels = taken


def _scaled(steps: Sequence[_Step], labels: int) -> list[float] | None:
    """Add up what the tokens tell of each label; None where they tell too little."""
    masses, untold = [0.0] * labels, 0.0
    for step in steps:
        for fitting, probability in step.told:
            untold += probability if len(fitting) > 1 else 0.0
            for label in fitting:
                masses[label] += probability / len(fitting)
    nowhere = frozenset(label for label, mass in enumerate(masses) if not mass)
    for step in steps:
        for label in (missing := step.open & nowhere):
            masses[label] += min(step.least, step.unlisted / len(missing))
        untold += min(step.least * len(missing), step.unlisted) if len(missing) > 1 else 0.0
    total = sum(masses)
    is_told = len(nowhere) < labels and math.isfinite(total) and total > 0 and untold <= MOST_UNTOLD * total
    return [mass / total for mass in masses] if is_told else None


def _fitting(text: bytes, forms: Sequence[tuple[bytes, ...]]) -> frozenset[int]:
    """Which labels can still be meant by what was written so far."""
    return frozenset(
        label for label, ways in enumerate(forms) if any(way.startswith(text) or text.startswith(way) for way in ways)
    )


def _listed(token: Mapping[str, Any]) -> dict[bytes, float]:
    """Probabilities of a token's alternatives, the chosen one always among them."""
    alternatives = [token, *(token.get("top_logprobs") or [])]
    return {_bytes(alternative): math.exp(float(alternative["logprob"])) for alternative in alternatives}


def _begins(tokens: Sequence[Mapping[str, Any]]) -> list[int]:
    begins, position = [], 0
    for token in tokens:
        begins.append(position)
        position += len(_bytes(token))
    return begins


def _bytes(token: Mapping[str, Any]) -> bytes:
    """A token's bytes; many servers give only its text."""
    given = token.get("bytes")
    return bytes(given) if given else str(token["token"]).encode()


def probabilities_of(answer: str, logprobs: Any, labels: Sequence[str], *, is_many: bool) -> list[float] | None:
    """Read the probability of each label, where a text has one or where it may have several.

    Args:
        answer: the JSON as it was written.
        logprobs: of its tokens, as the API gives them.
        labels: in the card's order.
        is_many: whether a text may have several.
    """
    return (set_probabilities if is_many else label_probabilities)(answer, logprobs, labels)
