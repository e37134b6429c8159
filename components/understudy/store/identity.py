"""What tells a store from another one that was made anew at its address: files on this machine are named after it."""

import re
import uuid

from understudy.errors import BadArtifact
from understudy.storage import Store

STORE_ID = "judgements/.store-id"
IDENTITY = re.compile(rb"[0-9a-f]{32}")


def store_id(store: Store) -> str:
    """Return a store's id, and give it one where it has none: for whoever writes in it.

    Raises:
        BadArtifact: the object is damaged.
    """
    found = find_store_id(store)
    if found is None:
        store.put_if_absent(STORE_ID, uuid.uuid4().hex.encode())
        return _parsed(store.read(STORE_ID), store)
    return found


def find_store_id(store: Store) -> str | None:
    """Return a store's id without writing; None where it has none yet.

    Raises:
        BadArtifact: the object is damaged.
    """
    found = store.read_tagged(STORE_ID)
    return None if found is None else _parsed(found.data, store)


def _parsed(data: bytes, store: Store) -> str:
    if not IDENTITY.fullmatch(data.strip()):
        raise BadArtifact(
            f"A store's id must be 32 hexadecimal digits, got {data[:40]!r} ({store.locate(STORE_ID)}). Restore it, or "
            "delete it: caches are filled again."
        )
    return data.strip().decode("ascii")
