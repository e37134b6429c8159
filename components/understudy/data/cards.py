"""Read a task card from wherever it lies: the one reader of cards that somebody names."""

from understudy.errors import BadCard
from understudy.store.address import Address, parse_address
from understudy.store.s3 import S3Store
from understudy.task.card import NO_CARD, Card, parse_card, read_text, require_size


def read(address: str) -> tuple[Card, str]:
    """Read a card and its text.

    Args:
        address: a file, a snapshot folder, or its s3:// address.

    Raises:
        BadCard: it is missing or unreadable, or has faults.
        BadInput: the address cannot be.
        StorageError: its store does not answer.
    """
    place = parse_address(address, "--card")
    text, where = (_on_s3(place, address), address) if place.path is None else read_text(place.path)
    return parse_card(text, where), text


def _on_s3(place: Address, address: str) -> str:
    """Read a card's object; an outage of the store is no fault of the card's."""
    if not place.key:
        raise BadCard(f"A card must be one object, got '{address}' (--card). Write s3://bucket/card.yaml.")
    found = S3Store(place.bucket, "").read_tagged(place.key)
    if found is None:
        raise BadCard(f"A card must exist, got nothing at {address} (--card). {NO_CARD}")
    require_size(len(found.data), address)
    try:
        return found.data.decode()
    except UnicodeDecodeError as error:
        raise BadCard(f"A card must be a readable UTF-8 file, got {error} ({address}). {NO_CARD}") from error
