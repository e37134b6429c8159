"""Hash files, folders and JSON values by SHA-256; a provenance is no part of what it describes."""

import hashlib
import os
from pathlib import Path
from typing import Any

from understudy.store import codecs

PROVENANCE = "provenance.json"  # in an artifact's folder; beside an artifact that is one file, after its name


def hash_tree(path: Path) -> str:
    """SHA-256 over the names and bytes of a file or folder, provenance itself left out."""
    if path.is_file():
        return hash_file(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file() and not is_provenance(file):
            digest.update(os.fsencode(file.relative_to(path).as_posix()))
            digest.update(f" {hash_file(file)}\n".encode())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_provenance(path: Path) -> bool:
    """Tell whether a path is a provenance file, whose place hashes leave out."""
    return path.name == PROVENANCE or path.name.endswith(f".{PROVENANCE}")


def hash_json(content: Any) -> str:
    """SHA-256 of a JSON value in its canonical form."""
    return hashlib.sha256(codecs.canonical(content)).hexdigest()
