"""Lead one request through its life, and let the budget and the journal hear of each step together.

told        its money is set aside, and the store knows that it may be sent
sent        the server may have it
settled     it was answered; or its answer never came, and it is kept at its highest price
free again  the server did not take it: it may be sent another time, or taken back
taken back  it costs nothing, and nobody waits for it
"""

from understudy.errors import UnderstudyError
from understudy.teacher.budget import Spending
from understudy.teacher.client import Busy, Garbled
from understudy.teacher.journal import Journal
from understudy.teacher.response_log import Intent, Response, content_key


class Request:
    """One request for one text; made by `tell`.

    Attributes:
        text: what is asked for.
        response: what was paid for, once the request is settled.
    """

    def __init__(self, text: str, intent: Intent, spending: Spending, journal: Journal) -> None:
        self.text = text
        self.response: Response | None = None
        self._intent, self._spending, self._journal = intent, spending, journal

    @property
    def id(self) -> str:
        """Id of the answer to come."""
        return self._intent.id

    async def tell(self) -> "Request":
        """Tell the store that the request may be sent; where that fails, the money that was set aside is free again."""
        try:
            await self._journal.intend(self._intent)
        except BaseException:
            self.take_back()
            raise
        return self

    def send(self) -> None:
        """Note that the request is being sent: from here on the server may have it."""
        self._journal.send(self._intent)

    async def settle(self, answer: Response) -> None:
        """Pay what the answer costs, and return once the store has it."""
        self._spending.settle(self._intent.most_usd, answer.cost_usd)
        await self._journal.keep(answer)
        self.response = answer

    async def fail(self, fault: UnderstudyError) -> None:
        """End the sending without an answer: at the highest price where it may be billed, else the request is free."""
        if isinstance(fault, Busy | Garbled) and fault.may_be_billed:
            await self.settle(self._intent.booked(content_key(self.text)))
        else:
            self._journal.unsend(self._intent)

    def take_back(self) -> None:
        """Give the money back of a request that comes to nothing; one that is settled, or that was sent, stays.

        What was sent and is not settled when the run ends is booked by the journal.
        """
        if self.response is None and not self._journal.is_sent(self._intent):
            self._journal.drop(self._intent)
            self._spending.settle(self._intent.most_usd, 0.0)
