"""Read a log of a chat API: what was asked, and what the server answered, as programs keep it in JSON lines.

A line is one request with its answer, in any of three shapes: `{"request": {"messages": ...}, "response": {"choices":
...}}`; `{"messages": [...]}` whose last message is the assistant's; or a line of the Batch API's output, `{"custom_id":
..., "response": {"body": {"choices": ...}}}`, whose request stands in the batch's input file.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import BadData
from understudy.teacher.client import Reply, read_reply
from understudy.teacher.prompt import unmarked
from understudy.teacher.written import text_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request and its answer.

    Attributes:
        id: what the log calls it; None where it has no name.
        text: that was asked about; None where the request is not known or holds none.
        reply: the answer.
    """

    id: str | None
    text: str | None
    reply: Reply


def read_log(log: Path, requests: Path | None, pattern: str | None) -> Iterator[Recorded]:
    """Read the requests and answers of a log, in their order.

    Args:
        log: JSON lines.
        requests: the Batch API's input file, where the log is its output.
        pattern: regular expression whose first group is the text within the last message of the user; None where that
            message is the text alone, or has it between our markers.

    Raises:
        BadData: a line is no JSON object.
    """
    asked = {} if requests is None else {str(line.get("custom_id")): line for line in _lines(requests)}
    for line in _lines(log):
        name = line.get("custom_id")
        request = asked.get(str(name), line)
        yield Recorded(None if name is None else str(name), _text(request, pattern), read_reply(_answer(line)))


def _text(line: Mapping[str, Any], pattern: str | None) -> str | None:
    r"""Return the text that a request asks about.

    >>> _text({"messages": [{"role": "user", "content": "Tip or not? Ask for room 9."}]}, r"not\? (.*)")
    'Ask for room 9.'
    """
    request = next((line[key] for key in ("request", "body") if isinstance(line.get(key), dict)), line)
    messages = request.get("messages")
    listed = messages if isinstance(messages, list) else []
    own = [one for one in listed if isinstance(one, dict) and one.get("role") == "user"]
    said = text_of(own[-1].get("content")) if own else ""
    if pattern is not None:
        found = re.search(pattern, said, re.DOTALL)
        said = found[1] or "" if found else ""
    text = unmarked(said)
    return (said.strip() if text is None else text) or None


def _answer(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the chat API's answer in a line; an empty one where there is none."""
    response = line.get("response")
    if isinstance(response, dict):
        body = response.get("body")
        return body if isinstance(body, dict) else response
    messages = line.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    is_answer = isinstance(last, dict) and last.get("role") == "assistant"
    return {"choices": [{"message": last}]} if is_answer else {}


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _object(line, f"{path}, line {number}")
    except (OSError, UnicodeError) as error:
        raise BadData(
            f"A log must be a file of JSON lines in UTF-8, got {error} ({path}). Name another one."
        ) from error


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadData(
            f"A log must hold one JSON object a line, got {error} ({where}). A table of answers needs --column."
        ) from error
    if not isinstance(found, dict):
        raise BadData(f"A log must hold one JSON object a line, got {type(found).__name__} ({where}). Mend the file.")
    return found
