"""Send requests to one OpenAI-compatible server, with every failure named."""

import contextlib
import email.utils
import ipaddress
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from understudy.errors import BadInput, TeacherError, UnderstudyError, may_pass
from understudy.progress import say
from understudy.secrets.keys import redact
from understudy.task.card import Teacher
from understudy.teacher import access
from understudy.teacher.place import OutOfHouse, Place, find, require_in_house, watch
from understudy.teacher.prompt import TEMPERATURE, Prompt, Unusable
from understudy.teacher.redaction import Redaction
from understudy.teacher.refusals import WITHOUT, complains, form_of, refused_in, told, without
from understudy.teacher.written import text_of
from understudy.text.numbers import clip

if TYPE_CHECKING:
    import httpx2
    import openai

Called = TypeVar("Called")

REHEARSAL = "rehearsal"
OUT_OF_ORDER, GATEWAY_TIMEOUT = 500, 504
PROXIED = ("http://", "https://", "all://")  # what the environment may name a proxy for
TOP_LOGPROBS, MOST_LOGPROBS = 10, 20  # alternatives of a token that are asked for; the most that servers give
LONGEST_MESSAGE, LONGEST_QUOTED = 160, 10_000  # shown of what a server says; looked at
REFUSING, BAD_KEY, NOT_FOUND, TOO_MANY = frozenset({400, 403, 422, 501}), frozenset({401, 403}), 404, 429
FILTERED = ("content_filter", "content management policy")  # a refusal of the text itself, as Azure words it
SAFE_REDIRECTS = frozenset({307, 308})  # the others turn a POST into a GET
# What an error is that comes with HTTP 200: a word in its code or type, and the status that it means.
STATUS_OF_WORD = {
    "rate_limit": TOO_MANY,
    "quota": TOO_MANY,
    "overload": 503,
    "unavailable": 503,
    "timeout": 504,
    "server_error": 500,
    "internal": 500,
    "api_key": 401,
    "authentication": 401,
    "permission": 403,
    "not_found": NOT_FOUND,
}
AZURE_VERSION, AZURE_KEY = "api-version", "api-key"  # the word in an address that tells Azure; the header of its key
SHORTEST_CONNECT_S = 4  # times the card's timeout_s, up to 30 s: a full backlog answers the second knock


