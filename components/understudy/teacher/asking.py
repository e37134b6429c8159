"""Get one text's answer from the teacher: patient with a busy server, strict with garbage, and never over budget."""

import threading
import time
import uuid
from collections.abc import Callable, Sequence

from understudy.errors import TeacherError
from understudy.steps.label.config import LabelConfig
from understudy.task import Teacher
from understudy.teacher.crew import Stopped
from understudy.teacher.endpoint import Busy, Endpoint, Reply
from understudy.teacher.logprobs import label_probabilities
from understudy.teacher.prompt import (
    Prompt,
    Unusable,
    Verdict,
    estimate_completion_tokens,
    estimate_prompt_tokens,
    most_prompt_tokens,
    read_verdict,
)
from understudy.teacher.purchases import Purchase, content_key
from understudy.teacher.spending import Spending, price_usd

GARBAGE_TRIES = 2
FIRST_WAIT_S, LONGEST_OWN_WAIT_S = 0.5, 30.0


class Asker:
    """Asks for one text at a time; called from many threads.

    Args:
        endpoint: the server.
        prompt: what is asked.
        judge: the name under which answers are kept.
        prices: the card's teacher.
        config: tries, waits and lengths.
        spending: the budget that all threads share.
        keep: takes each answer as soon as it is there.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        prompt: Prompt,
        judge: str,
        *,
        is_rehearsal: bool,
        prices: Teacher,
        config: LabelConfig,
        spending: Spending,
        keep: Callable[[Purchase], None],
    ) -> None:
        self._endpoint, self._prompt, self._judge, self._is_rehearsal = endpoint, prompt, judge, is_rehearsal
        self._prices, self._config, self._spending, self._keep = prices, config, spending, keep
        self._pause = Pause()

    def ask(self, text: str, stop: threading.Event) -> Sequence[Purchase]:
        """Ask for one text, a second time when the first answer is garbage.

        Returns:
            the answers, the last one deciding; one that never came costs nothing and is not kept.

        Raises:
            BudgetSpent: the next request would pass the budget.
            TeacherError: the server went away for good, or is not what it was.
            Stopped: the asking was stopped while this text waited.
        """
        answers: list[Purchase] = []
        while len(answers) < GARBAGE_TRIES:
            try:
                reply = self._buy(text, stop)
            except Unusable as reason:
                return [*answers, self._purchase(text, None, str(reason))]
            answers.append(self._purchase(text, reply, reply.failure))
            self._keep(answers[-1])
            if answers[-1].label is not None:
                break
        return answers

    def _buy(self, text: str, stop: threading.Event) -> Reply:
        """Send one request within the budget."""
        most = price_usd(self._prices, most_prompt_tokens(self._prompt, text), self._config.max_answer_tokens)
        self._spending.promise(most)
        cost = 0.0
        try:
            reply = self._try_patiently(text, stop, most)
            cost = price_usd(self._prices, *self._tokens(text, reply))
        finally:
            self._spending.settle(most, cost)
        return reply

    def _try_patiently(self, text: str, stop: threading.Event, most_usd: float) -> Reply:
        """Try until the server answers, waiting as long as it asks for."""
        for tries in range(1, self._config.max_tries + 1):
            self._pause.hold(stop)
            try:
                return self._endpoint.ask(
                    self._prompt,
                    text,
                    max_tokens=self._config.max_answer_tokens,
                    has_logprobs=self._config.logprobs,
                    is_rehearsal=self._is_rehearsal,
                )
            except Busy as busy:
                if busy.may_be_billed:
                    self._spending.lose(most_usd)
                self._wait(busy, tries, stop)
        raise AssertionError("the last try raises")

    def _wait(self, busy: Busy, tries: int, stop: threading.Event) -> None:
        """Wait as the server asks, or a little longer each time; give up after the last try."""
        if tries == self._config.max_tries:
            if busy.is_away:
                raise TeacherError(f"{self._endpoint.absence(busy)} Then run again: what was bought is kept.") from busy
            raise Unusable(f"no answer after {tries} tries: {busy}") from busy
        if busy.wait_s is None:
            self._pause.rest(min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_OWN_WAIT_S), stop)
        elif busy.wait_s > self._config.max_wait_s:
            raise Unusable("the server asks to wait longer than max_wait_s") from busy
        else:
            self._pause.extend(busy.wait_s)

    def _purchase(self, text: str, reply: Reply | None, failure: str) -> Purchase:
        """Read a reply; what cannot be used is a purchase without a label."""
        verdict: Verdict | None = None
        if reply and not failure:
            try:
                verdict = read_verdict(reply.content, self._prompt.labels)
            except Unusable as reason:
                failure = str(reason)
        tokens = self._tokens(text, reply) if reply else (0, 0)
        return Purchase(
            id=uuid.uuid4().hex,
            judge=self._judge,
            content=content_key(text),
            label=verdict.label if verdict else None,
            probabilities=self._probabilities(reply) if reply and verdict else None,
            rationale=verdict.rationale if verdict else None,
            prompt_tokens=tokens[0],
            completion_tokens=tokens[1],
            cost_usd=price_usd(self._prices, *tokens),
            is_rehearsal=self._is_rehearsal,
            failure=failure,
        )

    def _probabilities(self, reply: Reply) -> list[float] | None:
        return label_probabilities(reply.content, reply.logprobs, self._prompt.labels)

    def _tokens(self, text: str, reply: Reply) -> tuple[int, int]:
        """Tokens as the server counts them; an estimate where it does not say."""
        asked, answered = reply.prompt_tokens, reply.completion_tokens
        return (
            estimate_prompt_tokens(self._prompt, text) if asked is None else asked,
            estimate_completion_tokens(self._prompt) if answered is None else answered,
        )


class Pause:
    """One pause for all threads: a server that asks one of them to wait means all."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = threading.Lock()

    def extend(self, seconds: float) -> None:
        """Let nobody send before `seconds` from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def hold(self, stop: threading.Event) -> None:
        """Wait for the end of the pause. Raises Stopped when `stop` is set."""
        while (left := self._until - time.monotonic()) > 0:
            self.rest(left, stop)
        if stop.is_set():
            raise Stopped("stopped")

    def rest(self, seconds: float, stop: threading.Event) -> None:
        """Wait for one thread alone. Raises Stopped when `stop` is set."""
        if stop.wait(seconds):
            raise Stopped("stopped")
