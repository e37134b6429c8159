"""Download a student's files from the model hub, the one place that may, where its user allows it.

Everything else runs with HF_HUB_OFFLINE=1, which `understudy` sets before any library of the hub is loaded. Whoever
sets HF_HUB_OFFLINE=0 allows this download, in a process of its own, and nothing else.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from understudy.errors import BadSetting, UnderstudyError
from understudy.model.architectures import STUDENTS, locate, require_student, unknown_student
from understudy.model.student_files import (
    CONFIG_FILE,
    PLAIN_WEIGHTS,
    SAFE_WEIGHTS,
    SPECIAL_FILES,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    VOCABULARIES,
)

SMALL = (CONFIG_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, *SPECIAL_FILES, *VOCABULARIES)
DOWNLOAD = """
import sys
from huggingface_hub import list_repo_files, snapshot_download
name, safe, plain, *small = sys.argv[1:]
weights = safe if safe in list_repo_files(name) else plain
snapshot_download(name, allow_patterns=[*small, weights])
"""
MOST_S = 3600


def fetched(name: str) -> Path:
    """Return the folder of a hub name's files in the hub's cache, downloaded when the user allows it.

    Raises:
        BadSetting: the cache does not have them, and nothing may be downloaded.
        UnderstudyError: the download failed.
    """
    found = _cached(name)
    if found is None and os.environ.get("UNDERSTUDY_DOWNLOADS") == "1":
        _download(name)
        found = _cached(name)
    if found is None:
        raise unknown_student(name, "the model hub's cache has no such model; HF_HUB_OFFLINE=0 downloads it once.")
    return found


def told_missing(student: str) -> str | None:
    """Say that a student's weights are not here, and where they come from; None where they are, or nothing can look.

    Args:
        student: a key of STUDENTS, a folder, or a hub name.
    """
    try:
        require_student(student)
    except BadSetting as error:
        return str(error)
    source = locate(student)
    if Path(source).is_dir() or find_spec("huggingface_hub") is None or _cached(source) is not None:
        return None
    size = f", {STUDENTS[student].parameters_m} million parameters" if student in STUDENTS else ""
    return (
        f"the weights of {student} are not on this machine: {source} of the model hub{size}. HF_HUB_OFFLINE=0 "
        "downloads them once; or name a folder."
    )


def _cached(name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    is_whole = (folder / CONFIG_FILE).is_file() and any(
        (folder / one).is_file() for one in (SAFE_WEIGHTS, PLAIN_WEIGHTS)
    )
    return folder if is_whole else None


def _download(name: str) -> None:
    command = [sys.executable, "-c", DOWNLOAD, name, SAFE_WEIGHTS, PLAIN_WEIGHTS, *SMALL]
    environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MOST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UnderstudyError(f"The model hub must send '{name}' within an hour. Try again later.") from error
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2][:300]
        raise UnderstudyError(f"The model hub must send '{name}', got: {why} (student). Try again, or give a folder.")
