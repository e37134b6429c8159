"""Read arrays of records that others may have written."""

from typing import Any

import numpy as np

from understudy.errors import BadArtifact
from understudy.stats.metrics import Floats


def of_shape(record: Any, name: str, shape: tuple[int | None, ...]) -> Floats:
    """Read numbers of a record that others may have written; None in the shape stands for any length.

    Raises:
        BadArtifact: they are no finite numbers, or of another shape.
    """
    try:
        found = np.asarray(record[name], dtype=float)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadArtifact(f"A summary must hold numbers as '{name}', got {error!r:.80}. Restore the record.") from error
    is_alike = found.ndim == len(shape) and all(
        size in {None, own} for size, own in zip(shape, found.shape, strict=True)
    )
    if not is_alike or not np.isfinite(found).all():
        raise BadArtifact(f"A summary's '{name}' must be of shape {shape}, got {found.shape}. Restore the record.")
    return found
