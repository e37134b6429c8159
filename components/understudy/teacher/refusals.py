"""Read what a server refuses to hear of, and write a request without it."""

from collections.abc import Collection, Mapping
from typing import Any

# What a server may refuse to hear of: the key of the request, and the words that name it in a refusal. Alternatives go
# before log-probabilities, whose name theirs holds.
OPTIONAL = {
    "top_logprobs": ("top_logprobs", "top logprobs"),
    "logprobs": ("logprobs", "log prob", "logarithmic prob"),
    "temperature": ("temperature",),
    "max_completion_tokens": ("max_completion_tokens", "max_tokens"),
    "response_format": ("response_format", "json_schema", "json_object", "structured output", "json mode"),
}
WITHOUT = {
    "top_logprobs": "without top_logprobs",
    "logprobs": "without logprobs",
    "temperature": "without temperature",
    "max_completion_tokens": "with max_tokens in place of max_completion_tokens",
    "json_schema": "in JSON mode in place of a strict schema",
    "json_object": "without response_format, for plain JSON",
}
SAYING = ("error", "detail", "loc", "msg", "message", "param")  # keys of a refusal that say what is refused
FORMS = {  # how an answer was asked for and came: what a reader is told of it
    "schema": "by the strict schema",
    "json": "in JSON mode",
    "plain": "read out of plain text",
}


def refused_in(told: str, body: Mapping[str, Any]) -> str | None:
    """Find the parameter of a request that a refusal names, as a key of `WITHOUT`; None where it names none.

    >>> refused_in("Unknown field: top_logprobs", {"logprobs": True, "top_logprobs": 10})
    'top_logprobs'
    >>> refused_in("response_format is not supported", {"response_format": {"type": "json_schema"}})
    'json_schema'
    """
    said = told.casefold()
    key = next((key for key, words in OPTIONAL.items() if key in body and any(word in said for word in words)), None)
    return str(body[key]["type"]) if key == "response_format" else key


def without(body: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """Write a request without what the server refuses: the old name, a looser format, or nothing in its place.

    >>> without({"max_completion_tokens": 9, "response_format": {"type": "json_schema"}}, {"max_completion_tokens"})
    {'response_format': {'type': 'json_schema'}, 'max_tokens': 9}
    >>> without({"response_format": {"type": "json_schema"}}, {"json_schema"})
    {'response_format': {'type': 'json_object'}}
    """
    left = {key: value for key, value in body.items() if key not in refused}
    if "max_completion_tokens" in refused:
        left["max_tokens"] = body["max_completion_tokens"]
    if "json_schema" in refused:
        left["response_format"] = {"type": "json_object"}
    if "json_object" in refused:
        del left["response_format"]
    return left


def form_of(body: Mapping[str, Any]) -> str:
    """Tell how a request asks for its answer, as a key of `FORMS`.

    >>> form_of({"response_format": {"type": "json_object"}}), form_of({})
    ('json', 'plain')
    """
    asked = body.get("response_format", {}).get("type")
    return {"json_schema": "schema", "json_object": "json"}.get(asked, "plain")


def told(body: object, message: str) -> str:
    """Return what a refusal says, also where it is no error object of the API.

    Args:
        body: of the error, a list or mapping as JSON has it, or a text.
        message: what the client makes of it.

    >>> told({"detail": [{"loc": ["body", "seed"], "msg": "extra", "input": "a text"}]}, "Error code: 422")
    'Error code: 422 body seed extra'
    """
    if not isinstance(body, list | Mapping):
        return message
    if isinstance(body, Mapping) and isinstance(body.get("message"), str):
        return " ".join([message, *_said(body.get("param"))])
    return " ".join([message, *_said(body)])


def _said(value: object) -> list[str]:
    """Collect the words of a refusal; what was sent, which some servers repeat in it, is none of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [word for key in SAYING for word in _said(value.get(key))]
    return [word for item in (value if isinstance(value, list) else []) for word in _said(item)]
