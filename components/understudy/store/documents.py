"""Small JSON documents in artifact folders: written in one canonical form, read with one kind of error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import BadArtifact
from understudy.store import codecs


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document; the same content gives the same bytes."""
    path.write_bytes(codecs.as_json(content, is_ascii=False))


def read_json(path: Path, maker: str) -> dict[str, Any]:
    """Read a document.

    Args:
        path: where it lies.
        maker: the step that writes it, named in the error.

    Raises:
        BadArtifact: it is missing, unreadable or no mapping.
    """
    try:
        return codecs.read_mapping(codecs.read_file(path), str(path))
    except BadArtifact as error:
        raise BadArtifact(f"The document must be readable JSON ({path}). Run {maker} again. {error}") from error
