"""Ask the teacher about one text: patient with a busy server, strict with garbage, never over budget."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from understudy.errors import BudgetSpent, TeacherError, UnderstudyError
from understudy.secrets.keys import redact
from understudy.task.card import Teacher
from understudy.task.sections import TeacherConfig
from understudy.teacher.budget import Spending, price_usd
from understudy.teacher.client import Busy, Endpoint, Garbled, Reply
from understudy.teacher.crew import Crew
from understudy.teacher.journal import Journal
from understudy.teacher.logprobs import probabilities_of
from understudy.teacher.prompt import (
    Prompt,
    Unusable,
    Verdict,
    estimate_completion_tokens,
    estimate_prompt_tokens,
    most_prompt_tokens,
)
from understudy.teacher.request import Request, State
from understudy.teacher.response_log import BOOKED, Intent, Response, content_key
from understudy.teacher.throttle import Pause, Throttle
from understudy.teacher.written import is_json
from understudy.text.numbers import clipped

GARBAGE_TRIES = 2
QUOTED, LONGEST = 80, 10_000  # signs of an answer that cannot be used: kept for people, and looked at
FIRST_WAIT_S, LONGEST_OWN_WAIT_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Judge:
    """Say who is asked: the model, its prompt and its server.

    Attributes:
        name: "<model>:<prompt hash>", with "rehearsal:" before it when nothing is really bought.
        prompt: what is asked.
        guideline: hash of that by which the answers are given.
        is_rehearsal: whether the server is a rehearsal teacher.
        endpoint: the server; None when a dry run could not reach it.
        absence: why it could not; else empty.
        wording: name of the card's wording that is asked; empty where the card has none.
        role: of the card's models, who is asked; empty for the teacher.
    """

    name: str
    prompt: Prompt
    guideline: str
    is_rehearsal: bool
    endpoint: Endpoint | None
    absence: str = ""
    wording: str = ""
    role: str = ""


class Asker:
    """Asks for one text at a time; called from many tasks of one event loop.

    Args:
        judge: who is asked what.
        endpoint: the server.
        prices: the card's teacher.
        config: tries, waits and lengths.
        spending: the budget that all tasks share.
        journal: what the store is told around each request.
        throttle: the places for requests under way.
    """

    def __init__(
        self,
        judge: Judge,
        endpoint: Endpoint,
        *,
        prices: Teacher,
        config: TeacherConfig,
        spending: Spending,
        journal: Journal,
        throttle: Throttle,
    ) -> None:
        self._judge, self._endpoint = judge, endpoint
        self._prices, self._config, self._spending = prices, config, spending
        self._journal, self._throttle, self._pause = journal, throttle, Pause()
        self.is_budget_spent = False
        self.in_other_letters = 0

    async def prepare(self, texts: Sequence[str]) -> list[Request]:
        """Set the money for the first texts aside, and write to the store, once for all, that they may be asked for.

        Returns:
            one request at least; fewer than texts where the money is short until others settle.

        Raises:
            BudgetSpent: the first request would pass the budget.
        """
        amounts = [self._most_usd(text) for text in texts]
        await self._spending.promise(amounts[0])
        promised = amounts[: 1 + self._spending.promise_more(amounts[1:])]
        requests = [self._request(text, most_usd) for text, most_usd in zip(texts, promised, strict=False)]
        return await asyncio.gather(*(request.tell() for request in requests))

    async def ask(self, request: Request, crew: "Crew[str, Request, list[Response]]") -> list[Response]:
        """Ask for one text, a second time when the first answer is garbage.

        Returns:
            the answers, the last one deciding; a request that was refused costs nothing and is not kept, one whose
            answer never came is kept at its highest price.

        Raises:
            BadInput: the key or the model is wrong.
            TeacherError: the server went away for good, or is not what it was.
        """
        answers: list[Response] = []
        tries = 0
        try:
            while not crew.is_stopping:
                await self._pause.hold()
                if request.state is State.SETTLED:
                    request = await self._request_again(request.text)
                try:
                    answers.append(await self._send_once(request, crew))
                    if answers[-1].label is not None or _garbage(answers) == GARBAGE_TRIES:
                        break
                except (Busy, Garbled) as fault:
                    tries += 1
                    answers += [request.response] if request.response else []
                    await self._wait(fault, tries)
        except Unusable as reason:
            answers.append(self._response(uuid.uuid4().hex, request.text, None, str(reason), reason.said))
        except BudgetSpent:
            self.is_budget_spent = True
        finally:
            request.take_back()
        return answers

    async def _send_once(self, request: Request, crew: "Crew[str, Request, list[Response]]") -> Response:
        """Send one request and keep its answer, or what it may have cost."""
        async with self._throttle.place() as turn:
            if crew.is_stopping:  # it stopped just now, and its word to cancel is on the way
                raise asyncio.CancelledError
            with crew.busy():
                request.send()
                began = time.monotonic()
                try:
                    reply = await self._throttle.patiently(turn, self._send(request.text))
                except UnderstudyError as fault:
                    await request.fail(fault)
                    raise
                took_s = round(time.monotonic() - began, 6)
                answer = replace(self._response(request.id, request.text, reply, reply.failure), seconds=took_s)
                await request.settle(answer)
        return answer

    async def _send(self, text: str) -> Reply:
        return await self._endpoint.ask(
            self._judge.prompt,
            text,
            max_tokens=self._config.max_answer_tokens,
            has_logprobs=self._config.logprobs,
            is_rehearsal=self._judge.is_rehearsal,
        )

    async def _request_again(self, text: str) -> Request:
        """Set money aside for one more request for a text; others wait for money, this one must not wait for them."""
        most_usd = self._most_usd(text)
        self._spending.promise_now(most_usd)
        return await self._request(text, most_usd).tell()

    def _request(self, text: str, most_usd: float) -> Request:
        """Make a request whose money is set aside."""
        left_to = self._endpoint.left_to
        judge, is_redacted = self._judge, bool(self._judge.prompt.redaction)
        intent = Intent(uuid.uuid4().hex, judge.name, most_usd, judge.is_rehearsal, left_to, is_redacted, judge.role)
        return Request(text, intent, self._spending, self._journal)

    async def _wait(self, busy: Busy | Garbled, tries: int) -> None:
        """Wait as the server asks, or a little longer each time; give up after the last try, or at what is garbled."""
        if isinstance(busy, Garbled):
            raise busy
        if tries == self._config.max_tries or busy.is_silent:
            if busy.is_away or busy.is_silent:
                raise TeacherError(f"{self._endpoint.absence(busy)} Then run again: what was bought is kept.") from busy
            raise Unusable(f"no answer after {tries} tries", str(busy)) from busy
        if busy.wait_s is None:
            await asyncio.sleep(min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_OWN_WAIT_S))
        elif busy.wait_s > self._config.max_wait_s:
            raise Unusable("the server asks to wait longer than max_wait_s") from busy
        else:
            self._pause.extend(busy.wait_s)

    def _response(self, response_id: str, text: str, reply: Reply | None, failure: str, said: str = "") -> Response:
        sought = Sought(response_id, content_key(text), estimate_prompt_tokens(self._judge.prompt, text))
        response, is_in_other_letters = response_to(
            sought, reply, failure, self._judge, self._prices, said=said, left_to=self._endpoint.left_to
        )
        self.in_other_letters += is_in_other_letters
        return response

    def _most_usd(self, text: str) -> float:
        return self._spending.most_usd(most_usd(text, self._judge.prompt, self._prices, self._config))


def most_usd(text: str, prompt: Prompt, prices: Teacher, config: TeacherConfig) -> float:
    """Bound the price of one request for a text from above."""
    return price_usd(prices, most_prompt_tokens(prompt, text), config.max_answer_tokens)


@dataclass(frozen=True, slots=True)
class Sought:
    """What an answer is to.

    Attributes:
        id: of the answer.
        content: `content_key` of the text.
        prompt_tokens: of the request, by our estimate.
    """

    id: str
    content: str
    prompt_tokens: int


def response_to(
    sought: Sought, reply: Reply | None, failure: str, judge: Judge, prices: Teacher, *, said: str, left_to: str | None
) -> tuple[Response, bool]:
    """Read a reply; what cannot be used is a response without a label.

    Args:
        sought: what it is to.
        reply: as it came; None where nothing did.
        failure: why there is nothing to read in it; empty where there is.
        judge: who was asked.
        prices: of the tokens.
        said: what the server said in place of an answer.
        left_to: host outside of the house that the text was sent to; empty where it stayed in it.

    Returns:
        the response, and whether its label was not written as the card has it.
    """
    verdict: Verdict | None = None
    if reply and not failure:
        try:
            verdict = judge.prompt.read(reply.content)
        except Unusable as reason:
            failure = str(reason)
    tokens = _tokens(sought, reply, judge.prompt) if reply else (0, 0)
    response = Response(
        id=sought.id,
        judge=judge.name,
        content=sought.content,
        label=verdict.label if verdict else None,
        probabilities=_probabilities(reply, verdict, judge.prompt) if reply and verdict else None,
        rationale=redact(verdict.rationale) if verdict and verdict.rationale else None,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        cost_usd=price_usd(prices, *tokens),
        is_rehearsal=judge.is_rehearsal,
        failure=failure,
        form=_form(reply, verdict) if reply else "",
        is_estimated=reply is not None and None in {reply.prompt_tokens, reply.completion_tokens},
        said=said or (clipped(redact(reply.said[:LONGEST]), QUOTED) if reply and failure else ""),
        guideline=judge.guideline,
        left_to=left_to,
        is_redacted=bool(judge.prompt.redaction),
        role=judge.role,
    )
    return response, bool(verdict and verdict.in_other_letters)


def _probabilities(reply: Reply, verdict: Verdict, prompt: Prompt) -> list[float] | None:
    if verdict.in_other_letters:
        return None
    return probabilities_of(verdict.json, reply.logprobs, prompt.labels, is_many=prompt.is_many)


def _tokens(sought: Sought, reply: Reply, prompt: Prompt) -> tuple[int, int]:
    """Tokens as the server counts them; an estimate where it does not say."""
    asked, answered = reply.prompt_tokens, reply.completion_tokens
    return (
        sought.prompt_tokens if asked is None else asked,
        estimate_completion_tokens(prompt) if answered is None else answered,
    )


def _form(reply: Reply, verdict: Verdict | None) -> str:
    """Tell how an answer came: where a server took the format and wrote more than the JSON, it was read out of that."""
    return reply.form if verdict is None or is_json(reply.content) else "plain"


def _garbage(answers: Sequence[Response]) -> int:
    """Count the answers that came and could not be used."""
    return sum(answer.label is None and not answer.id.endswith(BOOKED) for answer in answers)
