"""Keep dead letters: documents that the index refused, each with its reason.

dead-letters/<index>/date=<night>/<bundle>/<segment>.json   for predictions/date=<night>/<bundle>/<segment>.parquet

They belong to the index that refused them: another one, which may take these documents, has no part in them.
"""

import re
from collections.abc import Collection, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from understudy.errors import IndexFailed, StorageError
from understudy.search.backend import Letter
from understudy.store import codecs, layout
from understudy.store.storage import Store, update

LARGEST_BYTES = 64 << 20


class _Letter(BaseModel):
    model_config = ConfigDict(strict=True)
    id: str
    reason: str


class _Letters(BaseModel):
    model_config = ConfigDict(strict=True)
    format: Literal[1]
    segment: str
    letters: list[_Letter]


def require_index(name: object, where: str) -> str:
    """Return an index's own name, by which the store keeps what belongs to it, once it is one.

    Raises:
        IndexFailed: it is none that Elasticsearch gives, and might lead elsewhere in the store.
    """
    if not isinstance(name, str) or not re.fullmatch(layout.FIELDS["index"], name):
        raise IndexFailed(f"An index must have a uuid, got {str(name)[:80]!r} ({where}). Check what answers there.")
    return name


def key_of(index: str, segment: str) -> str:
    """Return where an index's dead letters of a segment are kept.

    >>> key_of("Xr3k", "predictions/date=2026-11-01/v1/00-00003.parquet")
    'dead-letters/Xr3k/date=2026-11-01/v1/00-00003.json'
    """
    return layout.DEAD_LETTERS.key_from(layout.SEGMENTS, segment, index=index)


def keep(store: Store, index: str, segment: str, letters: Sequence[Letter]) -> None:
    """Let the store hold just these letters of an index and a segment; a record of none where there were some.

    Raises:
        StorageError: others keep changing the object.
    """
    said = {"format": 1, "segment": segment, "letters": [{"id": one.id, "reason": one.reason} for one in letters]}
    data = codecs.as_json(said)
    update(store, key_of(index, segment), lambda before: data if letters or before else None, "Dead letters")


def list_segments(store: Store, index: str) -> list[str]:
    """List the segments that have dead letters of an index."""
    kept = layout.DEAD_LETTERS.listed(store, index=index)
    return [layout.SEGMENTS.key_from(layout.DEAD_LETTERS, key) for key, _ in kept]


def waiting(store: Store, index: str, besides: Collection[str]) -> list[Letter]:
    """Read the dead letters of earlier runs: those of all segments but the ones that were just sent."""
    left = [segment for segment in list_segments(store, index) if segment not in besides]
    return [letter for segment in left for letter in read(store, index, segment)]


def read(store: Store, index: str, segment: str) -> list[Letter]:
    """Read an index's dead letters of a segment.

    Raises:
        StorageError: the object was altered.
    """
    found = store.read_tagged(key_of(index, segment))
    if found is None:
        return []
    where = store.locate(key_of(index, segment))
    if len(found.data) > LARGEST_BYTES:
        raise StorageError(f"Dead letters must be smaller than 64 MB, got {len(found.data):,} bytes ({where}).")
    try:
        said = _Letters.model_validate_json(found.data)
    except ValidationError as error:
        fault = error.errors()[0]
        raise StorageError(
            f"Dead letters must be readable, got {fault['msg']} ({where}). Delete the object."
        ) from error
    return [Letter(one.id, one.reason) for one in said.letters]
