"""List the files of data in a folder or under a prefix, and name those that are passed over."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from understudy.data import unpacking
from understudy.data.limits import MOST_FILES
from understudy.errors import BadData
from understudy.text.numbers import clipped, count

KINDS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".tsv": "csv"}  # by suffix
SHOWN_FILES = 20


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of data as (name for messages, path), and the names of what lies beside them and is not read."""

    files: tuple[tuple[str, Path], ...]
    passed_over: tuple[str, ...] = ()


def is_hidden(name: str) -> bool:
    """Tell whether a path below a folder has a part that no tool takes for data: ".git", "_SUCCESS", "_delta_log"."""
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)


def has_known_suffix(name: str) -> bool:
    """Tell whether a name says that it is CSV, JSONL or Parquet; the first two may be packed.

    A JSON list and an Excel file are read where they are named themselves: in a folder they may be about its data.

    >>> [has_known_suffix(name) for name in ("a.csv", "a.csv.gz", "a.parquet.gz", "a.json")]
    [True, True, False, False]
    """
    plain = unpacking.inner(name)
    suffix = PurePosixPath(plain).suffix.lower()
    return suffix in KINDS and (plain == name or suffix != ".parquet")


def in_folder(folder: Path, address: str) -> Listing:
    """List a folder and those below it; links to folders are not followed, so no loop of them is walked.

    Raises:
        BadData: it holds no file of data, more files than can be read, or a folder that cannot be looked into.
    """
    names = sorted(_walk(folder, address), key=lambda name: PurePosixPath(name).parts)
    data = [name for name in names if has_known_suffix(name) and is_plain(folder / name)]
    passed_over = tuple(sorted({*names} - {*data}))
    require_some(data, passed_over, "folder", address)
    return Listing(tuple((str(folder / name), folder / name) for name in data), passed_over)


def under_prefix(keys: Sequence[str], prefix: str, address: str) -> tuple[list[str], tuple[str, ...]]:
    """Part the keys under a prefix into those of data and the names of the others.

    Raises:
        BadData: none is of data, or they are more than can be read.
    """
    named = {key: key.removeprefix(prefix).lstrip("/") for key in keys if not key.endswith("/")}
    shown = {key: name for key, name in named.items() if not is_hidden(name)}
    require_few(len(shown), address)
    data = [key for key, name in shown.items() if has_known_suffix(name)]
    passed_over = tuple(name for name in shown.values() if not has_known_suffix(name))
    require_some(data, passed_over, "bucket", address)
    return data, passed_over


def require_few(files: int, address: str) -> None:
    """Refuse a folder or prefix of more files than can be read.

    Raises:
        BadData: there are more.
    """
    if files > MOST_FILES:
        raise BadData(
            f"A source must hold at most {MOST_FILES:,} files, got more ({address}). Name the folder of the data "
            "alone, or join small files."
        )


def require_some(data: Sequence[str], passed_over: Sequence[str], place: str, address: str) -> None:
    """Refuse a folder or prefix without a file of data, and name what it holds instead.

    Raises:
        BadData: there is none.
    """
    if data:
        return
    others = f" but {told(passed_over)}" if passed_over else ""
    raise BadData(
        f"A {place} must hold {', '.join(KINDS)} files, got none{others} ({address}). Mend the address, or "
        "unpack the files and name them so."
    )


def told(names: Sequence[str], files: int = 0, shown: int = 3) -> str:
    """Name files that are passed over.

    Args:
        names: of all of them, or of the first.
        files: how many there are; as many as names where it is not given.
        shown: most names.

    >>> told(["part-1.docx", "part-2.txt"])
    '2 files that are passed over (part-1.docx, part-2.txt)'
    >>> told(["part-1.docx", "part-2.txt"], 3000)
    '3,000 files that are passed over (part-1.docx, part-2.txt, ...)'
    """
    files = files or len(names)
    first = [clipped(name) for name in names[:shown]]
    are = "is" if files == 1 else "are"
    listed = ", ".join([*first, "..."] if files > len(first) else first)
    return f"{count(files, 'file')} that {are} passed over ({listed})"


def told_ids(names: Sequence[str], again: int | None = None) -> str:
    """Say that ids were made, and in which files.

    Args:
        names: of the files.
        again: rows whose text stood before, which have its id; None where they were not counted.

    >>> told_ids(["a.csv", "b.csv", "c.csv"])
    'ids made of the texts in a.csv and 2 other files, which have no column of ids (equal texts share one)'
    >>> told_ids(["a.csv"], 12)
    'ids made of the texts in a.csv, which has no column of ids (equal texts share one: 12 rows repeat a text)'
    """
    others = f" and {count(len(names) - 1, 'other file')}" if names[1:] else ""
    has = "have" if others else "has"
    repeat = f": {count(again, 'row')} {'repeats' if again == 1 else 'repeat'} a text" if again else ""
    shared = "" if again == 0 else f" (equal texts share one{repeat})"
    return f"ids made of the texts in {clipped(names[0], 300)}{others}, which {has} no column of ids{shared}"


def is_plain(path: Path) -> bool:
    """Tell whether a path leads to a file that ends: no folder, pipe, socket or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def require_plain(name: str, path: Path) -> None:
    """Refuse what is there but is no file that ends; reading a pipe or a device might never come back.

    Raises:
        BadData: it is a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever opens it says that it is missing
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BadData(
            f"A file must be one that is stored, got a pipe, a socket or a device ({name}). Write what it gives into "
            "a file first."
        )


def _walk(folder: Path, address: str) -> Iterator[str]:
    """Yield the names of all that is not hidden: files, and links to folders."""

    def refuse(error: OSError) -> None:
        raise BadData(
            f"A folder must be readable, with those in it, got {error.strerror} ({error.filename}). Mend its rights, "
            "or name another."
        ) from error

    found = 0
    for place, folders, files in os.walk(folder, onerror=refuse):
        below = os.path.relpath(place, folder)
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]  # noqa: PTH114, PTH118 - fast
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in _shown([*files, *links]):
            found += 1
            require_few(found, address)
            yield name if below == "." else f"{below}/{name}"


def _shown(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not is_hidden(name))
