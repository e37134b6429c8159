"""Read a task card from wherever it lies."""

from understudy.errors import BadCard, StorageError
from understudy.sources import local_path, require_address
from understudy.storage import split_uri
from understudy.task import CARD_FILE, NO_CARD, Card, parse_card


def read(address: str) -> tuple[Card, str]:
    """Read a card and its text.

    Args:
        address: a file, a snapshot folder, or its s3:// address.

    Raises:
        BadCard: it is missing or unreadable, or has faults.
    """
    require_address(address, "--card")
    try:
        if address.startswith("s3://"):
            store, key = split_uri(address)
            text = store.read(key).decode()
        else:
            path = local_path(address)
            text = (path / CARD_FILE if path.is_dir() else path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, StorageError) as error:
        raise BadCard(f"A card must be a readable UTF-8 file, got {error} ({address}). {NO_CARD}") from error
    return parse_card(text, address), text
