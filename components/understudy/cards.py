"""Read a task card from wherever it lies."""

from understudy.errors import BadCard
from understudy.sources import require_address
from understudy.storage import split_uri
from understudy.store.address import parse_address
from understudy.task import CARD_FILE, NO_CARD, Card, parse_card


def read(address: str) -> tuple[Card, str]:
    """Read a card and its text.

    Args:
        address: a file, a snapshot folder, or its s3:// address.

    Raises:
        BadCard: it is missing or unreadable, or has faults.
        StorageError: its store does not answer.
    """
    require_address(address, "--card")
    try:
        path = parse_address(address, "--card").path
        if path is None:
            text = _on_s3(address)
        else:
            text = (path / CARD_FILE if path.is_dir() else path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadCard(f"A card must be a readable UTF-8 file, got {error} ({address}). {NO_CARD}") from error
    return parse_card(text, address), text


def _on_s3(address: str) -> str:
    """Read a card's object; an outage of the store is no fault of the card's."""
    store, key = split_uri(address, "--card")
    found = store.read_tagged(key)
    if found is None:
        raise BadCard(f"A card must exist, got nothing at {address} (--card). {NO_CARD}")
    return found.data.decode()
