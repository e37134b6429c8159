"""Keep in the store what each batch asks for, from before it is made until its answers are kept.

    batches/<card>/<token>.json

The record is put before the server hears of the batch, and the batch carries its token, so that a run that was killed
between the two finds it again. It names no text: only the hashes of what is asked, and what each may cost.
"""

from dataclasses import asdict, dataclass, replace

from understudy.errors import Conflict
from understudy.store import codecs, layout
from understudy.store.storage import Beaten, Store, contend
from understudy.teacher.response_log import Intent


@dataclass(frozen=True, slots=True)
class Order:
    """One request of a batch.

    Attributes:
        id: of the answer to come; the batch's line carries it.
        content: `content_key` of the text; empty where somebody asked to forget it since.
        prompt_tokens: of the request, estimated, where the server should count none.
        most_usd: the most that it can cost.
    """

    id: str
    content: str
    prompt_tokens: int
    most_usd: float


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of requests.

    Attributes:
        token: that it is found by at the server.
        judge: who is asked.
        guideline: hash of that by which the answers are given.
        labels: of the card when it was made, in their order.
        is_many: whether a text may have several of them.
        is_rehearsal: whether a rehearsal teacher is asked.
        left_to: host outside of the house that the texts are sent to; empty where they stay in it.
        url: of the server.
        form: how an answer is asked for, a key of `refusals.FORMS`.
        is_redacted: whether what the card names was taken out of the texts.
        orders: its requests.
        id: that the server gave it; empty where that is not known yet.
        role: of the card's models, who is asked; empty for the teacher.
    """

    token: str
    judge: str
    guideline: str
    labels: list[str]
    is_many: bool
    is_rehearsal: bool
    left_to: str
    url: str
    form: str
    is_redacted: bool
    orders: list[Order]
    id: str = ""
    role: str = ""

    @property
    def most_usd(self) -> float:
        """The most that it can cost."""
        return sum(order.most_usd for order in self.orders)


def listed(store: Store, card_name: str) -> list[Batch]:
    """Read the batches of a card whose answers are not all kept yet.

    Raises:
        BadArtifact: a record is damaged.
    """
    keys = [key for key, _ in layout.TEACHER_BATCHES.listed(store, card=card_name)]
    return [batch for key in keys if (batch := _read(store, key)) is not None]


def now(store: Store, card_name: str, batch: Batch) -> Batch:
    """Read a batch anew: of its texts some may be forgotten since. One that is gone has none to read."""
    return _read(store, _key(card_name, batch)) or replace(batch, orders=[])


def put(store: Store, card_name: str, batch: Batch) -> None:
    """Write down a batch that is about to be made."""
    store.put_if_absent(_key(card_name, batch), codecs.canonical(asdict(batch)))


def made(store: Store, card_name: str, batch: Batch, batch_id: str) -> Batch:
    """Write down which id the server gave a batch.

    Raises:
        Conflict: another run changed the record meanwhile.
    """
    key = _key(card_name, batch)

    def write() -> Batch:
        found = store.read_tagged(key)
        if found is None:
            raise Conflict(
                f"A batch's record must stay while the batch is made, got it removed by another run "
                f"({store.locate(key)}). Run again; if the server has batch {batch_id}, its answers are billed."
            )
        known = replace(codecs.read_as(Batch, found.data, store.locate(key)), id=batch_id)
        if not store.compare_and_swap(key, codecs.canonical(asdict(known)), found.tag):
            raise Beaten
        return known

    return contend(write, "A batch's record", store.locate(key))


def remove(store: Store, card_name: str, batch: Batch) -> None:
    """Remove the record of a batch whose answers are kept, or which was never made."""
    store.delete(_key(card_name, batch))


def intent_of(order: Order, batch: Batch) -> Intent:
    """Return a request as what may still be billed."""
    left_to, is_redacted = batch.left_to, batch.is_redacted
    return Intent(order.id, batch.judge, order.most_usd, batch.is_rehearsal, left_to, is_redacted, batch.role)


def intents(store: Store, card_name: str) -> list[Intent]:
    """Return the requests of all batches as what may still be billed."""
    return [intent_of(order, batch) for batch in listed(store, card_name) for order in batch.orders]


def _read(store: Store, key: str) -> Batch | None:
    found = store.read_tagged(key)
    return None if found is None else codecs.read_as(Batch, found.data, store.locate(key))


def _key(card_name: str, batch: Batch) -> str:
    return layout.TEACHER_BATCHES.key(card=card_name, name=batch.token)
