"""Keep what a teacher costs under the card's cap, also while requests are in flight."""

import asyncio
from collections.abc import Sequence

from understudy.errors import BudgetSpent
from understudy.task.card import Teacher
from understudy.text.numbers import usd

TOKENS_PER_PRICE = 1_000_000


def price_usd(teacher: Teacher, prompt_tokens: int, completion_tokens: int) -> float:
    """What tokens cost by the card's prices, else by the list's; discounts, as for cached prompts, are not counted.

    >>> prices = Teacher(model="m", input_usd_per_million=0.5, output_usd_per_million=2.0)
    >>> price_usd(prices, 1_000, 10)
    0.00052
    """
    asked_usd, answered_usd = teacher.usd_per_million
    return (prompt_tokens * asked_usd + completion_tokens * answered_usd) / TOKENS_PER_PRICE


class Spending:
    """Dollars spent and promised under a cap; used by the tasks of one event loop.

    A request promises the most that it can cost before it is sent and settles what it did cost when that is known, so
    spent and promised together never pass the cap. A server that once billed more than the most is trusted no more:
    from then on every request promises as much more.
    """

    def __init__(self, cap_usd: float, spent_usd: float) -> None:
        self.cap_usd = cap_usd
        self._spent_usd, self._promised_usd, self._in_flight = spent_usd, 0.0, 0
        self._excess = 1.0
        self._changed = asyncio.Event()

    @property
    def spent_usd(self) -> float:
        """Dollars settled so far, those of earlier runs included."""
        return self._spent_usd

    def most_usd(self, price: float) -> float:
        """Return what to promise for a request that costs at most `price` by the card's prices."""
        return price * self._excess

    async def promise(self, amount_usd: float) -> None:
        """Set money aside for one request, waiting for others to settle when it is short.

        Raises:
            BudgetSpent: what is left is too little for this request, and none in flight can give any back.
        """
        while not self._fits(amount_usd) and self._in_flight:
            self._changed.clear()
            await self._changed.wait()
        self.promise_now(amount_usd)

    def promise_now(self, amount_usd: float) -> None:
        """Set money aside for one request without waiting for others.

        Raises:
            BudgetSpent: what is left is too little.
        """
        if not self._fits(amount_usd):
            raise BudgetSpent(
                f"The teacher must cost at most {usd(self.cap_usd)}, got {usd(self._spent_usd)} spent and "
                f"{usd(amount_usd)} for the next request (budget.teacher_usd). What was bought is kept; raise "
                "the budget and run again to buy the rest."
            )
        self._promised_usd += amount_usd
        self._in_flight += 1

    def promise_more(self, amounts_usd: Sequence[float]) -> int:
        """Set money aside for as many of these requests, in their order, as there is money for; return how many."""
        for number, amount_usd in enumerate(amounts_usd):
            if not self._fits(amount_usd):
                return number
            self.promise_now(amount_usd)
        return len(amounts_usd)

    def settle(self, promised_usd: float, cost_usd: float) -> None:
        """Give a promise back and count what the request did cost."""
        self._in_flight -= 1
        self._promised_usd = self._promised_usd - promised_usd if self._in_flight else 0.0
        self._spent_usd += cost_usd
        if cost_usd > promised_usd > 0:
            self._excess *= cost_usd / promised_usd
        self._changed.set()

    def _fits(self, amount_usd: float) -> bool:
        return self._spent_usd + self._promised_usd + amount_usd <= self.cap_usd
