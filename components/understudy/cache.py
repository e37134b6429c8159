"""A folder on this machine for what can be had again: answers that the store holds, bundles that it serves."""

import contextlib
import os
import tempfile
from pathlib import Path

from understudy.errors import BadInput


def cache_folder() -> Path:
    """Return a folder that can be written: UNDERSTUDY_CACHE, ~/.cache/understudy, or one in the temporary folder.

    Raises:
        BadInput: UNDERSTUDY_CACHE is set and cannot be written.
    """
    if named := os.environ.get("UNDERSTUDY_CACHE"):
        if not _is_writable(Path(named)):
            raise BadInput(f"The cache folder must be writable, got {named} (UNDERSTUDY_CACHE). Name another one.")
        return Path(named)
    candidates = [Path(tempfile.gettempdir()) / f"understudy-{os.getuid()}"]
    with contextlib.suppress(RuntimeError):
        candidates.insert(0, Path.home() / ".cache" / "understudy")
    found = next(filter(_is_writable, candidates), None)
    return found or Path(tempfile.mkdtemp(prefix="understudy-"))


def _is_writable(folder: Path) -> bool:
    """Whether the folder is ours and files can be made in it; it is made when it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder.stat().st_uid == os.getuid()
    except OSError:
        return False