class Busy(UnderstudyError):
    """The server may answer later.

    Attributes:
        wait_s: seconds that the server asked to wait, or None.
        is_away: whether there was no server at all.
        may_be_billed: whether the server may have answered and billed without our hearing of it.
        is_silent: whether the server has answered nothing for so long that it counts as gone.
    """

    def __init__(
        self,
        reason: str,
        wait_s: float | None = None,
        *,
        is_away: bool = False,
        may_be_billed: bool = False,
        is_silent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait_s, self.is_away, self.may_be_billed, self.is_silent = wait_s, is_away, may_be_billed, is_silent


class Garbled(Unusable):
    """An HTTP 200 that is no answer of the chat API; the server behind a gateway may have billed it all the same."""

    may_be_billed = True


class ModelNotFound(BadInput):
    """The server does not have the model, or is no chat API at all."""


class Redirected(BadInput):
    """The server sends its clients to another one."""


class ParameterRefused(UnderstudyError):
    """The server does not know an optional parameter of the request, a key of `WITHOUT`; ask again without it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came.

    Attributes:
        content: what the model wrote; empty when it wrote nothing.
        failure: why there is nothing to read in it (a refusal, a cut); empty when there is.
        prompt_tokens: tokens billed for the request, or None when the server does not say.
        completion_tokens: tokens billed for the answer, or None when the server does not say.
        logprobs: `choices[0].logprobs.content` of the answer, or None.
        said: what the model said in place of an answer: a refusal, or its thoughts; else what it wrote.
        form: how it was asked to write, a key of `refusals.FORMS`.
    """

    content: str
    failure: str
    prompt_tokens: int | None
    completion_tokens: int | None
    logprobs: Any
    said: str = ""
    form: str = ""


class Endpoint:
    """The server of one of a card's models, where and with the key that `access` says.

    Its methods belong to one event loop.

    Attributes:
        url: base URL.
        model: by the card.
        is_known: whether the server listed its models, so that address and key are known to be right.
        place: where it stands, by what its name means and by every connection so far.
        hear: takes each text with the reply to it.

    Raises:
        BadInput: the address is no address, or there is no key for a server that is not on this machine.
        OutOfHouse: the server is not in the house, where the card wants it.
    """

    def __init__(self, teacher: Teacher, timeout_s: float) -> None:
        import httpx2
        import openai

        self.url, query = _parted(access.url_of(teacher))
        self.model, self._role = teacher.model, teacher.role
        self.is_known = False
        self._probe_s = timeout_s
        self._refused: frozenset[str] = frozenset()
        self.hear: Callable[[str, Reply], None] = lambda _text, _reply: None
        is_local = is_loopback(self.url)
        self._must_stay = teacher.is_in_house
        self.place = place_of(teacher)
        if self._must_stay:
            require_in_house(self.place)
        connect_s = max(timeout_s, min(SHORTEST_CONNECT_S * timeout_s, 30.0))
        key = access.key_of(teacher, self.url, is_local=is_local)
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=self.url,
            default_query=query,
            default_headers={AZURE_KEY: key} if AZURE_VERSION in query else None,
            timeout=httpx2.Timeout(None, connect=connect_s),  # how long an answer may take is the throttle's affair
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=not is_local,
                mounts=dict.fromkeys(PROXIED if self._must_stay else ()),  # None: directly
                event_hooks={"request": [self._watch], "response": [self._require_here]},
            ),
        )

    async def rehearsal(self) -> str | None:
        """Ask the server what it is, which costs nothing; a server that does not list its models may be a sound one.

        Returns:
            what tells this rehearsal teacher from others; None when it is a teacher that is paid.

        Raises:
            BadInput: there is no server, or it sends us to another one.
            OutOfHouse: what was connected to is not in the house, where the card wants it.
        """
        import openai

        try:
            with self._translated():
                listing = await self._client.get("/models", cast_to=object, options={"timeout": self._probe_s})
        except Busy as error:
            if isinstance(error.__cause__, openai.APIConnectionError) and error.is_away:
                raise BadInput(self.absence(error)) from error
            return None
        except (Redirected, OutOfHouse):
            raise
        except UnderstudyError:  # forbidden, unknown, out of order or no JSON: the first request for a text tells
            return None
        self.is_known = isinstance(listing, Mapping) and isinstance(listing.get("data"), list)
        return _rehearsal_id(listing)

    async def ask(self, prompt: Prompt, text: str, *, max_tokens: int, has_logprobs: bool, is_rehearsal: bool) -> Reply:
        """Send one request; optional parameters that the server refuses are left out from then on.

        Raises:
            Busy: the server is busy, failing or away; ask again later.
            Unusable: the server refuses this request, or answers something else than the chat API's answer.
            BadInput: the key or the model is wrong, or the server sends us to another one.
            TeacherError: no further request can succeed, or a rehearsal answered in place of a paid teacher.
        """
        body = self.body(prompt, text, max_tokens, has_logprobs=has_logprobs)
        try:
            with self._translated(body):
                answer = await self._client.post("/chat/completions", body=body, cast_to=object)
            if isinstance(answer, Mapping) and answer.get("error"):
                raise self.named_error(answer["error"], body)
        except ParameterRefused as refused:
            self.leave_out(str(refused))
            return await self.ask(
                prompt, text, max_tokens=max_tokens, has_logprobs=has_logprobs, is_rehearsal=is_rehearsal
            )
        reply = replace(self.read(answer, is_rehearsal=is_rehearsal), form=form_of(body))
        self.hear(text, reply)
        return reply

    def read(self, answer: object, *, is_rehearsal: bool) -> Reply:
        """Read an answer of the chat API.

        Raises:
            Garbled: it is none.
            TeacherError: a rehearsal answered in place of a paid teacher, or the other way round.
        """
        if not isinstance(answer, Mapping):
            raise Garbled("the server's answer is not of the chat API", _quoted(str(answer)))
        self._require_kind(answer, is_rehearsal=is_rehearsal)
        return read_reply(answer)

    async def call(self, send: "Callable[[openai.AsyncOpenAI], Awaitable[Called]]") -> "Called":
        """Ask the server for something else than an answer, with the same key, address and errors.

        Args:
            send: makes the call.
        """
        with self._translated():
            return await send(self._client)

    def absence(self, error: Exception) -> str:
        """Say in a sentence that there is no server."""
        return (
            f"The {access.who(self._role)}'s server must answer, got {error} ({self.url}). Start it, or set "
            f"{access.remedy(self._role)} to one that runs."
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @property
    def left_out(self) -> list[str]:
        """What the server refuses to hear of, in words."""
        return [words for name, words in WITHOUT.items() if name in self._refused]

    @property
    def left_to(self) -> str:
        """Host outside of the house to which texts go; empty where they stay in it."""
        return "" if self.place.is_in_house else self.place.host

    async def _watch(self, request: "httpx2.Request") -> None:
        """Look at every connection that a request makes, of which a name that was resolved before tells nothing."""

        async def look(event: str, info: Mapping[str, Any]) -> None:
            self.place = await watch(self.place, event, info, must_be_in_house=self._must_stay)

        request.extensions = {**request.extensions, "trace": look}

    async def _require_here(self, response: "httpx2.Response") -> None:
        """Stop at a redirect to another server: it would be sent the key or the text."""
        if not response.has_redirect_location:
            return
        target = response.url.join(response.headers["location"])
        is_ours = all(getattr(target, part) == getattr(response.url, part) for part in ("scheme", "host", "port"))
        if is_ours and (response.status_code in SAFE_REDIRECTS or response.request.method == "GET"):
            return
        raise Redirected(
            f"The {access.who(self._role)}'s server must answer itself, got {response.status_code}, a redirect to "
            f"{target.scheme}://{clip(target.host, LONGEST_MESSAGE)} ({self.url}). No text and no key is sent there: "
            f"if you trust it, set {access.remedy(self._role)} to its address."
        )

    def body(self, prompt: Prompt, text: str, max_tokens: int, *, has_logprobs: bool) -> dict[str, Any]:
        """Write the request for one text, without what the server refused so far."""
        body = {
            "model": self.model,
            "messages": prompt.messages(text),
            "response_format": prompt.response_format,
            "temperature": TEMPERATURE,
            "max_completion_tokens": max_tokens,
        }
        if has_logprobs:
            alternatives = TOP_LOGPROBS if len(prompt.labels) <= TOP_LOGPROBS else MOST_LOGPROBS
            body |= {"logprobs": True, "top_logprobs": alternatives}
        return without(body, self._refused)

    def leave_out(self, refused: str) -> None:
        """Leave a parameter out from here on, and say so once: requests under way are refused the same."""
        if refused not in self._refused:
            self._refused |= {refused}
            say(f"The teacher's server is asked {WITHOUT[refused]} from here on, for it refuses that ({self.url}).")

    @contextmanager
    def _translated(self, body: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Turn the client's errors into ours."""
        import httpx2
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            is_away = isinstance(error.__cause__, httpx2.ConnectTimeout)
            raise Busy("no answer in time", is_away=is_away, may_be_billed=not is_away) from error
        except openai.APIConnectionError as error:
            is_away = isinstance(error.__cause__, httpx2.ConnectError)
            reason = clip(redact(_innermost(error)), LONGEST_MESSAGE)
            raise Busy(reason, is_away=is_away, may_be_billed=not is_away) from error
        except openai.APIStatusError as error:
            headers = error.response.headers
            fault = self.status_error(
                error.status_code, told(error.body, error.message), error.code, body or {}, headers
            )
            if isinstance(fault, Busy):
                fault.may_be_billed = error.status_code == GATEWAY_TIMEOUT  # who stands behind it may go on answering
            raise fault from error
        except ValueError as error:
            raise Garbled("the server's answer is not JSON", _quoted(getattr(error, "doc", ""))) from error

    def named_error(self, error: object, body: Mapping[str, Any]) -> UnderstudyError:
        """Read an error that came with HTTP 200: it is what its code says, and costs nothing."""
        content = _mapping(error) or {"message": str(error)}
        message = str(content.get("message") or content)
        words = " ".join(str(content.get(key) or "") for key in ("code", "type", "status")).lower()
        code = "insufficient_quota" if "insufficient_quota" in words else None
        return self.status_error(_status_in(content, words), message, code, body, {})

    def status_error(
        self, status: int, words: str, code: str | None, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> UnderstudyError:
        """Turn a status and what it says into the error that it means, for a request with this body."""
        message = clip(redact(words), LONGEST_MESSAGE)
        refused = refused_in(words, body)
        if refused and (status in REFUSING or (status == OUT_OF_ORDER and complains(words))):
            return ParameterRefused(refused)
        if status in BAD_KEY:
            return BadInput(
                f"The {access.who(self._role)}'s key must be accepted, got '{message}' ({self.url}). Set "
                f"{access.key_variable(self._role)} to a key of this server with a right to this model."
            )
        if status == NOT_FOUND:
            return ModelNotFound(
                f"The {access.who(self._role)}'s model must be one of the server's, got '{message}' for "
                f"'{self.model}' ({self.url}). Mend {access.section(self._role)}.model on the card, or the server's "
                "address."
            )
        if code == "insufficient_quota":
            return TeacherError(
                f"The {access.who(self._role)}'s account must have credit, got '{message}' ({self.url}). Top it up "
                "and run again; what was bought is kept."
            )
        if may_pass(status):
            return Busy(message, retry_after_s(headers, time.time()))
        is_filtered = any(word in f"{code} {words}" for word in FILTERED)
        return Unusable(
            "the server's content filter stopped the text" if is_filtered else "the server refused the request", message
        )

    def _require_kind(self, answer: Mapping[str, Any], *, is_rehearsal: bool) -> None:
        answered = str(answer.get("model"))
        if (REHEARSAL in answered) != is_rehearsal:
            expected = "a rehearsal teacher" if is_rehearsal else "a paid teacher"
            answered = clip(redact(answered), LONGEST_MESSAGE)
            raise TeacherError(
                f"An answer must come from {expected}, got one from model '{answered}' ({self.url}). Rehearsed and "
                "bought answers never mix: point OPENAI_BASE_URL at one kind of server for the whole run."
            )


def read_reply(answer: Mapping[str, Any]) -> Reply:
    """Read the chat API's answer; whatever is missing in it becomes a failure, never a crash."""
    choice = _mapping(next(iter(_list(answer.get("choices"))), None))
    message, usage = _mapping(choice.get("message")), _mapping(answer.get("usage"))
    content = text_of(message.get("content"))
    thoughts = text_of(message.get("reasoning_content") or message.get("reasoning"))
    return Reply(
        content=content,
        failure=_failure(choice, message, content, thoughts),
        prompt_tokens=_tokens(usage.get("prompt_tokens")) or None,
        completion_tokens=billed_completion(usage) or (None if content or not usage else 0),
        logprobs=_mapping(choice.get("logprobs")).get("content"),
        said=text_of(message.get("refusal")) or content or thoughts,
    )


def billed_completion(usage: Mapping[str, Any]) -> int | None:
    """Return the tokens billed for an answer, what the model thought included; None where the server does not say.

    OpenAI counts thoughts among the completion's tokens. Others leave them out, and show them in the total, or in
    their own number alone.

    >>> billed_completion({"completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 80}})
    90
    >>> billed_completion({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 190})
    90
    >>> billed_completion({"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 80}})
    90
    """
    counted = _tokens(usage.get("completion_tokens"))
    if counted is None:
        return None
    thought = _tokens(_mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    total, asked = _tokens(usage.get("total_tokens")), _tokens(usage.get("prompt_tokens"))
    by_total = 0 if total is None or asked is None else total - asked
    return max(counted, by_total, counted + thought if thought > counted else 0)


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


def place_of(teacher: Teacher) -> Place:
    """Find where a card's teacher stands; nothing is asked.

    Raises:
        BadInput: its address is none.
    """
    url = access.url_of(teacher)
    place = find(url, past_proxies=is_loopback(url) or teacher.is_in_house)
    return replace(place, redacted=Redaction.of(teacher.redact).words)


def _parted(url: str) -> tuple[str, dict[str, str]]:
    """Part an address from its query string, which belongs behind the path of each request.

    >>> _parted("https://me.openai.azure.com/openai/deployments/mini/?api-version=2024-10-21")
    ('https://me.openai.azure.com/openai/deployments/mini', {'api-version': '2024-10-21'})
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="", path=parts.path.rstrip("/"))), dict(parse_qsl(parts.query))


def _innermost(error: BaseException) -> str:
    """Return what the first of a chain of errors says: the outer ones only say that a connection failed."""
    while (
        inner := error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
    ):
        error = inner
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _status_in(error: Mapping[str, Any], words: str) -> int:
    """Find the HTTP status that an error names, as a number or by a word; 400 where it names none."""
    numbers = (str(error.get(key)) for key in ("code", "status", "status_code"))
    number = next((int(text) for text in numbers if len(text) == 3 and text.isdecimal()), None)
    if number is not None:
        return number
    return next((status for word, status in STATUS_OF_WORD.items() if word in words), 400)


def _rehearsal_id(listing: object) -> str | None:
    """Tell rehearsal teachers apart: the owner of their model names the answers and what was injected in them."""
    models = map(_mapping, _list(_mapping(listing).get("data")))
    found = next((model for model in models if REHEARSAL in str(model.get("id"))), None)
    return None if found is None else f"{found.get('id')} {found.get('owned_by', '')}"


def _failure(choice: Mapping[str, Any], message: Mapping[str, Any], content: str, thoughts: str) -> str:
    if message.get("refusal"):
        return "the teacher refused to answer"
    if choice.get("finish_reason") == "length":
        return "the answer was cut at max_answer_tokens"
    if choice.get("finish_reason") == "content_filter":
        return "the server's content filter stopped the answer"
    if not content and thoughts:
        return "the answer is empty, for all that the model wrote are thoughts"
    return "" if content else "the answer is empty"


def _quoted(said: str) -> str:
    return clip(redact(said[:LONGEST_QUOTED]), LONGEST_MESSAGE)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
