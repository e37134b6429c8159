"""The teacher: asks an LLM for labels, keeps every answer that was bought, and never asks for one twice.

    with open_teacher(card, store, config) as teacher:
        teacher.estimate(texts)          # texts, tokens and dollars; nothing is spent
        judged = teacher.judge(texts)    # a table with id, text and weight -> records.Judgements, and what it took

`judge` takes what the store already has, asks for the rest within the card's budget, and can be killed at any time.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import polars as pl

from understudy import prompt as prompts
from understudy import records
from understudy.crew import Stopped, ended_by_sigterm, work_off
from understudy.endpoint import REHEARSAL, Busy, Endpoint, Reply
from understudy.errors import BadInput, BudgetSpent, TeacherError
from understudy.logprobs import label_probabilities
from understudy.progress import say, track
from understudy.prompt import Prompt, Unusable
from understudy.purchases import Purchase, PurchaseBook, content_key
from understudy.spending import Spending, price_usd
from understudy.steps.label.config import LabelConfig
from understudy.storage import Store
from understudy.task import Card
from understudy.wording import count, percent, usd

GARBAGE_TRIES = 2
HOPELESS_AFTER = 20
FIRST_WAIT_S, LONGEST_OWN_WAIT_S = 0.5, 30.0


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
        """Add the figures of two tables that share no text."""
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
        failed: texts without an answer, counted by reason.
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


class Teacher:
    """An LLM that labels for one card into one store; made by `open_teacher`.

    Attributes:
        judge_name: "<model>:<prompt hash>", with "rehearsal:" before it when nothing is really bought.
        is_rehearsal: whether the server is a rehearsal teacher.
        absence: why a dry run could not reach the server; empty when it could.
    """

    def __init__(self, card: Card, config: LabelConfig, book: PurchaseBook, server: "Server") -> None:
        self.judge_name, self.is_rehearsal, self.absence = server.judge_name, server.is_rehearsal, server.absence
        self._card, self._config, self._book, self._server = card, config, book, server
        self._spending = Spending(card.budget.teacher_usd, book.spent_usd(is_rehearsal=self.is_rehearsal))
        self._pause = Pause()

    @property
    def spent_usd(self) -> float:
        """Dollars spent in this store on this card so far; rehearsed and bought dollars are counted apart."""
        return self._spending.spent_usd

    @property
    def budget_usd(self) -> float:
        """The card's cap on them."""
        return self._spending.cap_usd

    def estimate(self, texts: pl.DataFrame) -> Estimate:
        """Say what asking for the texts will take; nothing is spent.

        Args:
            texts: columns id, text and weight.
        """
        wanted, known = _by_content(texts), self._book.answers(self.judge_name)
        prompt, missing = self._server.prompt, [text for key, text in wanted.items() if key not in known]
        asked = sum(prompts.estimate_prompt_tokens(prompt, text) for text in missing)
        answered = prompts.estimate_completion_tokens(prompt) * len(missing)
        cost = price_usd(self._card.teacher, asked, answered)
        return Estimate(len(wanted), len(wanted) - len(missing), asked, answered, cost)

    def stored(self, texts: pl.DataFrame) -> Judged:
        """Return the answers that the store has; nothing is asked."""
        wanted, known = _by_content(texts), self._book.answers(self.judge_name)
        return Judged(_judgements(texts, known), from_store=len(wanted.keys() & known.keys()))

    def judge(self, texts: pl.DataFrame, what: str = "label: texts judged") -> Judged:
        """Return the teacher's answers to the texts, asking in their order for those that the store lacks.

        Args:
            texts: columns id, text and weight.
            what: named in the progress.

        Raises:
            TeacherError: the server went away, answers nothing usable, or more than `max_failed_share` of the texts
                have no answer; what was bought is kept.
            BadInput: the server refuses the key or the model.
        """
        before = self.stored(texts)
        known = self._book.answers(self.judge_name)
        missing = [text for key, text in _by_content(texts).items() if key not in known]
        tally = self._ask(missing, Tally(before.from_store), what)
        self._require_few_failures(tally)
        return Judged(
            _judgements(texts, self._book.answers(self.judge_name)),
            tally.asked,
            before.from_store,
            dict(sorted(tally.failures.items())),
            tally.prompt_tokens,
            tally.completion_tokens,
            tally.cost_usd,
            tally.is_budget_spent,
        )
