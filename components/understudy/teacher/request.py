"""Lead one request through its life, and let the budget and the journal hear of each step together."""

from enum import Enum, auto

from understudy.errors import UnderstudyError
from understudy.teacher.budget import Spending
from understudy.teacher.client import Busy, Garbled
from understudy.teacher.journal import Journal
from understudy.teacher.response_log import Intent, Response, content_key


class State(Enum):
    """Where a request is."""

    WAITING = auto()  # its money is set aside, and it may be sent; also after the server did not take it
    SENT = auto()  # the server may have it
    SETTLED = auto()  # it was answered; or its answer never came, and it is kept at its highest price
    TAKEN_BACK = auto()  # it costs nothing, and nobody waits for it


class Request:
    """One request for one text, whose money is set aside.

    Attributes:
        text: what is asked for.
        state: where it is.
        response: what was paid for, once the request is settled.
    """

    def __init__(self, text: str, intent: Intent, spending: Spending, journal: Journal) -> None:
        self.text, self.state = text, State.WAITING
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
        self.state = State.SENT

    async def settle(self, answer: Response) -> None:
        """Pay what the answer costs, and return once the store has it."""
        self._spending.settle(self._intent.most_usd, answer.cost_usd)
        await self._journal.keep(answer)
        self.response, self.state = answer, State.SETTLED

    async def fail(self, fault: UnderstudyError) -> None:
        """End the sending without an answer: at the highest price where it may be billed, else the request is free."""
        if isinstance(fault, Busy | Garbled) and fault.may_be_billed:
            await self.settle(self._intent.booked(content_key(self.text)))
        else:
            self._journal.unsend(self._intent)
            self.state = State.WAITING

    def take_back(self) -> None:
        """Give the money back of a request that waits; what was sent and never settled is booked when the run ends."""
        if self.state is State.WAITING:
            self._journal.drop(self._intent)
            self._spending.settle(self._intent.most_usd, 0.0)
            self.state = State.TAKEN_BACK
