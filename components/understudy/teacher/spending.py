"""Keep what a teacher costs under the card's cap, also while requests are in flight."""

import threading

from understudy.errors import BudgetSpent
from understudy.task import Teacher
from understudy.wording import usd

TOKENS_PER_PRICE = 1_000_000


def price_usd(teacher: Teacher, prompt_tokens: int, completion_tokens: int) -> float:
    """What tokens cost by the card's prices; discounts, such as for cached prompts, are not counted.

    >>> prices = Teacher(model="m", input_usd_per_million=0.5, output_usd_per_million=2.0)
    >>> price_usd(prices, 1_000, 10)
    0.00052
    """
    amount = prompt_tokens * teacher.input_usd_per_million + completion_tokens * teacher.output_usd_per_million
    return amount / TOKENS_PER_PRICE


class Spending:
    """Dollars spent and promised under a cap; used by many threads at once.

    A request promises the most that it can cost before it is sent and settles what it did cost when it is answered, so
    spent and promised together never pass the cap.
    """

    def __init__(self, cap_usd: float, spent_usd: float) -> None:
        self.cap_usd = cap_usd
        self._spent_usd, self._promised_usd, self._in_flight = spent_usd, 0.0, 0
        self._changed = threading.Condition()

    @property
    def spent_usd(self) -> float:
        """Dollars settled so far, those of earlier runs included."""
        return self._spent_usd

    def promise(self, amount_usd: float) -> None:
        """Set money aside for one request, waiting for others to settle when it is short.

        Raises:
            BudgetSpent: what is left is too little for this request, and none in flight can give any back.
        """
        with self._changed:
            while self._spent_usd + self._promised_usd + amount_usd > self.cap_usd:
                if not self._in_flight:
                    raise BudgetSpent(
                        f"The teacher must cost at most {usd(self.cap_usd)}, got {usd(self._spent_usd)} spent and "
                        f"{usd(amount_usd)} for the next request (budget.teacher_usd). What was bought is kept; raise "
                        "the budget and run again to buy the rest."
                    )
                self._changed.wait()
            self._promised_usd += amount_usd
            self._in_flight += 1

    def lose(self, cost_usd: float) -> None:
        """Count what a request may have cost that was sent but whose answer never came."""
        with self._changed:
            self._spent_usd += cost_usd

    def settle(self, promised_usd: float, cost_usd: float) -> None:
        """Give a promise back and count what the request did cost."""
        with self._changed:
            self._in_flight -= 1
            self._promised_usd = self._promised_usd - promised_usd if self._in_flight else 0.0
            self._spent_usd += cost_usd
            self._changed.notify_all()
