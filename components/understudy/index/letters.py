"""Dead letters: documents that the index refused, each with its reason; the texts stay in the predictions.

dead-letters/<index>/date=<night>/<bundle>/<segment>.json   for predictions/date=<night>/<bundle>/<segment>.parquet

They belong to the index that refused them: another one, which may take these documents, has no part in them.
"""

import json
from collections.abc import Sequence

from understudy.errors import StorageError
from understudy.index.backend import Letter
from understudy.storage import Store, update

PREFIX, SEGMENTS = "dead-letters/", "predictions/"


def key_of(index: str, segment: str) -> str:
    """Return where an index's dead letters of a segment are kept.

    >>> key_of("Xr3k", "predictions/date=2026-11-01/v1/00-00003.parquet")
    'dead-letters/Xr3k/date=2026-11-01/v1/00-00003.json'
    """
    return f"{PREFIX}{index}/{segment.removeprefix(SEGMENTS).removesuffix('.parquet')}.json"


def keep(store: Store, index: str, segment: str, letters: Sequence[Letter]) -> None:
    """Let the store hold just these letters of an index and a segment.

    Raises:
        StorageError: others keep changing the object.
    """
    said = {"format": 1, "segment": segment, "letters": [{"id": one.id, "reason": one.reason} for one in letters]}
    data = (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()
    update(store, key_of(index, segment), lambda _: data if letters else None, "Dead letters")


def list_segments(store: Store, index: str) -> list[str]:
    """List the segments that have dead letters of an index."""
    start = f"{PREFIX}{index}/"
    return [f"{SEGMENTS}{key.removeprefix(start).removesuffix('.json')}.parquet" for key in store.list(start)]


def read(store: Store, index: str, segment: str) -> list[Letter]:
    """Read an index's dead letters of a segment.

    Raises:
        StorageError: the object was altered.
    """
    found = store.read_tagged(key_of(index, segment))
    if found is None:
        return []
    try:
        return [Letter(str(one["id"]), str(one["reason"])) for one in json.loads(found.data)["letters"]]
    except (ValueError, KeyError, TypeError) as error:
        where = store.locate(key_of(index, segment))
        raise StorageError(f"Dead letters must be readable, got {error!r} ({where}). Delete the object.") from error
