"""Dead letters: documents that the index refused, each with its reason; the texts stay in the predictions.

dead-letters/date=<night>/<bundle>/<segment>.json   beside predictions/date=<night>/<bundle>/<segment>.parquet
"""

import json
from collections.abc import Sequence

from understudy.errors import StorageError
from understudy.index.backend import Letter
from understudy.storage import Store

PREFIX, SEGMENTS = "dead-letters/", "predictions/"
ATTEMPTS = 20


def key_of(segment: str) -> str:
    """Return where a segment's dead letters are kept.

    >>> key_of("predictions/date=2026-11-01/v1/00-00003.parquet")
    'dead-letters/date=2026-11-01/v1/00-00003.json'
    """
    return f"{PREFIX}{segment.removeprefix(SEGMENTS).removesuffix('.parquet')}.json"


def keep(store: Store, segment: str, letters: Sequence[Letter]) -> None:
    """Let the store hold just these letters of a segment.

    Raises:
        StorageError: others keep changing the object.
    """
    key = key_of(segment)
    said = {"format": 1, "segment": segment, "letters": [{"id": one.id, "reason": one.reason} for one in letters]}
    data = (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()
    for _ in range(ATTEMPTS):
        found = store.read_tagged(key)
        if (found is None and not letters) or (found is not None and found.data == data):
            return
        if not letters:
            store.delete(key)
            return
        if store.compare_and_swap(key, data, found.tag if found else None):
            return
    raise StorageError(f"Dead letters must be free to write, got others writing ({store.locate(key)}). Run it again.")


def list_segments(store: Store) -> list[str]:
    """List the segments that have dead letters."""
    return [f"{SEGMENTS}{key.removeprefix(PREFIX).removesuffix('.json')}.parquet" for key in store.list(PREFIX)]


def read(store: Store, segment: str) -> list[Letter]:
    """Read the dead letters of a segment.

    Raises:
        StorageError: the object was altered.
    """
    found = store.read_tagged(key_of(segment))
    if found is None:
        return []
    try:
        return [Letter(str(one["id"]), str(one["reason"])) for one in json.loads(found.data)["letters"]]
    except (ValueError, KeyError, TypeError) as error:
        where = store.locate(key_of(segment))
        raise StorageError(f"Dead letters must be readable, got {error!r} ({where}). Delete the object.") from error
