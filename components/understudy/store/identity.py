"""A store's own id, by which the caches of this machine are named; a store that was made anew has another one."""

import re

from understudy.store import codecs

STORE_ID = re.compile(r"[0-9a-f]{32}")


def parse_store_id(data: bytes, where: str) -> str:
    """Read a store's id, which names files of this machine's cache.

    Args:
        data: the object's content.
        where: its address, for the message.

    Raises:
        BadArtifact: it is no id.

    >>> parse_store_id(b"0123456789abcdef0123456789abcdef", ".store-id")
    '0123456789abcdef0123456789abcdef'
    """
    text = codecs.read_text(data, where, most_bytes=100).strip()
    if not STORE_ID.fullmatch(text):
        raise codecs.unreadable("the id of a store, 32 digits of a-f and 0-9", "something else", where)
    return text
