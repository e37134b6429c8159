"""Let a simulated teacher misbehave as real servers do: a table of names, each with what it does to an answer.

    understudy rehearse --answers labelled.csv --misbehave fence --misbehave refuse:logprobs --misbehave length=0.1

A chance after `=` strikes that share of the texts, always the same ones.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.errors import BadInput
from understudy.stats import draw

PROSE = "It is hard to say, for much depends on how one reads it."
SLOW_S = 1.0
THOUGHT_TOKENS = 300
CUT_TO = 3  # the part of a prompt's tokens that is read, where prompts are cut


@dataclass(frozen=True, slots=True)
class Turn:
    """One request and the answer to it.

    Attributes:
        request: as it came.
        tries: how often its text was asked for so far, this time included.
        body: what is answered.
        status: of HTTP.
    """

    request: Mapping[str, Any]
    tries: int
    body: Mapping[str, Any]
    status: int = 200

    @property
    def content(self) -> str:
        """What the model wrote; empty where it wrote nothing."""
        return str(self.body["choices"][0]["message"]["content"] or "") if self.status == 200 else ""

    def saying(self, content: Any, finish_reason: str = "stop", **message: Any) -> "Turn":
        """Say something else in its place."""
        (choice,) = self.body["choices"]
        message = {**choice["message"], "content": content, **message}
        return replace(
            self, body={**self.body, "choices": [{**choice, "message": message, "finish_reason": finish_reason}]}
        )

    def billing(self, **usage: int) -> "Turn":
        """Count the tokens in another way."""
        return replace(self, body={**self.body, "usage": {**self.body["usage"], **usage}})

    def refused(self, words: str, status: int = 400, **more: Any) -> "Turn":
        """Answer with an error in its place."""
        return replace(self, body={"error": {"message": words, "code": None, **more}}, status=status)


Change = Callable[[Turn, str], Turn]


def _fence(turn: Turn, _: str) -> Turn:
    return turn.saying(f"```json\n{turn.content}\n```")


def _think(turn: Turn, _: str) -> Turn:
    return turn.saying(f'<think>Is it {{"label": "?"}}? Let me see.</think>\n\n{turn.content}')


def _sentence(turn: Turn, _: str) -> Turn:
    return turn.saying(f"Sure! My answer is {turn.content}, by the rules.")


def _case(turn: Turn, _: str) -> Turn:
    return turn.saying(json.dumps(_titled(json.loads(turn.content))))


def _titled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.title(): _titled(part) for key, part in value.items()}
    return [_titled(part) for part in value] if isinstance(value, list) else str(value).upper()


def _single_quotes(turn: Turn, _: str) -> Turn:
    return turn.saying(str(json.loads(turn.content)))


def _parts(turn: Turn, _: str) -> Turn:
    middle = len(turn.content) // 2
    texts = (turn.content[:middle], turn.content[middle:])
    return turn.saying([{"type": "text", "text": text} for text in texts])


def _prose(turn: Turn, _: str) -> Turn:
    return turn.saying(PROSE)


def _length(turn: Turn, _: str) -> Turn:
    return turn.saying(turn.content[: len(turn.content) // 2], "length")


def _refusal(turn: Turn, _: str) -> Turn:
    return turn.saying(None, refusal="I'd rather not say.")


def _filter(turn: Turn, _: str) -> Turn:
    return turn.saying(None, "content_filter")


def _filter_text(turn: Turn, _: str) -> Turn:
    return turn.refused("The text was filtered by the content management policy.", code="content_filter")


def _null(turn: Turn, _: str) -> Turn:
    return turn.saying(None)


def _thoughts_alone(turn: Turn, _: str) -> Turn:
    return turn.saying(None, reasoning_content=f"Could it be this: {turn.content}?")


def _no_logprobs(turn: Turn, _: str) -> Turn:
    (choice,) = turn.body["choices"]
    return replace(turn, body={**turn.body, "choices": [{**choice, "logprobs": None}]})


def _no_usage(turn: Turn, _: str) -> Turn:
    return replace(turn, body={key: value for key, value in turn.body.items() if key != "usage"})


def _cut_prompts(turn: Turn, _: str) -> Turn:
    return turn.billing(prompt_tokens=turn.body["usage"]["prompt_tokens"] // CUT_TO)


def _thoughts(turn: Turn, _: str) -> Turn:
    return turn.billing(total_tokens=turn.body["usage"]["total_tokens"] + THOUGHT_TOKENS)


def _slow(turn: Turn, _: str) -> Turn:
    time.sleep(SLOW_S)
    return turn


def _error_with_200(turn: Turn, _: str) -> Turn:
    error = {"error": {"message": "We are overloaded.", "type": "overloaded_error"}}
    return replace(turn, body=error) if turn.tries == 1 else turn


def _no_schema(turn: Turn, _: str) -> Turn:
    return _without_format(turn, "json_schema")


def _no_json_mode(turn: Turn, _: str) -> Turn:
    return _without_format(turn, "json_object")


def _without_format(turn: Turn, kind: str) -> Turn:
    is_asked = (turn.request.get("response_format") or {}).get("type") == kind
    return turn.refused(f"response_format of type '{kind}' is not supported") if is_asked else turn


def _refuse(turn: Turn, name: str) -> Turn:
    return turn.refused(f"Unsupported parameter: {name}") if name in turn.request else turn


def _refuse_list(turn: Turn, name: str) -> Turn:
    refused = _refuse(turn, name)
    return refused if refused is turn else replace(refused, body=[refused.body])  # type: ignore[arg-type]


def _refuse_detail(turn: Turn, name: str) -> Turn:
    told = {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]}
    return replace(turn, body=told, status=422) if name in turn.request else turn


MISBEHAVIOURS: Mapping[str, tuple[str, Change]] = {
    "fence": ("a code fence around the JSON", _fence),
    "think": ("a <think> block before it, with another JSON in it", _think),
    "sentence": ("a sentence around it", _sentence),
    "case": ("key and label in another case", _case),
    "single-quotes": ("the answer as Python writes it", _single_quotes),
    "parts": ("the content as a list of parts", _parts),
    "prose": ("an answer without any JSON", _prose),
    "length": ("an answer that is cut (finish_reason length)", _length),
    "refusal": ("a refusal of the model", _refusal),
    "filter": ("an answer that the content filter stopped", _filter),
    "filter-text": ("a request that the content filter stopped (HTTP 400)", _filter_text),
    "null": ("null content", _null),
    "thoughts-alone": ("null content beside reasoning_content", _thoughts_alone),
    "thoughts": ("thoughts that are billed in total_tokens alone", _thoughts),
    "no-logprobs": ("no log-probabilities, whoever asks", _no_logprobs),
    "no-usage": ("no count of tokens", _no_usage),
    "cut-prompts": ("prompts cut to a third, by the count of tokens", _cut_prompts),
    "slow": (f"{SLOW_S:g} second more for each answer", _slow),
    "http-200-error": ("an error that passes, sent with HTTP 200, at the first request for a text", _error_with_200),
    "no-schema": ("no strict JSON schema (HTTP 400)", _no_schema),
    "no-json-mode": ("no JSON mode (HTTP 400)", _no_json_mode),
    "refuse": ("NAME is refused, after a colon: refuse:logprobs (HTTP 400, the error an object)", _refuse),
    "refuse-list": ("the same, the error in a list", _refuse_list),
    "refuse-detail": ("the same, HTTP 422 with `detail`", _refuse_detail),
}
TAKES_A_NAME = frozenset({"refuse", "refuse-list", "refuse-detail"})


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """One of the table, as it is asked for.

    Attributes:
        kind: a key of `MISBEHAVIOURS`.
        name: the parameter that is refused; empty for those that refuse none.
        share: of the texts that it strikes, in [0, 1].
    """

    kind: str
    name: str = ""
    share: float = 1.0


def parse(items: Sequence[str]) -> tuple[Misbehaviour, ...]:
    """Read `KIND`, `KIND:NAME` and `KIND=SHARE` items.

    >>> parse(["refuse:logprobs", "length=0.1"])
    (Misbehaviour(kind='refuse', name='logprobs', share=1.0), Misbehaviour(kind='length', name='', share=0.1))

    Raises:
        BadInput: an item is none of the table, or its share is no chance.
    """
    return tuple(map(_parsed, items))


def _parsed(item: str) -> Misbehaviour:
    rest, has_share, written = item.partition("=")
    kind, _, name = rest.partition(":")
    try:
        share = float(written) if has_share else 1.0
    except ValueError:
        share = math.nan
    if kind not in MISBEHAVIOURS or bool(name) != (kind in TAKES_A_NAME) or not 0 <= share <= 1:
        raise BadInput(
            f"A misbehaviour must be one of {', '.join(MISBEHAVIOURS)}, the last three with a parameter's name "
            f"(refuse:logprobs), each with a share of the texts after '=' if not of all, got '{item}' (--misbehave)."
        )
    return Misbehaviour(kind, name, share)


def misbehave(turn: Turn, asked: Sequence[Misbehaviour], seed: int, content: str) -> Turn:
    """Let each misbehaviour that strikes a text change the answer to it, until one of them ends in an error.

    Args:
        turn: the request, and the answer as it should be.
        asked: what strikes, in the order in which it does.
        seed: of the draw of the texts.
        content: hash of the text.
    """
    for one in asked:
        is_over = turn.status != 200 or "choices" not in turn.body
        if is_over or draw.share(seed, f"misbehave {one.kind}", content) >= one.share:
            continue
        turn = MISBEHAVIOURS[one.kind][1](turn, one.name)
    return turn
