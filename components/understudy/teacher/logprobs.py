"""Turn the log-probabilities of an answer's tokens into one probability a label.

Only the tokens that write the label's name count. The name is walked token by token: an alternative that fits one
label alone gives that label its probability; one that still fits several (labels that begin alike) is followed where
the answer itself went, and else shared out evenly between them. Labels that the server did not list among its
alternatives get the most they can have had: each no more than the least of the listed, and all of them together no
more than what the listed leave. The masses are then scaled to sum to one over the labels.

With many labels that is little to go by: where more than half of the mass is of labels that the tokens do not tell
apart, there are no probabilities.

Servers list tokens that are no part of the answer: an end token, a newline, the fence around the JSON, or what was
thought before it. The answer is looked for in the tokens, from their end.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VALUE = re.compile(rb'"label"\s*:\s*"')
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
    answer = content.strip().encode()
    found = VALUE.search(answer)
    try:
        begin = b"".join(map(_bytes, tokens or [])).rfind(answer)
        if not found or begin < 0:
            return None
        walked = list(_walk(tokens, begin + found.end(), [written(label) for label in labels]))
        return _scaled(walked, len(labels))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


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


def _walk(tokens: Sequence[Mapping[str, Any]], start: int, forms: Sequence[tuple[bytes, ...]]) -> Iterator[_Step]:
    """Walk the tokens of the label from byte `start`, for as long as they leave several labels open."""
    so_far, reach = b"", 1.0
    open_labels = frozenset(range(len(forms)))
    for token, begin in zip(tokens, _begins(tokens), strict=True):
        if begin + len(_bytes(token)) <= start:
            continue
        lead = _bytes(token)[: max(start - begin, 0)]
        listed = _listed(token)
        fits = {alternative: _fitting(alternative, lead, so_far, forms) for alternative in listed}
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


def _fitting(alternative: bytes, lead: bytes, so_far: bytes, forms: Sequence[tuple[bytes, ...]]) -> frozenset[int]:
    """Which labels can still be meant when `alternative` follows what was written so far."""
    if not alternative.startswith(lead) or alternative == lead:
        return frozenset()
    text = so_far + alternative[len(lead) :]
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
