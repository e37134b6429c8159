"""Identify a store, to tell it from another one that was made anew at its address."""

import hashlib
import re
import uuid

from understudy.errors import BadArtifact
from understudy.store import layout
from understudy.store.storage import Beaten, Store, contend

STORE_ID = layout.STORE_ID.key()
FIRST_NIGHT = layout.ORDER.key(number=1)
ID = re.compile(r"[0-9a-f]{32}")


def find_id(store: Store) -> str | None:
    """Read a store's id; None where nobody that may write has asked for one.

    Raises:
        BadArtifact: it is none, and might lead out of the folder that is named by it.
    """
    found = store.read_tagged(STORE_ID)
    if found is None:
        return None
    name = found.data[:64].decode("ascii", "replace").strip()
    if not ID.fullmatch(name):
        raise BadArtifact(
            f"A store's id must be 32 hexadecimal digits, got {name[:40]!r} ({store.locate(STORE_ID)}). Delete the "
            "object: another one is made."
        )
    return name


def make_id(store: Store) -> str:
    """Return a store's id, which is made where there is none: only for what writes into the store anyway."""

    def write() -> str:
        store.put_if_absent(STORE_ID, uuid.uuid4().hex.encode())
        if (found := find_id(store)) is None:
            raise Beaten
        return found

    return contend(write, "A store's id", store.locate(STORE_ID))


def stand_in(store: Store) -> str:
    """Return a name for a store that has no id, without writing into it: by its address and its first night."""
    said = f"{store.uri}\n{store.tag_of(FIRST_NIGHT)}"
    return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()[:32]
