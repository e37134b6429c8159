"""The teacher: asks an LLM for labels, keeps every answer that was bought, and never asks for one twice.

    with open_teacher(card, store, config) as teacher:
        teacher.estimate(texts)          # texts, tokens and dollars; nothing is spent
        judged = teacher.judge(texts)    # a table with id, text and weight -> records.Judgements, and what it took

`judge` takes what the store already has, asks for the rest within the card's budget, and can be killed at any time.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace

import polars as pl

from understudy import records
from understudy.errors import BadInput, BudgetSpent, TeacherError
from understudy.progress import Track, track
from understudy.steps.label.config import LabelConfig
from understudy.storage import Store
from understudy.task import Card
from understudy.teacher.asking import Asker
from understudy.teacher.crew import ended_by_sigterm, work_off
from understudy.teacher.endpoint import REHEARSAL, Endpoint
from understudy.teacher.prompt import Prompt, estimate_completion_tokens, estimate_prompt_tokens, prompt_of
from understudy.teacher.purchases import Purchase, PurchaseBook, content_key
from understudy.teacher.spending import Spending, price_usd
from understudy.wording import count, percent, usd

HOPELESS_AFTER = 20
GRACE_S = 10.0
HASH_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking for texts will take.

    Attributes:
        texts: different texts in the table.
        answered: those that the store has an answer for.
        prompt_tokens: of the requests that remain, at four characters a token.
        completion_tokens: of their answers.
        cost_usd: by the card's prices.
    """

    texts: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        """Add up two tables that share no text."""
        return Estimate(
            self.texts + other.texts,
            self.answered + other.answered,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """The teacher's answers to a table of texts, and what they took this time.

    Attributes:
        table: `records.Judgements`, one row a text that has an answer, sorted by id.
        asked: texts asked for in this call, those that failed included.
        from_store: texts whose answer was there already.
        failed: texts that were asked for in vain, counted by reason.
        prompt_tokens: billed in this call.
        completion_tokens: billed in this call.
        cost_usd: spent in this call.
        is_budget_spent: whether the budget stopped the asking.
    """

    table: pl.DataFrame
    asked: int = 0
    from_store: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    is_budget_spent: bool = False

    @property
    def failures(self) -> int:
        """Texts that were asked for in vain."""
        return sum(self.failed.values())

    def __add__(self, other: "Judged") -> "Judged":
        """Add up two tables that share no text."""
        return Judged(
            pl.concat([self.table, other.table]),
            self.asked + other.asked,
            self.from_store + other.from_store,
            Counter(self.failed) + Counter(other.failed),
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
            self.is_budget_spent or other.is_budget_spent,
        )

    def plus(self, answers: Sequence[Purchase]) -> "Judged":
        """Count the answers to one more text, of which the last one decides."""
        reason = answers[-1].failure
        return replace(
            self,
            asked=self.asked + 1,
            failed=Counter(self.failed) + Counter([reason]) if reason else self.failed,
            prompt_tokens=self.prompt_tokens + sum(answer.prompt_tokens for answer in answers),
            completion_tokens=self.completion_tokens + sum(answer.completion_tokens for answer in answers),
            cost_usd=self.cost_usd + sum(answer.cost_usd for answer in answers),
        )


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits on the teacher's chair.

    Attributes:
        judge: "<model>:<prompt hash>", with "rehearsal:" before it when nothing is really bought.
        prompt: what is asked.
        is_rehearsal: whether the server is a rehearsal teacher.
        endpoint: the server; None when a dry run could not reach it.
        absence: why it could not; else empty.
    """

    judge: str
    prompt: Prompt
    is_rehearsal: bool
    endpoint: Endpoint | None
    absence: str = ""


class Teacher:
    """An LLM that labels for one card into one store; made by `open_teacher`."""

    def __init__(self, card: Card, config: LabelConfig, book: PurchaseBook, seat: Seat) -> None:
        self.seat = seat
        self._card, self._config, self._book = card, config, book
        self._spending = Spending(card.budget.teacher_usd, book.spent_usd(is_rehearsal=seat.is_rehearsal))

    @property
    def spent_usd(self) -> float:
        """Dollars spent in this store on this card so far; rehearsed and bought dollars are counted apart."""
        return self._spending.spent_usd

    def estimate(self, texts: pl.DataFrame) -> Estimate:
        """Say what asking for the texts will take; nothing is spent.

        Args:
            texts: columns id, text and weight.
        """
        wanted, known = _by_content(texts), self._book.answers(self.seat.judge)
        missing = [text for key, text in wanted.items() if key not in known]
        prompt_tokens = sum(estimate_prompt_tokens(self.seat.prompt, text) for text in missing)
        completion_tokens = estimate_completion_tokens(self.seat.prompt) * len(missing)
        cost_usd = price_usd(self._card.teacher, prompt_tokens, completion_tokens)
        return Estimate(len(wanted), len(wanted) - len(missing), prompt_tokens, completion_tokens, cost_usd)

    def stored(self, texts: pl.DataFrame) -> Judged:
        """Return the answers that the store has; nothing is asked."""
        known = self._book.answers(self.seat.judge)
        return Judged(_judgements(texts, known), from_store=len(_by_content(texts).keys() & known.keys()))

    def judge(self, texts: pl.DataFrame, what: str = "label: texts judged") -> Judged:
        """Return the teacher's answers to the texts, asking in their order for those that the store lacks.

        A spent budget ends the asking and is told in the result.

        Args:
            texts: columns id, text and weight; `id` stands once.
            what: named in the progress.

        Raises:
            TeacherError: the server went away or answers nothing usable, or more than `max_failed_share` of the texts
                have no answer; what was bought is kept.
            BadInput: the server refuses the key or the model.
        """
        before = self.stored(texts)
        wanted, known = _by_content(texts), self._book.answers(self.seat.judge)
        judged = self._ask([text for key, text in wanted.items() if key not in known], before, what)
        if not _is_bearable(judged.failures, len(wanted), self._config):
            raise TeacherError(_few_answers(judged, len(wanted), self._config, self.seat))
        return replace(judged, table=_judgements(texts, self._book.answers(self.seat.judge)))

    def _ask(self, missing: Sequence[str], judged: Judged, what: str) -> Judged:
        """Ask for the missing texts, keeping every answer, whatever ends it."""
        with ExitStack() as stack:
            stack.enter_context(ended_by_sigterm())
            stack.callback(self._book.flush)
            progress = stack.enter_context(track(len(missing), what))
            results = work_off(self._asker().ask, missing, self._config.concurrency, GRACE_S)
            stack.enter_context(closing(results))
            return self._follow(results, judged, progress)

    def _follow(self, results: Iterator[Sequence[Purchase] | None], judged: Judged, progress: Track) -> Judged:
        """Count answers as they come and put them into the store every few seconds."""
        flushed = time.monotonic()
        try:
            for answers in results:
                if answers:
                    judged = judged.plus(answers)
                    self._require_hope(judged, progress.total)
                    progress.advance(note=f"{usd(self.spent_usd)} of {usd(self._card.budget.teacher_usd)}")
                if time.monotonic() - flushed >= self._config.flush_s:
                    self._book.flush()
                    flushed = time.monotonic()
        except BudgetSpent:
            return replace(judged, is_budget_spent=True)
        return judged

    def _require_hope(self, judged: Judged, missing: int) -> None:
        """Stop before money is wasted on a teacher whose first answers are all useless."""
        is_useless = judged.from_store == 0 and judged.failures == judged.asked
        is_bearable = _is_bearable(judged.failures, judged.from_store + missing, self._config)
        if judged.failures >= HOPELESS_AFTER and (is_useless or not is_bearable):
            raise TeacherError(_few_answers(judged, judged.asked, self._config, self.seat))

    def _asker(self) -> Asker:
        if self.seat.endpoint is None:
            raise BadInput(self.seat.absence)
        return Asker(
            self.seat.endpoint,
            self.seat.prompt,
            self.seat.judge,
            is_rehearsal=self.seat.is_rehearsal,
            prices=self._card.teacher,
            config=self._config,
            spending=self._spending,
            keep=self._book.keep,
        )


@contextmanager
def open_teacher(card: Card, store: Store, config: LabelConfig, *, is_dry_run: bool = False) -> Iterator[Teacher]:
    """Open the teacher of a card: find its server, learn whether it is a rehearsal, and what the store already has.

    Args:
        card: the task.
        store: keeps the answers.
        config: label's settings.
        is_dry_run: only estimate; a server that is away or a missing key is then no fault.

    Raises:
        BadInput: no server, no key or a wrong one; nothing was spent.
        StorageError: the store does not answer.
    """
    with ExitStack() as stack:
        seat = _take_seat(card, config, is_dry_run=is_dry_run)
        if seat.endpoint is not None:
            stack.enter_context(closing(seat.endpoint))
        book = stack.enter_context(closing(PurchaseBook(store, card.name)))
        yield Teacher(card, config, book, seat)


def probe(card: Card, config: LabelConfig) -> bool:
    """Find a card's teacher, which costs nothing, and tell whether it is a rehearsal.

    Raises:
        BadInput: no server, no key or a wrong one.
        TeacherError: the server answers, but is out of order.
    """
    seat = _take_seat(card, config, is_dry_run=False)
    if seat.endpoint is not None:
        seat.endpoint.close()
    return seat.is_rehearsal


def judge_name(prompt: Prompt, model: str, *, has_logprobs: bool, rehearsal: str | None) -> str:
    """Name a judge by all that decides its answers, so that another prompt is another judge.

    >>> judge_name(Prompt("Tip?", ("tip", "other")), "m", has_logprobs=True, rehearsal="rehearsal x")
    'rehearsal:m:d42b82e5ad41'
    """
    digest = prompt.hash(model, has_logprobs=has_logprobs, server=rehearsal or "")[:HASH_LENGTH]
    return f"{REHEARSAL}:{model}:{digest}" if rehearsal is not None else f"{model}:{digest}"


def _take_seat(card: Card, config: LabelConfig, *, is_dry_run: bool) -> Seat:
    prompt = prompt_of(card, has_rationale=config.rationale)
    endpoint, rehearsal, absence = None, None, ""
    try:
        endpoint = Endpoint(card.teacher, config.timeout_s)
        rehearsal = endpoint.rehearsal()
    except (BadInput, TeacherError) as error:
        if not is_dry_run:
            raise
        absence = str(error)
    judge = judge_name(prompt, card.teacher.model, has_logprobs=config.logprobs, rehearsal=rehearsal)
    return Seat(judge, prompt, rehearsal is not None, endpoint, absence)


def _by_content(texts: pl.DataFrame) -> dict[str, str]:
    """Different texts by content key, in the table's order."""
    return {content_key(text): text for text in texts["text"]}


def _judgements(texts: pl.DataFrame, known: Mapping[str, Purchase]) -> pl.DataFrame:
    """Join texts and answers to `records.Judgements`; texts without an answer are left out."""
    rows = [
        _row(row["id"], row["weight"], known[key])
        for row in texts.select("id", "text", "weight").sort("id").iter_rows(named=True)
        if (key := content_key(row["text"])) in known
    ]
    return records.empty(records.Judgements) if not rows else records.Judgements.validate(pl.DataFrame(rows), cast=True)


def _row(text_id: str, weight: float, answer: Purchase) -> dict[str, object]:
    return {
        "id": text_id,
        "judge": answer.judge,
        "kind": "teacher",
        "label": answer.label,
        "probabilities": answer.probabilities,
        "rationale": answer.rationale,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "cost_usd": answer.cost_usd,
        "is_rehearsal": answer.is_rehearsal,
        "weight": float(weight),
    }


def _is_bearable(failures: int, texts: int, config: LabelConfig) -> bool:
    return failures <= config.max_failed_share * texts


def _few_answers(judged: Judged, texts: int, config: LabelConfig, seat: Seat) -> str:
    reasons = "; ".join(f"{number:,} times: {reason}" for reason, number in Counter(judged.failed).most_common(3))
    where = seat.endpoint.url if seat.endpoint else "no server"
    return (
        f"The teacher must answer for at least {percent(1 - config.max_failed_share)} of the texts, got no usable "
        f"answer for {judged.failures:,} of {count(texts, 'text')} ({where}). Reasons: {reasons}. Mend the server, the "
        "model or the card and run again; what was bought is kept."
    )
