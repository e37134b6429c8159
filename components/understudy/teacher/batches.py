"""Buy answers by the Batch API: they cost less, may take a day, and none is ordered twice.

A batch is written down in the store (batch_records.py), then its requests are uploaded, then it is made with its token
as metadata. Whatever ends a run, the next one finds the batch and takes its answers in before it orders others. What
all batches may still cost counts as spent, so the card's cap holds before a batch is sent. A batch that expires still
holds the answers that were made, and these are paid: they are kept, and only the others are ordered again.

Source: OpenAI, "Batch API" guide, 2025: the endpoints, 50,000 requests and 200 MB a batch, half the price, 24 hours.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Required, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from understudy.errors import BadInput, TeacherError, UnderstudyError
from understudy.progress import say
from understudy.secrets.keys import redact
from understudy.store.storage import Store
from understudy.task.card import Teacher
from understudy.task.sections import TeacherConfig
from understudy.teacher import batch_records
from understudy.teacher.asking import Judge, Sought, most_usd, response_to
from understudy.teacher.batch_records import Batch, Order, intent_of
from understudy.teacher.client import Busy, Endpoint, Garbled, ModelNotFound, ParameterRefused
from understudy.teacher.prompt import Unusable, estimate_prompt_tokens
from understudy.teacher.refusals import form_of, told
from understudy.teacher.response_log import SAYS_NOTHING, Intent, Response, ResponseLog, content_key
from understudy.text.numbers import clipped, count, usd

if TYPE_CHECKING:
    import openai

TARGET = "/v1/chat/completions"
MOST_REQUESTS, MOST_BYTES = 10_000, 150_000_000  # of one batch: well below what servers take
WINDOW, WINDOW_S = "24h", 86_400.0
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
OURS = "understudy"  # key of a batch's metadata
HTTP_OK, HTTP_BAD_REQUEST = 200, 400
EXPIRED = frozenset({"batch_expired", "batch_cancelled"})  # codes of requests that were never answered, nor billed
FIRST_WAIT_S = 0.5
QUOTED = 160  # signs of what a server says
Called = TypeVar("Called")
Count = Callable[[list[Response]], None]


class Given(TypedDict, total=False):
    """The HTTP answer in a line of a batch."""

    status_code: Required[int]
    body: Any


class Line(TypedDict, total=False):
    """A line of a batch's files."""

    custom_id: Required[str]
    response: Given | None
    error: Any


LINE = TypeAdapter(Line)


@dataclass(frozen=True, slots=True)
class Taken:
    """What an ended batch came to.

    Attributes:
        responses: all that was answered, or may be billed.
        fault: what the server said against one of its requests that holds for all of them; None for nothing.
        unread: lines that are none of the Batch API.
    """

    responses: list[Response]
    fault: UnderstudyError | None = None
    unread: int = 0


