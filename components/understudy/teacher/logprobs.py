"""Turn the log-probabilities of an answer's tokens into one probability a label.

Only the tokens that write the label's name count. The name is walked token by token: an alternative that fits one
label alone gives that label its probability; one that still fits several (labels that begin alike) is followed where
the answer itself went. A label that the server did not list among its alternatives gets the most it can have had: what
the listed ones leave, but no more than the least of them. The masses are then scaled to sum to one over the labels.

Servers list tokens that are no part of the answer: an end token, a newline, the fence around the JSON, or what was
thought before it. The answer is looked for in the tokens, from their end.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

VALUE = re.compile(rb'"label"\s*:\s*"')


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
        masses = _masses(tokens, begin + found.end(), {label: json_bytes(label) for label in labels})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    total = sum(masses.values())
    return [masses[label] / total for label in labels] if total > 0 and math.isfinite(total) else None


def json_bytes(label: str) -> bytes:
    """Return what follows the opening quote when a label is written in JSON, its closing quote included."""
    return label.encode() + b'"'


def _masses(tokens: Sequence[Mapping[str, Any]], start: int, written: Mapping[str, bytes]) -> dict[str, float]:
    """Walk the label's tokens from byte `start`, giving each label the probability of what fits it alone."""
    masses = dict.fromkeys(written, 0.0)
    so_far, reach, unlisted = b"", 1.0, 0.0
    for token, begin in zip(tokens, _begins(tokens), strict=True):
        if begin + len(_bytes(token)) <= start:
            continue
        lead = _bytes(token)[: max(start - begin, 0)]
        listed = _listed(token)
        for alternative, probability in listed.items():
            fits = _fitting(alternative, lead, so_far, written)
            if len(fits) == 1:
                masses[fits[0]] += reach * probability
        unlisted += reach * min(max(1.0 - sum(listed.values()), 0.0), *listed.values())
        if len(_fitting(_bytes(token), lead, so_far, written)) <= 1:
            break
        so_far += _bytes(token)[len(lead) :]
        reach *= listed[_bytes(token)]
    return {label: mass or unlisted for label, mass in masses.items()}


def _fitting(alternative: bytes, lead: bytes, so_far: bytes, written: Mapping[str, bytes]) -> list[str]:
    """Which labels can still be meant when `alternative` follows what was written so far."""
    if not alternative.startswith(lead) or alternative == lead:
        return []
    text = so_far + alternative[len(lead) :]
    return [label for label, full in written.items() if full.startswith(text) or text.startswith(full)]


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
