"""One OpenAI-compatible server: is it there, is it a rehearsal, and one request to it, with every failure named."""

import contextlib
import email.utils
import ipaddress
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from understudy.errors import BadInput, TeacherError, UnderstudyError
from understudy.task import Teacher
from understudy.teacher.prompt import TEMPERATURE, Prompt, Unusable
from understudy.wording import clip

if TYPE_CHECKING:
    import openai

DEFAULT_URL = "https://api.openai.com/v1"
REHEARSAL = "rehearsal"
TOP_LOGPROBS = 10
LONGEST_MESSAGE = 160
# What a server may refuse to hear of, by the word in its refusal, and the keys of the request that it means.
OPTIONAL = {"logprobs": ("logprobs", "top_logprobs"), "temperature": ("temperature",)}
REFUSING, BAD_KEY, NOT_FOUND, TOO_MANY = frozenset({400, 403, 422}), frozenset({401, 403}), 404, 429
NO_LISTING = frozenset({NOT_FOUND, 405, TOO_MANY, 501})
PASSING = frozenset({408, 409, TOO_MANY}) | frozenset(range(500, 600))


class Busy(UnderstudyError):
    """The server may answer later.

    Attributes:
        wait_s: seconds that the server asked to wait, or None.
        is_away: whether there was no server at all.
        may_be_billed: whether the server may have answered and billed without our hearing of it.
    """

    def __init__(
        self, reason: str, wait_s: float | None = None, *, is_away: bool = False, may_be_billed: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait_s, self.is_away, self.may_be_billed = wait_s, is_away, may_be_billed


class ModelNotFound(BadInput):
    """The server does not have the model, or is no chat API at all."""


class ParameterRefused(UnderstudyError):
    """The server does not know an optional parameter of the request; ask again without it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came.

    Attributes:
        content: what the model wrote; empty when it wrote nothing.
        failure: why there is nothing to read in it (a refusal, a cut); empty when there is.
        prompt_tokens: tokens billed for the request, or None when the server does not say.
        completion_tokens: tokens billed for the answer, or None when the server does not say.
        logprobs: `choices[0].logprobs.content` of the answer, or None.
    """

    content: str
    failure: str
    prompt_tokens: int | None
    completion_tokens: int | None
    logprobs: Any


class Endpoint:
    """The teacher's server, by OPENAI_BASE_URL or the card, with the key from OPENAI_API_KEY.

    Raises:
        BadInput: the address is no address, or there is no key for a server that is not on this machine.
    """

    def __init__(self, teacher: Teacher, timeout_s: float) -> None:
        import openai

        self.url = _checked(os.environ.get("OPENAI_BASE_URL") or teacher.base_url or DEFAULT_URL)
        self.model = teacher.model
        self._refused: frozenset[str] = frozenset()
        is_local = is_loopback(self.url)
        self._client = openai.OpenAI(
            api_key=_key(self.url, is_local=is_local),
            base_url=self.url,
            timeout=timeout_s,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False) if is_local else None,
        )

    def rehearsal(self) -> str | None:
        """Ask the server what it is, which costs nothing.

        Returns:
            what tells this rehearsal teacher from others; None when it is a teacher that is paid.

        Raises:
            BadInput: there is no server, or it does not take the key.
            TeacherError: it answers, but is out of order.
        """
        import openai

        try:
            with self._translated():
                listing = self._client.get("/models", cast_to=object)
        except Unusable as error:
            if isinstance(error.__cause__, ValueError):
                raise BadInput(self._no_teacher("no JSON")) from error
            return None
        except Busy as error:
            cause = error.__cause__
            if isinstance(cause, openai.APIStatusError) and cause.status_code in NO_LISTING:
                return None
            if isinstance(cause, openai.APIConnectionError):
                raise BadInput(self.absence(error)) from error
            raise TeacherError(
                f"The teacher's server must be in order, got {error} ({self.url}/models). Try again later."
            ) from error
        except ModelNotFound:
            return None
        if not isinstance(listing, Mapping):
            raise BadInput(self._no_teacher(clip(str(listing), LONGEST_MESSAGE)))
        return _rehearsal_id(listing)

    def _no_teacher(self, answer: str) -> str:
        return (
            f"The teacher's server must speak the OpenAI API, got {answer} for its list of models ({self.url}/models). "
            "Mend OPENAI_BASE_URL; most servers want it to end in /v1."
        )

    def ask(self, prompt: Prompt, text: str, *, max_tokens: int, has_logprobs: bool, is_rehearsal: bool) -> Reply:
        """Send one request; optional parameters that the server refuses are left out from then on.

        Raises:
            Busy: the server is busy, failing or away; ask again later.
            Unusable: the server refuses this request, or answers something else than the chat API's answer.
            BadInput: the key or the model is wrong.
            TeacherError: no further request can succeed, or a rehearsal answered in place of a paid teacher.
        """
        body = self._body(prompt, text, max_tokens, has_logprobs=has_logprobs)
        try:
            with self._translated(body):
                answer = self._client.post("/chat/completions", body=body, cast_to=object)
        except ParameterRefused as refused:
            self._refused |= {str(refused)}
            return self.ask(prompt, text, max_tokens=max_tokens, has_logprobs=has_logprobs, is_rehearsal=is_rehearsal)
        if not isinstance(answer, Mapping):
            raise Unusable("the server's answer is not of the chat API")
        self._require_kind(answer, is_rehearsal=is_rehearsal)
        return read_reply(answer)

    def absence(self, error: Exception) -> str:
        """Say in a sentence that there is no server."""
        return (
            f"The teacher's server must answer, got {error} ({self.url}). Start it, or set OPENAI_BASE_URL or the "
            "card's teacher.base_url to one that runs."
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _body(self, prompt: Prompt, text: str, max_tokens: int, *, has_logprobs: bool) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": prompt.messages(text),
            "response_format": prompt.response_format,
            "temperature": TEMPERATURE,
            "max_completion_tokens": max_tokens,
        }
        if has_logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        left_out = {key for word in self._refused for key in OPTIONAL[word]}
        return {key: value for key, value in body.items() if key not in left_out}

    @contextmanager
    def _translated(self, body: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Turn the client's errors into ours."""
        import httpx2
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise Busy("no answer in time", may_be_billed=True) from error
        except openai.APIConnectionError as error:
            is_away = isinstance(error.__cause__, httpx2.ConnectError)
            raise Busy(str(error.__cause__ or error), is_away=is_away, may_be_billed=not is_away) from error
        except openai.APIStatusError as error:
            raise self._status_error(error, body or {}) from error
        except ValueError as error:
            raise Unusable("the server's answer is not JSON") from error

    def _status_error(self, error: "openai.APIStatusError", body: Mapping[str, Any]) -> UnderstudyError:
        status, message = error.status_code, clip(error.message, LONGEST_MESSAGE)
        refused = next((word for word, keys in OPTIONAL.items() if word in error.message and keys[0] in body), None)
        if refused and status in REFUSING:
            return ParameterRefused(refused)
        if status in BAD_KEY:
            return BadInput(
                f"The teacher's key must be accepted, got '{message}' ({self.url}). Set OPENAI_API_KEY to a key of "
                "this server with a right to this model."
            )
        if status == NOT_FOUND:
            return ModelNotFound(
                f"The teacher's model must be one of the server's, got '{message}' for '{self.model}' ({self.url}). "
                "Mend teacher.model on the card, or the server's address."
            )
        if error.code == "insufficient_quota":
            return TeacherError(
                f"The teacher's account must have credit, got '{message}' ({self.url}). Top it up and run again; what "
                "was bought is kept."
            )
        if status in PASSING:
            return Busy(message, retry_after_s(error.response.headers, time.time()))
        return Unusable(f"the server refused the request: {message}")

    def _require_kind(self, answer: Mapping[str, Any], *, is_rehearsal: bool) -> None:
        answered = str(answer.get("model"))
        if (REHEARSAL in answered) != is_rehearsal:
            expected = "a rehearsal teacher" if is_rehearsal else "a paid teacher"
            raise TeacherError(
                f"An answer must come from {expected}, got one from model '{answered}' ({self.url}). Rehearsed and "
                "bought answers never mix: point OPENAI_BASE_URL at one kind of server for the whole run."
            )


def read_reply(answer: Mapping[str, Any]) -> Reply:
    """Read the chat API's answer; whatever is missing in it becomes a failure, never a crash."""
    choice = _mapping(next(iter(_list(answer.get("choices"))), None))
    message, usage = _mapping(choice.get("message")), _mapping(answer.get("usage"))
    content = message.get("content")
    return Reply(
        content=content if isinstance(content, str) else "",
        failure=_failure(choice, message, content),
        prompt_tokens=_tokens(usage.get("prompt_tokens")),
        completion_tokens=_tokens(usage.get("completion_tokens")),
        logprobs=_mapping(choice.get("logprobs")).get("content"),
    )


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long the server asks to wait: milliseconds, seconds or a date; None when it does not say.

    >>> retry_after_s({"retry-after": "2"}, now=0.0)
    2.0
    >>> retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=15.0)
    45.0
    """
    for key, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        with contextlib.suppress(KeyError, ValueError):
            wait_s = float(headers[key]) / per_second
            return None if math.isnan(wait_s) else max(wait_s, 0.0)
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return max(email.utils.mktime_tz(date) - now, 0.0) if date else None


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine, so that it needs no key and no proxy.

    >>> is_loopback("http://127.0.0.1:8080/v1"), is_loopback("https://api.openai.com/v1")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound:
        raise BadInput(
            f"The teacher's address must be http:// or https:// with a host, got '{url}' (OPENAI_BASE_URL or "
            "teacher.base_url). Mend it."
        )
    return url.rstrip("/")


def _key(url: str, *, is_local: bool) -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and not is_local:
        raise BadInput(
            f"The teacher's key must be set, got none (OPENAI_API_KEY, for {url}). Set it, or rehearse first with "
            "`understudy rehearse` and OPENAI_BASE_URL."
        )
    if not key.isascii():
        raise BadInput("The teacher's key must be plain ASCII, got other characters (OPENAI_API_KEY). Copy it again.")
    return key or "no-key-needed"


def _rehearsal_id(listing: object) -> str | None:
    """Tell rehearsal teachers apart: the owner of their model names the answers and what was planted in them."""
    models = map(_mapping, _list(_mapping(listing).get("data")))
    found = next((model for model in models if REHEARSAL in str(model.get("id"))), None)
    return None if found is None else f"{found.get('id')} {found.get('owned_by', '')}"


def _failure(choice: Mapping[str, Any], message: Mapping[str, Any], content: object) -> str:
    if message.get("refusal"):
        return "the teacher refused to answer"
    if choice.get("finish_reason") == "length":
        return "the answer was cut at max_answer_tokens"
    if choice.get("finish_reason") == "content_filter":
        return "the server's content filter stopped the answer"
    return "" if isinstance(content, str) and content else "the answer is empty"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