class Batches:
    """Orders batches for one judge and takes their answers in; used by the tasks of one event loop.

    Args:
        judge: who is asked what.
        endpoint: the server.
        prices: the card's teacher.
        config: tries, lengths, and how often a batch is looked at.
        book: takes the answers.
        card_name: of the card.
        require_lease: raises where another run has taken over.
    """

    def __init__(
        self,
        judge: Judge,
        endpoint: Endpoint,
        *,
        prices: Teacher,
        config: TeacherConfig,
        book: ResponseLog,
        card_name: str,
        require_lease: Callable[[], None],
    ) -> None:
        self._judge, self._endpoint, self._prices, self._config = judge, endpoint, prices, config
        self._book, self._card_name, self._require_lease = book, card_name, require_lease
        self.in_other_letters = 0
        self.is_budget_spent = False

    @property
    def _store(self) -> Store:
        return self._book.store

    async def buy(self, texts: Sequence[str], left_usd: Callable[[], float], tell: Count) -> None:
        """Order the texts, and again what a batch did not come to, until each has an answer or a reason for none.

        Args:
            texts: as `seen.asked_of` gives them; each once.
            left_usd: dollars of the budget that neither are spent nor may still be billed.
            tell: takes the answers to one of these texts, when the store has them.

        Raises:
            BadInput: the server refuses the key or the model, or has no Batch API.
            TeacherError: it refuses a batch, or stays away.
        """
        wanted = {content_key(text): text for text in texts}
        in_vain = 0
        while wanted and in_vain < self._config.max_tries:
            before = len(wanted)
            if not await self._order(list(wanted.values()), left_usd()):
                self.is_budget_spent = True
                return
            await self.take_in(wanted, tell)
            in_vain += len(wanted) == before
        for content in wanted:
            tell([_without_answer(self._judge, content, f"no batch came to it, of {in_vain} that asked")])

    async def _order(self, texts: Sequence[str], left_usd: float) -> bool:
        """Order as many of the texts as the money reaches for; False when it reaches for none."""
        whole: list[tuple[Order, bytes]] = []
        for text in texts:
            order, line = self._ordered(text)
            if order.most_usd > left_usd:
                break
            left_usd -= order.most_usd
            whole.append((order, line))
        for part in parted([len(line) for _, line in whole]):
            await self._make([order for order, _ in whole[part]], b"".join(line for _, line in whole[part]))
        return bool(whole)

    def _ordered(self, text: str) -> tuple[Order, bytes]:
        """Write the request for a text as a line of a batch."""
        prompt, config = self._judge.prompt, self._config
        most = most_usd(text, prompt, self._prices, config)
        order = Order(
            uuid.uuid4().hex, content_key(text), estimate_prompt_tokens(prompt, text), most * config.batch_price
        )
        line = {"custom_id": order.id, "method": "POST", "url": TARGET, "body": self._body(text)}
        return order, json.dumps(line).encode() + b"\n"

    def _body(self, text: str = "") -> dict[str, Any]:
        """Write the request for a text, without what the server refused so far."""
        config = self._config
        return self._endpoint.body(self._judge.prompt, text, config.max_answer_tokens, has_logprobs=config.logprobs)

    async def _make(self, orders: list[Order], lines: bytes) -> None:
        """Write a batch down, upload its requests, and make it."""
        judge, endpoint = self._judge, self._endpoint
        batch = Batch(
            token=uuid.uuid4().hex,
            judge=judge.name,
            guideline=judge.guideline,
            labels=list(judge.prompt.labels),
            is_many=judge.prompt.is_many,
            is_rehearsal=judge.is_rehearsal,
            left_to=endpoint.left_to,
            url=endpoint.url,
            form=form_of(self._body()),
            is_redacted=bool(judge.prompt.redaction),
            orders=orders,
            role=judge.role,
        )
        self._require_lease()
        batch_records.put(self._store, self._card_name, batch)
        file = (f"{OURS}-{batch.token}.jsonl", lines)
        try:
            uploaded = await self._patiently(lambda client: client.files.create(file=file, purpose="batch"))
        except ModelNotFound as fault:
            batch_records.remove(self._store, self._card_name, batch)
            raise BadInput(
                f"The teacher's server must have the Batch API, got '{clipped(str(fault.__cause__ or fault), QUOTED)}' "
                f"({self._endpoint.url}). Set teacher.mode to chat, or point OPENAI_BASE_URL at a server that has it."
            ) from fault
        self._require_lease()
        made = await self._patiently(lambda client: _made_once(client, uploaded.id, batch.token))
        batch_records.made(self._store, self._card_name, batch, made.id)
        say(
            f"{count(len(orders), 'text')} ordered in batch {clipped(made.id)}, at most {usd(batch.most_usd)}, to come "
            f"within {WINDOW}. A run that ends before loses nothing: the next one takes the answers in."
        )

    async def take_in(self, wanted: dict[str, str], tell: Count) -> None:
        """Wait for every batch of this card that this server has, whichever run ordered it, and keep what they hold.

        One that was ordered for another of the card's models has other prices, and waits for who asks that one.

        Args:
            wanted: texts by their content keys; those with an answer or a reason for none are taken out.
            tell: as of `buy`.
        """
        for batch in batch_records.listed(self._store, self._card_name):
            if batch.role != self._judge.role:
                continue
            if (batch.url, batch.is_rehearsal) != (self._endpoint.url, self._judge.is_rehearsal):
                say(
                    f"A batch of {count(len(batch.orders), 'text')} is at another server ({batch.url}) and counts as "
                    f"spent, at most {usd(batch.most_usd)}, until a run asks that one."
                )
                continue
            taken = await self._kept(batch)
            for response in taken.responses:
                if response.judge == self._judge.name and wanted.pop(response.content, None) is not None:
                    tell([response])
            if taken.fault is not None:
                raise taken.fault

    async def _kept(self, batch: Batch) -> Taken:
        """Wait for a batch, keep what it holds, and remove its record."""
        try:
            found = await self._found(batch)
            taken = Taken([]) if found is None else await self._taken(found, batch)
        except ModelNotFound:
            taken = self._lost(batch)
        for response in taken.responses:
            self._book.keep(response)
        self._book.flush()
        batch_records.remove(self._store, self._card_name, batch)
        if taken.unread:
            say(f"{count(taken.unread, 'line')} of batch {clipped(batch.id)} could not be read.")
        return taken

    def _lost(self, batch: Batch) -> Taken:
        """Give up a batch that the server no longer knows, or whose files are gone: it may have been billed."""
        say(
            f"Batch {clipped(batch.id)} is unknown at {self._endpoint.url}, or its answers are: "
            f"{count(len(batch.orders), 'request')} booked at the highest price, {usd(batch.most_usd)}."
        )
        return Taken([intent_of(order, batch).booked(order.content) for order in batch.orders])

    async def _found(self, batch: Batch) -> "openai.types.Batch | None":
        """Return a batch as the server has it; None where it was never made."""
        if batch.id:
            return await self._patiently(partial(_retrieved, batch_id=batch.id))
        for pause_s in (0.0, self._config.batch_poll_s):  # the run may have ended while the server made it
            await asyncio.sleep(pause_s)
            if (found := await self._patiently(lambda client: _by_token(client, batch.token))) is not None:
                return found
        return None

    async def _taken(self, found: "openai.types.Batch", batch: Batch) -> Taken:
        """Wait for a batch to end, and read what it holds."""
        while found.status not in ENDED:
            await asyncio.sleep(self._config.batch_poll_s)
            found = await self._patiently(partial(_retrieved, batch_id=found.id))
        if found.status == "failed":
            errors = (found.errors.data or []) if found.errors else []
            return Taken([], self._refusal("; ".join(str(error.message) for error in errors) or "no reason"))
        names = [name for name in (found.output_file_id, found.error_file_id) if name]
        files = [await self._patiently(partial(_content, name=name)) for name in names]
        known = batch_records.now(self._store, self._card_name, batch)
        return self._read([line for file in files for line in file.splitlines()], known)

    def _read(self, lines: Sequence[bytes], batch: Batch) -> Taken:
        """Read the lines of an ended batch; a request without a line, or that expired, was not billed."""
        orders = {order.id: order for order in batch.orders}
        asked = self._body()
        responses: list[Response] = []
        fault: UnderstudyError | None = None
        unread = 0
        for line in lines:
            order, answer = _parsed(line, orders)
            if order is None:
                unread += 1
                continue
            try:
                response = self._response(orders.pop(order), answer, batch, asked)
                responses += [] if response is None else [response]
            except UnderstudyError as error:
                fault = fault or error
        if unread:  # one of them may be the answer to any request that has no line
            responses += [intent_of(order, batch).booked(order.content) for order in orders.values()]
        return Taken(responses, fault, unread)

    def _response(
        self, order: Order, answer: Mapping[str, Any], batch: Batch, asked: Mapping[str, Any]
    ) -> Response | None:
        """Read one line's answer to a request like `asked`; None where it is to be made again.

        Raises:
            BadInput: the key or the model is wrong.
            TeacherError: a rehearsal answered in place of a paid teacher or the other way round, or there is no credit.
        """
        judge = _judge_of(batch, self._judge)
        sought = Sought(order.id, order.content, order.prompt_tokens)
        reply, failure, said = None, "", ""
        try:
            reply = replace(
                self._endpoint.read(self._body_of(answer, asked), is_rehearsal=batch.is_rehearsal), form=batch.form
            )
            failure = reply.failure
        except ParameterRefused as refused:
            self._endpoint.leave_out(str(refused))
            return None
        except (Busy, Expired):
            return None
        except Garbled as fault:
            return replace(intent_of(order, batch).booked(order.content), failure=str(fault), said=fault.said)
        except Unusable as reason:
            failure, said = str(reason), reason.said
        response, is_in_other_letters = response_to(
            sought, reply, failure, judge, self._prices, said=said, left_to=batch.left_to
        )
        self.in_other_letters += is_in_other_letters
        response = replace(
            response, cost_usd=response.cost_usd * self._config.batch_price, is_redacted=batch.is_redacted
        )
        return response if order.content else replace(response, **SAYS_NOTHING)

    def _body_of(self, answer: Mapping[str, Any], asked: Mapping[str, Any]) -> object:
        """Return the chat API's answer in a line.

        Raises:
            Expired: the request was never answered.
            UnderstudyError: the server refused it, as `Endpoint.status_error` has it.
        """
        given = answer.get("response") or {}
        status, body = given.get("status_code"), given.get("body")
        error = answer.get("error") or (body.get("error") if isinstance(body, Mapping) else None)
        if not error and status == HTTP_OK:
            return body
        if error and status == HTTP_OK:
            raise self._endpoint.named_error(error, asked)
        error = error if isinstance(error, Mapping) else {"message": str(error or body)}
        if error.get("code") in EXPIRED:
            raise Expired
        words = told(error, str(error.get("message") or "no reason"))
        raise self._endpoint.status_error(status or HTTP_BAD_REQUEST, words, error.get("code"), asked, {})

    async def _patiently(self, send: "Callable[[openai.AsyncOpenAI], Awaitable[Called]]") -> Called:
        """Make a call that may be made twice, again and again while the server is busy.

        Raises:
            TeacherError: it stays so, or refuses the call.
            BadInput: it refuses the key, or has no Batch API.
        """
        for tries in range(self._config.max_tries):
            try:
                return await self._endpoint.call(send)
            except Unusable as fault:
                raise self._refusal(fault.said or str(fault)) from fault
            except Busy as fault:
                busy, wait_s = fault, fault.wait_s
            await asyncio.sleep(min(FIRST_WAIT_S * 2**tries if wait_s is None else wait_s, self._config.max_wait_s))
        raise TeacherError(f"{self._endpoint.absence(busy)} Then run again: what was ordered is kept.") from busy

    def _refusal(self, said: str) -> TeacherError:
        return TeacherError(
            f"A batch must be accepted by the teacher's server, got '{clipped(redact(said), QUOTED)}' "
            f"({self._endpoint.url}). Nothing of it is billed: mend what it says, or set teacher.mode to chat."
        )


