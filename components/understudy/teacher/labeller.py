"""Label texts by the teacher: keep every answer that was bought, and never ask for one twice.

    with open_teacher(card, store, config) as teacher:
        teacher.estimate(texts)          # texts, tokens and dollars; nothing is spent
        judged = teacher.judge(texts)    # a table with id, text and weight -> `tables.Judgements`, and what it took

`judge` takes what the store already has, asks for the rest within the card's budget, and can be killed at any time. One
run at a time asks for one card's labels: whoever comes second waits, and finds the answers there.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl

from understudy.errors import BadInput, TeacherError
from understudy.progress import Track, say, track
from understudy.runtime.forecasts import Forecast
from understudy.stats.metrics import Floats, wilson
from understudy.store import tables
from understudy.store.lease import Lease, held
from understudy.store.storage import Store
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.task.sections import TeacherConfig
from understudy.teacher import bank, batch_records, batches
from understudy.teacher.access import who
from understudy.teacher.asking import Asker, Judge
from understudy.teacher.batches import Batches
from understudy.teacher.budget import Spending, price_usd
from understudy.teacher.client import REHEARSAL, Endpoint
from understudy.teacher.crew import Crew
from understudy.teacher.journal import Journal
from understudy.teacher.place import OutOfHouse
from understudy.teacher.prompt import (
    Prompt,
    count_cut_prompts,
    estimate_completion_tokens,
    estimate_prompt_tokens,
    prompts_of,
)
from understudy.teacher.refusals import FORMS
from understudy.teacher.request import Request
from understudy.teacher.response_log import OPEN, Response, ResponseLog, content_key, intents_in
from understudy.teacher.throttle import Throttle
from understudy.text.numbers import count, percent, usd
from understudy.text.seen import asked_of

HOPELESS_AFTER = 20
MEASURED_FROM = 5  # answers, from which on those to come are forecast by their length
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
        seconds: that it takes, by the card's seconds_per_text and as many requests at once as the settings allow; of
            one batch at most, as the server promises.
    """

    texts: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        """Add up two tables that share no text."""
        return Estimate(
            self.texts + other.texts,
            self.answered + other.answered,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_usd + other.cost_usd,
            self.seconds + other.seconds,
        )

    @property
    def to_ask(self) -> int:
        """Texts that are asked for."""
        return self.texts - self.answered

    def within(self, most_usd: float) -> "Estimate":
        """Return what of it some dollars buy, at the mean price of a text.

        >>> Estimate(texts=100, answered=20, prompt_tokens=800, cost_usd=4.0, seconds=40.0).within(1.0)
        Estimate(texts=40, answered=20, prompt_tokens=200, completion_tokens=0, cost_usd=1.0, seconds=10.0)
        """
        if self.cost_usd <= most_usd:
            return self
        share = most_usd / self.cost_usd
        return Estimate(
            self.answered + int(self.to_ask * share),
            self.answered,
            int(self.prompt_tokens * share),
            int(self.completion_tokens * share),
            most_usd,
            self.seconds * share,
        )

    @property
    def words(self) -> str:
        """Say how many texts are asked for.

        >>> Estimate(texts=1550, answered=310).words
        '1,240 of 1,550 texts to ask (310 answered)'
        """
        return f"{self.to_ask:,} of {count(self.texts, 'text')} to ask ({self.answered:,} answered)"

    def as_forecast(self, step: str, more: str = "", people_s: float = 0.0) -> Forecast:
        """Write it as what a step takes.

        Args:
            step: who asks.
            more: what else it works through.
            people_s: seconds that people have to work for what comes of it.
        """
        tokens = self.prompt_tokens + self.completion_tokens
        return Forecast(step, f"{self.words}{more}", tokens, self.cost_usd, self.seconds, people_s)


