"""One request through its life: budget and store agree on what it cost and on what is still open, however it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from understudy.errors import Conflict, TeacherError
from understudy.store.folder import FolderStore
from understudy.store.lease import held, read_record
from understudy.teacher.budget import Spending
from understudy.teacher.client import Busy
from understudy.teacher.journal import Journal
from understudy.teacher.request import Request
from understudy.teacher.response_log import OPEN, UNANSWERED, Intent, Response, ResponseLog, content_key, lease_key

CARD, MOST_USD = "hotel-tips", 0.5
BILLED = Busy("no answer in time", may_be_billed=True)


async def answered(request: Request) -> None:
    request.send()
    common = {"label": "tip", "probabilities": None, "rationale": None, "prompt_tokens": 1, "completion_tokens": 1}
    await request.settle(
        Response(request.id, "judge", content_key(request.text), cost_usd=0.25, is_rehearsal=False, **common)
    )


async def lost(request: Request) -> None:
    request.send()
    await request.fail(BILLED)


async def refused(request: Request) -> None:
    request.send()
    await request.fail(TeacherError("no such model"))


async def refused_and_sent_again(request: Request) -> None:
    await refused(request)
    await answered(request)


async def never_sent(request: Request) -> None:
    """Do nothing."""


async def cut_off(request: Request) -> None:
    request.send()


@pytest.mark.parametrize(
    ("end", "spent_usd", "booked_usd", "failures"),
    [
        (answered, 0.25, 0.25, [""]),
        (lost, MOST_USD, MOST_USD, [UNANSWERED]),
        (refused, 0.0, 0.0, []),
        (refused_and_sent_again, 0.25, 0.25, [""]),
        (never_sent, 0.0, 0.0, []),
        (cut_off, 0.0, MOST_USD, [UNANSWERED]),  # nobody knows: the journal books it when it is closed
    ],
)
def test_budget_and_store_agree_on_how_a_request_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Request], Awaitable[None]],
    spent_usd: float,
    booked_usd: float,
    failures: list[str],
):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store, spending = FolderStore(tmp_path / "store"), Spending(2 * MOST_USD, 0.0)
    intent = Intent("1", "judge", MOST_USD, is_rehearsal=False)

    async def live(journal: Journal) -> None:
        spending.promise_now(MOST_USD)
        request = await Request("a text", intent, spending, journal).tell()
        assert [one["id"] for one in read_record(store, lease_key(CARD))[OPEN]] == ["1"]
        await end(request)
        request.take_back()
        spending.promise_now(MOST_USD)
        other = await Request("b", Intent("2", "judge", MOST_USD, is_rehearsal=False), spending, journal).tell()
        open_ids = [one["id"] for one in read_record(store, lease_key(CARD))[OPEN]]
        assert open_ids == (["1", "2"] if end is cut_off else ["2"])
        other.take_back()
        await journal.drain()

    with held(store, lease_key(CARD), "label", print) as lease, closing(ResponseLog(store, CARD)) as book:
        journal = Journal(book, lease, merge_s=60)
        asyncio.run(live(journal))
        assert spending.spent_usd == spent_usd
        journal.close()
        assert book.spent_usd(is_rehearsal=False) == booked_usd
        assert [failure for (failure,) in book._rows("SELECT line ->> '$.failure' FROM responses")] == failures
    assert read_record(store, lease_key(CARD))[OPEN] == []
    if end is not cut_off:
        spending.promise_now(2 * MOST_USD - spent_usd)  # all that was not spent is free again


def test_a_request_that_the_store_cannot_be_told_of_gives_its_money_back(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    store, spending = FolderStore(tmp_path / "store"), Spending(MOST_USD, 0.0)
    intent = Intent("1", "judge", MOST_USD, is_rehearsal=False)
    with (
        closing(ResponseLog(store, CARD)) as book,
        pytest.raises(Conflict, match="given away"),  # at its release
        held(store, lease_key(CARD), "label", print) as lease,
    ):
        store.delete(lease_key(CARD))
        spending.promise_now(MOST_USD)
        with pytest.raises(Conflict, match="given away"):
            asyncio.run(Request("a text", intent, spending, Journal(book, lease, merge_s=60)).tell())
    spending.promise_now(MOST_USD)  # there is no room for both