class Expired(UnderstudyError):
    """A request of a batch was never answered, and is not billed."""


def parted(sizes: Sequence[int], most: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> list[slice]:
    """Part requests into batches, in their order.

    Args:
        sizes: bytes of each request's line.
        most: requests of one batch.
        most_bytes: of one batch; a request that is larger stands alone.

    >>> parted([4, 4, 4, 9, 1], most=2, most_bytes=9)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    parts: list[slice] = []
    start = held = 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == most or held + size > most_bytes):
            parts.append(slice(start, place))
            start, held = place, 0
        held += size
    return [*parts, slice(start, len(sizes))] if sizes else parts


async def _made_once(client: "openai.AsyncOpenAI", file_id: str, token: str) -> "openai.types.Batch":
    """Make a batch, unless a try whose answer was lost has made it."""
    known = await _by_token(client, token)
    if known is not None:
        return known
    return await client.batches.create(
        input_file_id=file_id, endpoint=TARGET, completion_window=WINDOW, metadata={OURS: token}
    )


async def _retrieved(client: "openai.AsyncOpenAI", batch_id: str) -> "openai.types.Batch":
    return await client.batches.retrieve(batch_id)


async def _content(client: "openai.AsyncOpenAI", name: str) -> bytes:
    return bytes((await client.files.content(name)).content)


async def _by_token(client: "openai.AsyncOpenAI", token: str) -> "openai.types.Batch | None":
    """Find a batch by the token in its metadata, the newest first; None where there is none."""
    async for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(OURS) == token:
            return batch
    return None


def _parsed(line: bytes, orders: Mapping[str, Order]) -> tuple[str | None, Mapping[str, Any]]:
    """Read a line: the order that it answers, and what it says; no order where it is none of ours, or no such line."""
    try:
        answer = LINE.validate_json(line)
    except ValidationError:
        return None, {}
    return (answer["custom_id"] if answer["custom_id"] in orders else None), answer


def _judge_of(batch: Batch, now: Judge) -> Judge:
    """Return who was asked by a batch, so far as its answers are read by it."""
    prompt = replace(now.prompt, labels=tuple(batch.labels), is_many=batch.is_many)
    return replace(now, name=batch.judge, guideline=batch.guideline, is_rehearsal=batch.is_rehearsal, prompt=prompt)


def _without_answer(judge: Judge, content: str, reason: str) -> Response:
    """Make the response to a text that no batch answered; it cost nothing, and is not kept."""
    intent = Intent(uuid.uuid4().hex, judge.name, 0.0, judge.is_rehearsal, "")
    return replace(intent.booked(content), failure=reason)