@dataclass(frozen=True, slots=True)
class Judged:
    """The teacher's answers to a table of texts, and what they took this time.

    Attributes:
        table: `tables.Judgements`, one row a text that has an answer, sorted by id.
        asked: texts asked for in this call, those that failed included.
        from_store: texts whose answer was there already.
        failed: texts that were asked for in vain, counted by reason.
        prompt_tokens: billed in this call.
        completion_tokens: billed in this call.
        cost_usd: spent in this call.
        is_budget_spent: whether the budget stopped the asking.
        without_probabilities: answers in the table without probabilities, though log-probabilities were asked for.
        cut_prompts: answers in the table whose prompt the server seems to have cut.
        in_other_letters: answers of this call whose label is not written as the card has it, and was taken for that.
        forms: answers in the table by how they were asked for and came (`refusals.FORMS`), where that is known.
        estimated: answers in the table whose tokens are our estimate, for the server did not count them.
        quotes: how one answer began for each reason in `failed`, where there was one.
    """

    table: pl.DataFrame
    asked: int = 0
    from_store: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    is_budget_spent: bool = False
    without_probabilities: int = 0
    cut_prompts: int = 0
    in_other_letters: int = 0
    forms: Mapping[str, int] = field(default_factory=dict)
    estimated: int = 0
    quotes: Mapping[str, str] = field(default_factory=dict)

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
            self.without_probabilities + other.without_probabilities,
            self.cut_prompts + other.cut_prompts,
            self.in_other_letters + other.in_other_letters,
            Counter(self.forms) + Counter(other.forms),
            self.estimated + other.estimated,
            {**other.quotes, **self.quotes},
        )

    def after(self, earlier: "Judged") -> "Judged":
        """Add what an earlier call of the same teacher took for some of these texts.

        >>> earlier = Judged(pl.DataFrame(), failed={"it is not JSON": 2}, quotes={"it is not JSON": "Yes!"})
        >>> Judged(pl.DataFrame()).after(earlier).reasons()
        ["2 texts: it is not JSON ('Yes!')"]
        """
        return replace(
            self,
            asked=self.asked + earlier.asked,
            from_store=self.from_store - (earlier.asked - earlier.failures),
            failed=Counter(self.failed) + Counter(earlier.failed),
            prompt_tokens=self.prompt_tokens + earlier.prompt_tokens,
            completion_tokens=self.completion_tokens + earlier.completion_tokens,
            cost_usd=self.cost_usd + earlier.cost_usd,
            is_budget_spent=self.is_budget_spent or earlier.is_budget_spent,
            in_other_letters=self.in_other_letters + earlier.in_other_letters,
            quotes={**earlier.quotes, **self.quotes},
        )

    def remarks(self) -> list[str]:
        """Say what a reader of the answers must know of them, a few words each."""
        remarks = [f"{self.failures:,} failed"] if self.failures else []
        if self.without_probabilities:
            remarks.append(f"{self.without_probabilities:,} without probabilities")
        if self.cut_prompts:
            remarks.append(f"{self.cut_prompts:,} with a prompt that the server seems to have cut")
        if self.in_other_letters:
            remarks.append(f"{self.in_other_letters:,} with a label not in the card's case or with other blanks")
        if set(self.forms) - {"schema"}:
            remarks += [f"{self.forms[form]:,} {words}" for form, words in FORMS.items() if self.forms.get(form)]
        if self.estimated:
            remarks.append(f"{self.estimated:,} with tokens and cost estimated, for the server counts none")
        return remarks

    def reasons(self) -> list[str]:
        """Say for how many texts there is no answer and why, the commonest reason first, each with one answer's begin.

        >>> Judged(pl.DataFrame(), failed={"it is not JSON": 2}, quotes={"it is not JSON": "Yes!"}).reasons()
        ["2 texts: it is not JSON ('Yes!')"]
        """
        return [
            f"{count(number, 'text')}: {reason}" + (f" ('{self.quotes[reason]}')" if self.quotes.get(reason) else "")
            for reason, number in Counter(self.failed).most_common()
        ]

    def plus(self, answers: Sequence[Response]) -> "Judged":
        """Count the answers to one more text, of which the last one decides."""
        reason, said = answers[-1].failure, answers[-1].said
        return replace(
            self,
            asked=self.asked + 1,
            failed=Counter(self.failed) + Counter([reason]) if reason else self.failed,
            quotes={reason: said, **self.quotes} if said else self.quotes,
            prompt_tokens=self.prompt_tokens + sum(answer.prompt_tokens for answer in answers),
            completion_tokens=self.completion_tokens + sum(answer.completion_tokens for answer in answers),
            cost_usd=self.cost_usd + sum(answer.cost_usd for answer in answers),
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """Where the texts of a table were sent, as far as the store has answers about them; in every run and by every step.

    Attributes:
        texts: different texts that were sent anywhere.
        left: those that left the house, by the host they were sent to.
        unknown: those whose way was not kept yet when they were sent.
        is_redacted: whether what the card names was taken out of each that left.
    """

    texts: int
    left: Mapping[str, int]
    unknown: int
    is_redacted: bool = False

    def as_record(self) -> dict[str, Any]:
        """Return it as reports read it."""
        return {"texts": self.texts, "left": dict(self.left), "unknown": self.unknown, "is_redacted": self.is_redacted}


class Teacher:
    """An LLM that labels for one card into one store; made by `open_teacher`."""

    def __init__(
        self, card: Card, config: TeacherConfig, book: ResponseLog, judge: Judge, runner: asyncio.Runner
    ) -> None:
        self.identity = judge
        self._card, self._config, self._book, self._runner = card, config, book, runner
        self._in_vain: dict[str, str] = {}
        self._spending = self._counted(None)

    @property
    def spent_usd(self) -> float:
        """Dollars that this model cost in this store on this card so far; rehearsed and bought ones count apart."""
        return self._spending.spent_usd

    def spent_on(self, role: str) -> float:
        """Dollars that another of the card's models cost in this store so far, by its role."""
        return self._book.spent_usd(is_rehearsal=self.identity.is_rehearsal, role=role)

    def estimate(self, texts: pl.DataFrame) -> Estimate:
        """Say what asking for the texts will take; nothing is spent.

        Args:
            texts: columns id, text and weight, and context where the card has it.
        """
        wanted, known = _by_content(texts), self._known()
        missing = [text for key, text in wanted.items() if key not in known]
        prompt_tokens = sum(estimate_prompt_tokens(self.identity.prompt, text) for text in missing)
        completion_tokens = round(self._tokens_an_answer(known.values()) * len(missing))
        cost_usd = price_usd(self._card.teacher, prompt_tokens, completion_tokens)
        seconds = len(missing) * self._card.teacher.seconds_per_text / self._config.concurrency
        if self._config.mode == "batch":
            cost_usd, seconds = cost_usd * self._config.batch_price, batches.WINDOW_S if missing else 0.0
        return Estimate(len(wanted), len(wanted) - len(missing), prompt_tokens, completion_tokens, cost_usd, seconds)

    def _tokens_an_answer(self, known: Collection[Response]) -> float:
        """Tokens of an answer, thoughts included, as those so far had them; an estimate before there are some."""
        counted = [answer.completion_tokens for answer in known if not (answer.is_estimated or answer.imported)]
        if len(counted) < MEASURED_FROM:
            return estimate_completion_tokens(self.identity.prompt)
        return sum(counted) / len(counted)

    def stored(self, texts: pl.DataFrame) -> Judged:
        """Return the answers that the store has; nothing is asked."""
        known = self._known()
        table = _judgements(texts, known)
        answers = [known[key] for key in _by_content(texts) if key in known]
        return Judged(
            table,
            from_store=len(answers),
            without_probabilities=table["probabilities"].null_count() if self._config.logprobs else 0,
            cut_prompts=self._cut_prompts(texts, known),
            forms=Counter(answer.form for answer in answers if answer.form),
            estimated=sum(answer.is_estimated for answer in answers),
        )

    def steady(self, texts: pl.DataFrame) -> pl.DataFrame:
        """Return the stored answers to texts that never had one that could not be used.

        Asking again in a later run adds none to these, so what is drawn by them stays as it was drawn first.
        """
        failed = self._book.failed(self.identity.name)
        wanted = zip(texts["id"], asked_of(texts), strict=True)
        unsteady = [identity for identity, text in wanted if content_key(text) in failed]
        return self.stored(texts).table.filter(~pl.col("id").is_in(unsteady))

    def _known(self) -> Mapping[str, Response]:
        """Return the teacher's answers by content key: those that it gave here, else those that were imported."""
        own = self._book.answers(self.identity.name)
        if self.identity.is_rehearsal:
            return own
        return self._book.imported(self._card.teacher.model, self.identity.guideline) | own

    def sent(self, *tables_of_texts: pl.DataFrame) -> Sent:
        """Count where the texts of some tables were sent.

        Args:
            tables_of_texts: columns id, text and weight, and context where the card has it.
        """
        known = self._book.sent()
        wanted = {key for texts in tables_of_texts for key in _by_content(texts)} & known.keys()
        hosts = Counter(host for key in wanted for host in known[key] if host)
        unknown = sum(None in known[key] and not any(known[key]) for key in wanted)
        is_redacted = bool(hosts) and not wanted & self._book.sent_as_they_are()
        return Sent(len(wanted), dict(sorted(hosts.items())), unknown, is_redacted)

    def seconds(self, texts: pl.DataFrame) -> list[float]:
        """Return how long each of the stored answers to the texts took to come, as far as that was kept."""
        known = self._known()
        answers = (known[key] for key in _by_content(texts) if key in known)
        return [answer.seconds for answer in answers if answer.seconds is not None]

    def judge(
        self,
        texts: pl.DataFrame,
        what: str = "label: texts judged",
        most_usd: float | None = None,
        *,
        is_part: bool = False,
    ) -> Judged:
        """Return the teacher's answers to the texts, asking in their order for those that the store lacks.

        While another run asks for this card, this one waits. A spent budget ends the asking and is told in the result.
        What an earlier call asked for in vain is not asked again, which would be paid again: another run does.

        Args:
            texts: columns id, text and weight, and context where the card has it; `id` stands once.
            what: named in the progress, with the step first.
            most_usd: the most to spend in this call, below what is left of the card's budget.
            is_part: more texts are asked about afterwards: of few, only what certainly fails too often is refused.

        Raises:
            TeacherError: the server went away or answers nothing usable, or more than `max_failed_share` of the texts
                have no answer; what was bought is kept.
            BadInput: the server refuses the key or the model.
            Conflict: another run took over while this one slept.
        """
        before = self.stored(texts)
        if before.from_store == len(_by_content(texts)):
            return before
        with held(self._book.store, self._book.lease_key, what.partition(":")[0], say) as lease:
            before = self._take_over(lease, texts, most_usd)
            if batch_records.listed(self._book.store, self._card.name):
                self._runner.run(self._desk(lease).take_in({}, lambda _: None))
                self._spending = self._counted(most_usd)
                before = self.stored(texts)
            wanted, known = _by_content(texts), self._known()
            in_vain = Counter(reason for key, reason in self._in_vain.items() if key in wanted)
            missing = [text for key, text in wanted.items() if key not in known and key not in self._in_vain]
            judged = self._ask(missing, before, what, lease)
        of_all = replace(judged, failed=Counter(judged.failed) + in_vain)
        if not _is_bearable(of_all.failures, len(wanted), self._config, is_part=is_part):
            raise TeacherError(_few_answers(of_all, len(wanted), self._config, self.identity))
        after = self.stored(texts)
        return replace(
            judged,
            table=after.table,
            without_probabilities=after.without_probabilities,
            cut_prompts=after.cut_prompts,
            forms=after.forms,
            estimated=after.estimated,
        )

    def _take_over(self, lease: Lease, texts: pl.DataFrame, most_usd: float | None) -> Judged:
        """Read what others bought meanwhile, and book what a run that was killed had under way."""
        self._book.follow()
        left = intents_in(lease.record, self._book.lease_key)
        if left:
            self._book.book(left)
            self._book.flush()
            lease.write({OPEN: []})
        self._spending = self._counted(most_usd)
        return self.stored(texts)

    def _counted(self, most_usd: float | None) -> Spending:
        spent = self._spent_usd()
        cap = self._card.budget.teacher_usd
        return Spending(cap if most_usd is None else min(cap, spent + most_usd), spent)

    def _ask(self, missing: Sequence[str], judged: Judged, what: str, lease: Lease) -> Judged:
        """Ask for the missing texts, keeping every answer, whatever ends it."""
        if self.identity.endpoint is None:
            raise BadInput(self.identity.absence)
        if self._config.mode == "batch":
            return self._ask_in_batches(missing, judged, what, lease)
        journal = Journal(self._book, lease, self._config.flush_s)
        asker = self._asker(self.identity.endpoint, journal)
        with ExitStack() as stack:
            stack.callback(journal.close)
            progress = stack.enter_context(track(len(missing), what))
            counted = judged

            def count_answers(answers: list[Response]) -> None:
                nonlocal counted
                counted = self._count(answers, counted, progress)

            crew: Crew[str, Request, list[Response]] = Crew(
                asker.prepare,
                lambda request: asker.ask(request, crew),
                count_answers,
                workers=self._config.concurrency,
                ahead=max(1, self._config.concurrency // 2),
                grace_s=GRACE_S,
            )
            self._runner.run(_worked_off(crew, missing, journal))
            if crew.error is not None:
                raise crew.error
        return replace(
            counted,
            is_budget_spent=crew.is_budget_spent or asker.is_budget_spent,
            in_other_letters=asker.in_other_letters,
        )

    def _desk(self, lease: Lease) -> Batches:
        """Return who orders batches and takes them in.

        Raises:
            BadInput: there is no server.
        """
        if self.identity.endpoint is None:
            raise BadInput(self.identity.absence)
        return Batches(
            self.identity,
            self.identity.endpoint,
            prices=self._card.teacher,
            config=self._config,
            book=self._book,
            card_name=self._card.name,
            require_lease=lambda: lease.write({OPEN: []}),
        )

    def _ask_in_batches(self, missing: Sequence[str], judged: Judged, what: str, lease: Lease) -> Judged:
        """Ask for the missing texts in batches of the server; a batch that is under way outlives this run."""
        desk = self._desk(lease)
        counted, cap = judged, self._spending.cap_usd

        def left_usd() -> float:
            self._spending = Spending(cap, self._spent_usd())
            return cap - self._spending.spent_usd

        with track(len(missing), what) as progress:

            def count_answers(answers: list[Response]) -> None:
                nonlocal counted
                counted = self._count(answers, counted, progress)

            try:
                self._runner.run(desk.buy(missing, left_usd, count_answers))
            finally:
                left_usd()
        return replace(counted, is_budget_spent=desk.is_budget_spent, in_other_letters=desk.in_other_letters)

    def _spent_usd(self) -> float:
        """Dollars spent on this card so far, what is under way and may still be billed included."""
        is_rehearsal, role = self.identity.is_rehearsal, self.identity.role
        ordered = self._book.unanswered(batch_records.intents(self._book.store, self._card.name))
        own = (one.most_usd for one in ordered if (one.is_rehearsal, one.role) == (is_rehearsal, role))
        return self._book.spent_usd(is_rehearsal=is_rehearsal, role=role) + math.fsum(own)

    def _count(self, answers: list[Response], judged: Judged, progress: Track) -> Judged:
        """Count the answers to one text as they come."""
        if not answers:
            return judged
        judged = judged.plus(answers)
        if answers[-1].failure:
            self._in_vain[answers[-1].content] = answers[-1].failure
        self._require_hope(judged, progress.total)
        progress.advance(note=f"{usd(self.spent_usd)} of {usd(self._card.budget.teacher_usd)}")
        return judged

    def _require_hope(self, judged: Judged, missing: int) -> None:
        """Stop before money is wasted on a teacher whose first answers are all useless."""
        is_useless = judged.from_store == 0 and judged.failures == judged.asked
        is_bearable = _is_bearable(judged.failures, judged.from_store + missing, self._config)
        if judged.failures >= HOPELESS_AFTER and (is_useless or not is_bearable):
            raise TeacherError(_few_answers(judged, judged.asked, self._config, self.identity))

    def _asker(self, endpoint: Endpoint, journal: Journal) -> Asker:
        config = self._config
        throttle = Throttle(config.concurrency, config.timeout_s, say, starts_alone=not endpoint.is_known)
        return Asker(
            self.identity,
            endpoint,
            prices=self._card.teacher,
            config=config,
            spending=self._spending,
            journal=journal,
            throttle=throttle,
        )

    def _cut_prompts(self, texts: pl.DataFrame, known: Mapping[str, Response]) -> int:
        found = [(text, known[key]) for key, text in _by_content(texts).items() if key in known]
        estimates = [estimate_prompt_tokens(self.identity.prompt, text) for text, _ in found]
        return count_cut_prompts(estimates, [answer.prompt_tokens for _, answer in found])


class Bank(Teacher):
    """A teacher that is asked for every text in several wordings, and whose answer is what they say together.

    Each wording is a judge of its own in the store. Tokens, dollars, forms and estimated answers in `Judged` are those
    of all wordings; answers without probabilities and cut prompts are those of the wording that has most. What it
    counts of texts is of texts, and one has failed when no wording has an answer to it.
    """

    def __init__(self, card: Card, config: TeacherConfig, wordings: Sequence[Teacher]) -> None:
        judges = [wording.identity for wording in wordings]
        judge = replace(judges[0], name=_bank_name(judges), wording="")
        super().__init__(card, config, wordings[0]._book, judge, wordings[0]._runner)
        self._wordings, self._space = wordings, LabelSpace.of(card)
        self._weights: Floats = np.ones(len(wordings))

    @property
    def spent_usd(self) -> float:
        """Dollars spent in this store on this card so far, by whichever wording."""
        return self._spent_usd()

    def weigh(self, human: pl.DataFrame) -> dict[str, float]:
        """Weigh the wordings by human labels from now on, where there are enough and a text has one label.

        Args:
            human: columns id, text, label, and context where the card has it.

        Returns:
            the weight of each wording; all alike where the labels do not tell more.
        """
        if not self._space.is_many and len(human):
            codes = bank.codes_of(self._answers(), [content_key(text) for text in asked_of(human)], self._space)
            truth = np.asarray(self._space.codes(human["label"]), dtype=np.int64)
            self._weights = bank.weights(codes, truth, len(self._space))
        names = [wording.identity.wording for wording in self._wordings]
        return dict(zip(names, self._weights.tolist(), strict=True))

    def estimate(self, texts: pl.DataFrame) -> Estimate:
        """Say what asking for the texts will take in all wordings; a text is answered when all have answered."""
        wanted, known = _by_content(texts), self._answers()
        answered = sum(all(key in answers for answers in known) for key in wanted)
        parts = [wording.estimate(texts) for wording in self._wordings]
        return replace(sum(parts, Estimate()), texts=len(wanted), answered=answered)

    def stored(self, texts: pl.DataFrame) -> Judged:
        """Return what the answers that the store has say together; nothing is asked."""
        return self._together([wording.stored(texts) for wording in self._wordings], texts, asked=set())

    def seconds(self, texts: pl.DataFrame) -> list[float]:
        """Return how long each answer of each wording took to come, as far as that was kept."""
        return [each for wording in self._wordings for each in wording.seconds(texts)]

    def judge(
        self,
        texts: pl.DataFrame,
        what: str = "label: texts judged",
        most_usd: float | None = None,
        *,
        is_part: bool = False,
    ) -> Judged:
        """Return what the wordings say together of the texts, asking one wording after the other, as `Teacher` does.

        Where the budget ends, a text keeps the answers that it has. Each wording must bear `max_failed_share`.
        """
        before, parts = self._looked_for(), list[Judged]()
        for wording in self._wordings:
            name = wording.identity.wording
            left = None if most_usd is None else max(most_usd - math.fsum(part.cost_usd for part in parts), 0.0)
            parts.append(wording.judge(texts, f"{what} ({name})", left, is_part=is_part))
            for reason in parts[-1].reasons():
                say(f"{what.partition(':')[0]}: wording '{name}' has no answer for {reason}.")
        asked = {key for now, then in zip(self._looked_for(), before, strict=True) for key in now - then}
        return self._together(parts, texts, asked=asked)

    def _together(self, parts: Sequence[Judged], texts: pl.DataFrame, *, asked: Collection[str]) -> Judged:
        """Add up what the wordings took, and combine what they say.

        Args:
            parts: of the wordings, each about all texts.
            texts: columns id, text and weight, and context where the card has it.
            asked: content keys of the texts that were asked for now, in any wording.
        """
        known, wanted = self._known(), _by_content(texts)
        asked = asked & wanted.keys()
        failed = Counter(self._reason(key) for key in asked - known.keys())
        added = sum(parts, Judged(tables.empty(tables.Judgements)))
        return replace(
            added,
            table=_judgements(texts, known),
            asked=len(asked),
            from_store=len((wanted.keys() & known.keys()) - asked),
            failed=failed,
            without_probabilities=max(part.without_probabilities for part in parts),
            cut_prompts=max(part.cut_prompts for part in parts),
        )

    def _answers(self) -> list[Mapping[str, Response]]:
        return [wording._known() for wording in self._wordings]

    def _looked_for(self) -> list[set[str]]:
        """Return by wording the content keys of the texts that it answered, or was asked for in vain."""
        return [
            known.keys() | wording._in_vain.keys()
            for known, wording in zip(self._answers(), self._wordings, strict=True)
        ]

    def _known(self) -> Mapping[str, Response]:
        return bank.combined(self._answers(), self._weights, self._space, self.identity.name)

    def _reason(self, key: str) -> str:
        """Return why the first wording that was asked for a text in vain has no answer."""
        return next(wording._in_vain[key] for wording in self._wordings if key in wording._in_vain)


async def _worked_off(crew: "Crew[str, Request, list[Response]]", missing: Sequence[str], journal: Journal) -> None:
    """Ask for the missing texts, and wait for the writes under way, whatever ended the asking."""
    try:
        await crew.work_off(missing)
    finally:
        await journal.drain()


@contextmanager
def open_teacher(card: Card, store: Store, config: TeacherConfig, *, is_dry_run: bool = False) -> Iterator[Teacher]:
    """Open the teacher of a card: find its server, learn whether it is a rehearsal, and what the store already has.

    Args:
        card: the task.
        store: keeps the answers.
        config: how it is asked.
        is_dry_run: only estimate, and write nothing; a server that is away or a missing key is then no fault.

    Raises:
        BadInput: no server, no key or a wrong one; nothing was spent.
        StorageError: the store does not answer.
    """
    with open_judges(card, store, config, _wordings_of(card, config), is_dry_run=is_dry_run) as wordings:
        yield Bank(card, config, wordings) if card.teacher.prompts else wordings[0]


@contextmanager
def open_judges(
    card: Card, store: Store, config: TeacherConfig, prompts: Mapping[str, Prompt], *, is_dry_run: bool = False
) -> Iterator[list[Teacher]]:
    """Open the model of a card as a teacher for each prompt; all share its server, its cap and the store's answers.

    Args:
        card: the task; as `Card.acting` has it where a role is asked.
        store: keeps the answers.
        config: how it is asked.
        prompts: at least one, by what messages call it.
        is_dry_run: as in `open_teacher`.

    Raises:
        BadInput: no server, no key or a wrong one; nothing was spent.
        StorageError: the store does not answer.
    """
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        judges = _judges_of(card, config, prompts, runner, is_dry_run=is_dry_run)
        if judges[0].endpoint is not None:
            stack.callback(_close, runner, judges[0].endpoint)
        book = stack.enter_context(closing(ResponseLog(store, card.name, is_dry_run=is_dry_run)))
        yield [Teacher(card, config, book, judge, runner) for judge in judges]


def probe(card: Card, config: TeacherConfig) -> bool:
    """Find a card's teacher, which costs nothing, and tell whether it is a rehearsal.

    Raises:
        BadInput: no server or no key, or the server sends us to another one.
    """
    with asyncio.Runner() as runner:
        judge = _judges_of(card, config, _wordings_of(card, config), runner, is_dry_run=False)[0]
        if judge.endpoint is not None:
            _close(runner, judge.endpoint)
    return judge.is_rehearsal


def _close(runner: asyncio.Runner, endpoint: Endpoint) -> None:
    runner.run(endpoint.close())


def judge_name(prompt: Prompt, model: str, *, has_logprobs: bool, rehearsal: str | None) -> str:
    """Name a judge by all that decides its answers, so that another prompt is another judge.

    >>> judge_name(Prompt("Tip?", ("tip", "other")), "m", has_logprobs=True, rehearsal="rehearsal x")
    'rehearsal:m:d42b82e5ad41'
    """
    digest = prompt.hash(model, has_logprobs=has_logprobs, server=rehearsal or "")[:HASH_LENGTH]
    return f"{REHEARSAL}:{model}:{digest}" if rehearsal is not None else f"{model}:{digest}"


def _wordings_of(card: Card, config: TeacherConfig) -> dict[str, Prompt]:
    """Build the prompts of a card by the names of its wordings; one without a name where it has none."""
    names = [wording.name for wording in card.teacher.prompts] or [""]
    return dict(zip(names, prompts_of(card, has_rationale=config.rationale), strict=True))


def _judges_of(
    card: Card, config: TeacherConfig, prompts: Mapping[str, Prompt], runner: asyncio.Runner, *, is_dry_run: bool
) -> list[Judge]:
    """Find the card's server, and name a judge for each prompt, which all share it."""
    model, role = card.teacher.model, card.teacher.role
    endpoint, rehearsal, absence = None, None, ""
    try:
        endpoint = Endpoint(card.teacher, config.timeout_s)
        rehearsal = runner.run(endpoint.rehearsal())
    except (BadInput, TeacherError) as error:
        if not is_dry_run or isinstance(error, OutOfHouse):
            raise
        absence = str(error)
    guideline, is_rehearsal = Guideline.of(card).hash, rehearsal is not None
    judges = []
    for wording, prompt in prompts.items():
        name = judge_name(prompt, model, has_logprobs=config.logprobs, rehearsal=rehearsal)
        judges.append(Judge(name, prompt, guideline, is_rehearsal, endpoint, absence, wording, role))
    return judges


def _bank_name(judges: Sequence[Judge]) -> str:
    """Name a bank by the judges in it, as each of them is named."""
    digest = sha256("\n".join(judge.name for judge in judges).encode()).hexdigest()[:HASH_LENGTH]
    return f"{judges[0].name.rpartition(':')[0]}:bank-{digest}"


def _by_content(texts: pl.DataFrame) -> dict[str, str]:
    """Different texts by content key, in the table's order."""
    return {content_key(text): text for text in asked_of(texts)}


def _judgements(texts: pl.DataFrame, known: Mapping[str, Response]) -> pl.DataFrame:
    """Join texts and answers to `tables.Judgements`; texts without an answer are left out."""
    keys = pl.Series("key", map(content_key, asked_of(texts)), dtype=pl.String)
    rows = [
        _row(name, weight, known[key])
        for name, weight, key in texts.select("id", "weight", keys).sort("id").iter_rows()
        if key in known
    ]
    return tables.empty(tables.Judgements) if not rows else tables.Judgements.validate(pl.DataFrame(rows), cast=True)


def _row(text_id: str, weight: float, answer: Response) -> dict[str, object]:
    return {
        "id": text_id,
        "judge": answer.judge,
        "kind": "teacher",
        "label": answer.label,
        "probabilities": answer.probabilities,
        "rationale": answer.rationale,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "cost_usd": None if answer.is_unpriced else answer.cost_usd,
        "is_rehearsal": answer.is_rehearsal,
        "weight": float(weight),
    }


def _is_bearable(failures: int, texts: int, config: TeacherConfig, *, is_part: bool = False) -> bool:
    share = wilson(failures, texts).low if is_part else failures / max(1, texts)
    return share <= config.max_failed_share


def _few_answers(judged: Judged, texts: int, config: TeacherConfig, judge: Judge) -> str:
    reasons = "; ".join(judged.reasons()[:3])
    where = judge.endpoint.url if judge.endpoint else "no server"
    where += f", wording '{judge.wording}'" if judge.wording else ""
    return (
        f"The {who(judge.role)} must answer for at least {percent(1 - config.max_failed_share)} of the texts, got no "
        f"usable answer for {judged.failures:,} of {count(texts, 'text')} ({where}). Reasons: {reasons}. Mend the "
        "server, the model or the card and run again; what was bought is kept."
    )
