"""Read a task card from wherever it lies: the one reader of cards that somebody names."""

from collections.abc import Mapping
from typing import Any

import yaml

from understudy.errors import BadCard, BadInput, StorageError
from understudy.store.address import Address, parse_address
from understudy.store.s3 import S3Store
from understudy.task import plain_yaml
from understudy.task.card import CARD_FILE, NO_CARD, Card, parse_card, read_text, require_size
from understudy.task.settings import build_section


def read(address: str, *, is_draft: bool = False) -> tuple[Card, str]:
    """Read a card and its text.

    Args:
        address: a file, a snapshot folder, or the s3:// address of one; a path may be written as file:///path.
        is_draft: questions of a new card may stand unanswered.

    Raises:
        BadCard: it is missing or unreadable, or has faults.
        BadInput: the address cannot be.
        StorageError: its store does not answer.
    """
    place = parse_address(address, "--card")
    if place.path is None:
        return parse(*_on_s3(place, address), is_draft=is_draft)
    text, where = read_text(place.path)
    return parse_card(text, where, is_draft=is_draft), text


def columns_said(address: str) -> Mapping[str, Any] | None:
    """Return the section columns of a card that may have faults; None where the card cannot be read so far.

    It is read within the bounds of every card, so one that would fill the memory is one that cannot be read. Files are
    judged by it beside the faults of their card, so that none is called faulty for a column that it has.
    """
    try:
        place = parse_address(address, "--card")
        text = read_text(place.path)[0] if place.path else _on_s3(place, address)[0].decode()
        section = (plain_yaml.load(text) or {}).get("columns") or {}
        build_section("columns", section, "columns.")
    except (
        BadInput,
        StorageError,
        UnicodeError,
        yaml.YAMLError,
        AttributeError,
        RecursionError,
        ValueError,
        TypeError,
    ):
        return None  # what is wrong with the card, its reader says
    return section if isinstance(section, Mapping) else None


def parse(data: bytes, where: str, *, is_draft: bool = False) -> tuple[Card, str]:
    """Read a card from the bytes of an object, and return its text too.

    Args:
        data: of the object.
        where: named in the messages.
        is_draft: questions of a new card may stand unanswered.

    Raises:
        BadCard: it is too large, no UTF-8, or has faults.
    """
    require_size(len(data), where)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadCard(f"A card must be a readable UTF-8 file, got {error} ({where}). {NO_CARD}") from error
    return parse_card(text, where, is_draft=is_draft), text


def _on_s3(place: Address, address: str) -> tuple[bytes, str]:
    """Read a card's object and say which it was; an outage of the store is no fault of the card's."""
    if not place.key:
        raise BadCard(f"A card must be one object, got '{address}' (--card). Write s3://bucket/card.yaml.")
    store = S3Store(place.bucket, "")
    for key in (place.key, f"{place.key}/{CARD_FILE}"):
        if (found := store.read_tagged(key)) is not None:
            return found.data, store.locate(key)
    raise BadCard(f"A card must exist, got nothing at {address} (--card). {NO_CARD}")
