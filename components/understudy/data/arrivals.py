"""Find what has arrived in a source since the last night, and make the night's manifest of it.

A file is known by its address and tag. Where the tag has changed, the bytes that were consumed are compared by their
hash: when they still stand, only what follows is new, and the last row where it was cut; when they do not, the whole
file is. Parquet cannot be appended to, so a Parquet file of other bytes is new. A file without content has nothing new.
The text's own time plays no part: a late text arrives when its file does.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from understudy.data import sources
from understudy.data.detection import Wanted, inspect
from understudy.data.listing import SHOWN_FILES
from understudy.data.rows import START, File, Place, Reading, Refusal, Row
from understudy.data.sources import Part
from understudy.data.text_files import is_blank
from understudy.data.unpacking import is_turned, turned
from understudy.errors import BadArtifact, BadData, StorageError, together
from understudy.progress import say
from understudy.store.address import parse_address
from understudy.store.folder import FolderStore
from understudy.store.hashing import hash_file
from understudy.store.leftovers import temporary_folder
from understudy.store.manifests import FORMAT, MOST_SHARDS, Consumed, Manifest, Range, TextObject
from understudy.store.s3 import S3Store
from understudy.store.storage import Store, copy, split_uri
from understudy.text.numbers import clipped

REQUIRED = ("id", "text")
COLUMNS = ("id", "group", "time", "text")
WANTED = Wanted(REQUIRED, COLUMNS, makes_ids=True)
CHUNK_BYTES = 1 << 20
BLOCK_ROWS = 1000  # a range ends at a multiple of so many rows, so that the manifest of a billion texts stays small


@dataclass(frozen=True, slots=True)
class Arrived:
    """What is new in one file: how it reads, its new rows in blocks, and how far it is consumed with them."""

    name: str
    about: TextObject
    blocks: tuple[Range, ...]
    consumed: Consumed


@dataclass(frozen=True, slots=True)
class Looked:
    """What is new behind a source, and the names of files there that are passed over."""

    arrived: tuple[Arrived, ...]
    passed_over: tuple[str, ...] = ()


def addresses(address: str) -> list[str]:
    """List the address of every file behind a source, once where links lead to it too.

    Raises:
        BadData: nothing is there.
        BadInput: the bucket is missing, forbidden or not to be reached.
    """
    return _behind(address)[0]


def _behind(address: str) -> tuple[list[str], tuple[str, ...]]:
    """List the addresses of a source's files, and the names of what is passed over beside them."""
    place = parse_address(address, "--texts")
    if not place.is_s3:
        found = sources.listed(address)
        real = (os.path.realpath(path) for _, path in found.files)  # a link that leads to itself is no error here
        return list(dict.fromkeys(real)), found.passed_over
    store = S3Store(place.bucket, "")
    keys, passed_over = sources.keys_under(store, place.key, address)
    return [store.locate(name) for name in keys], passed_over


def look(
    address: str,
    known: Mapping[str, Consumed],
    rows_a_block: int,
    more: Sequence[str] = (),
    called: Mapping[str, str] | None = None,
) -> Looked:
    """Find what is new behind a source; all faulty files are reported together.

    Args:
        address: a file, a folder of files, or `s3://bucket/key-or-prefix`.
        known: how far each file was consumed.
        rows_a_block: most rows of a block.
        more: columns that the files must have beside text and id; a file without ids gets them from its texts.
        called: what the files call their columns, where it is another name.

    Raises:
        BadData: nothing is there, or a file is unreadable or lacks a column.
    """
    wanted = Wanted((*REQUIRED, *more), COLUMNS, called=called or {}, makes_ids=True)
    found, passed_over = _behind(address)
    looked = together(*[lambda name=name: look_at(name, known.get(name), rows_a_block, wanted) for name in found])
    return Looked(tuple(arrived for arrived in looked if arrived is not None), passed_over)


def look_at(name: str, before: Consumed | None, rows_a_block: int, wanted: Wanted = WANTED) -> Arrived | None:
    """Find what is new in one file; None when it is as it was, or without content.

    Raises:
        BadData: it is missing or unreadable, or lacks a column.
    """
    try:
        return _looked_at(name, before, rows_a_block, wanted)
    except OSError as error:
        raise BadData(
            f"A source of texts must be readable, got {error.strerror or error} ({name}). Mend it or its rights."
        ) from error


def _looked_at(name: str, before: Consumed | None, rows_a_block: int, wanted: Wanted) -> Arrived | None:
    tag = require_tag(name)
    if before is not None and before.tag == tag:
        return None
    with copied(name) as path:
        if is_blank(path):
            say(f"A file of the source is empty: {name}")
            return None
        file = inspect(name, path, wanted)
        start = _start(file, before)
        parts = list(sources.parts(file, start, rows_a_block))
        blocks = tuple(_blocks(name, start, parts))
        consumed = _consumed(file, tag, parts, before if start != START else None)
    about = TextObject(
        tag=tag,
        kind=file.kind,
        encoding=file.encoding,
        delimiter=file.delimiter,
        columns=file.columns,
        called=file.called,
    )
    return Arrived(name, about, blocks, consumed)


def deal(blocks: Sequence[Range], texts_per_shard: int) -> tuple[tuple[Range, ...], ...]:
    """Deal blocks to as few shards as hold them, in order, and join what adjoins; at least one shard, at most 64.

    >>> blocks = [Range(object="a", first_row=row, rows=10) for row in (1, 11, 21)]
    >>> [[(part.first_row, part.rows) for part in shard] for shard in deal(blocks, texts_per_shard=20)]
    [[(1, 20)], [(21, 10)]]
    """
    total = sum(block.rows for block in blocks)
    count = min(MOST_SHARDS, max(1, math.ceil(total / texts_per_shard)))
    size = max(1, math.ceil(total / count))
    shards: list[list[Range]] = [[] for _ in range(count)]
    before = 0
    for block in blocks:
        _append(shards[min(count - 1, before // size)], block)
        before += block.rows
    return tuple(tuple(shard) for shard in shards if shard) or ((),)


def read_range(
    part: Range, about: TextObject, consumed: Consumed, max_chars: int, more: Sequence[str] = ()
) -> Iterator[Row | Refusal]:
    """Read the rows of a range as they were when the night was begun; `more` are columns beside the usual ones.

    Raises:
        BadData: the file has changed since in what was consumed of it.
    """
    is_text = about.kind != "parquet"
    is_longer = _is_longer(part.object, about, consumed)
    with copied(part.object, part if is_text else None, is_local_too=is_longer and is_text) as path:
        is_copy = str(path) != part.object and not is_turned(part.object)
        if is_copy and not is_text:
            _require_whole(path, part.object, consumed)
        offset = 0 if is_copy and is_text else part.offset
        columns = tuple(dict.fromkeys([*COLUMNS, *more]))
        file = File(part.object, path, about.kind, about.encoding, about.delimiter, about.columns, about.called)
        reading = Reading(max_chars, makes_ids=True)
        rows = sources.rows_from(file, Place(part.first_row - 1, offset), columns, REQUIRED, reading)
        yield from _counted(islice(rows, part.rows), part)


def _counted(rows: Iterator[Row | Refusal], part: Range) -> Iterator[Row | Refusal]:
    """Hand rows on; fewer than the night's manifest names are an error, for the others would be lost for good."""
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - what it was last is what is checked
        yield row
    if count != part.rows:
        raise StorageError(
            f"A source of texts must give the {part.rows:,} rows that the night's manifest names, got {count:,} "
            f"({part.object} from row {part.first_row:,}). Run it again; restore the file if it stays so."
        )


def _require_whole(path: Path, name: str, consumed: Consumed) -> None:
    """Check the copy of a file that is read whole against what the manifest says of it."""
    size, digest = path.stat().st_size, hash_file(path)
    if (size, digest) != (consumed.size, consumed.sha256):
        raise StorageError(
            f"A source of texts must be the {consumed.size:,} bytes that the night's manifest names, got {size:,} of "
            f"hash {digest[:12]} ({name}). Run it again; restore the file if it stays so."
        )


def require_under(names: Iterable[str], source: str, where: str) -> None:
    """Check that the objects of a night lie under the source that whoever runs it has named.

    The manifest comes out of the store, so it cannot vouch for itself: whoever can write it could name any file of this
    machine, or any bucket that its keys open.

    Args:
        names: addresses of the objects.
        source: the address that the runner gives, with the date filled in.
        where: the manifest's address, for the message.

    Raises:
        BadArtifact: one lies elsewhere.
    """
    is_under = _under_s3 if source.startswith("s3://") else _under_folder
    strange = sorted(name for name in set(names) if not is_under(name, source))
    if strange and not source.startswith("s3://"):
        strange = sorted({*strange} - {*addresses(source)})  # a link in the source itself may lead out of it
    if strange:
        raise BadArtifact(
            f"The texts of a night must lie under the source that it is run on, got '{strange[0][:200]}' where the "
            f"source is '{source}' ({where}). Name the source that the night was begun on, or restore the manifest."
        )


def _under_s3(name: str, source: str) -> bool:
    """Whether an object is the source, or below it as a folder: `texts-other/` is not below `texts`."""
    root = source.rstrip("/")
    parts = name.removeprefix(f"{root}/").split("/")
    return name == root or (name.startswith(f"{root}/") and _are_data([part for part in parts if part]))


def _under_folder(name: str, source: str) -> bool:
    """Whether a file is the source, or data below it, no link followed on the way."""
    path, root = Path(name), sources.local_path(source).resolve()
    if "\0" in name or not path.is_absolute() or path.resolve() != path:
        return False
    return path == root or (path.is_relative_to(root) and _are_data(path.relative_to(root).parts))


def _are_data(parts: Sequence[str]) -> bool:
    """Whether a path below a source may name data: no part is hidden, empty or leads upwards."""
    return all(part and not part.startswith((".", "_")) for part in parts)


def require_tag(name: str) -> str:
    """Return the tag of a file.

    Raises:
        BadData: it is not there.
    """
    store, key = origin(name)
    tag = store.tag_of(key)
    if tag is None:
        raise BadData(f"A source of texts must be there, got nothing at {name}. Restore it, or mend the address.")
    return tag


def origin(name: str) -> tuple[Store, str]:
    """Return the store and key of a file's address."""
    return split_uri(name)


@contextmanager
def copied(name: str, part: Range | None = None, *, is_local_too: bool = False) -> Iterator[Path]:
    """Give a file's path: its own when it is local, else that of a copy, of one part where one is named.

    What is packed, or no file of rows, is read through a copy of all that it holds.

    Args:
        name: the file's address.
        part: what is wanted of it; None for all.
        is_local_too: copy a part of a local file as well, which has grown beyond it.
    """
    store, key = origin(name)
    if is_turned(name):
        with temporary_folder() as folder:
            if isinstance(store, FolderStore):
                yield turned(name, store.root / key, folder)
            else:
                copy(store, key, folder / "given")
                yield turned(name, folder / "given", folder)
        return
    if isinstance(store, FolderStore) and not is_local_too:
        yield store.root / key
        return
    with temporary_folder() as folder:
        path = folder / f"copy{sources.suffix_of(key)}"
        copy(store, key, path, part.offset if part else 0, part.size if part else None)
        yield path


def _chunks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Read at most `size` bytes."""
    while size > 0 and (chunk := stream.read(min(size, CHUNK_BYTES))):
        size -= len(chunk)
        yield chunk


def _digest(stream: BinaryIO, size: int) -> Any:
    digest = hashlib.sha256()
    for chunk in _chunks(stream, size):
        digest.update(chunk)
    return digest


def _start(file: File, before: Consumed | None) -> Place:
    """Return where the new rows begin: after the consumed ones where they still stand, else at the start."""
    if before is None or not before.sha256 or not _still_stands(file, before):
        return START
    if file.kind == "parquet":
        return Place(before.last_row)
    again = Place(before.again_row, before.again_offset)
    if before.is_unclosed and not sources.is_unclosed_at(file, again):
        return again
    if before.is_whole_line:
        return Place(before.last_row, before.size)
    with file.path.open("rb") as stream:
        stream.seek(before.size)
        following = stream.read(len(_encoded(file, "\n")))
    if following in {b"", _encoded(file, "\n"), _encoded(file, "\r")}:
        return Place(before.last_row - 1, before.size)  # what ends the last line counts as a blank row
    return again


def _still_stands(file: File, before: Consumed) -> bool:
    """Whether a file begins with the bytes that were consumed; in Parquet they must be all of it."""
    size = file.path.stat().st_size
    if size < before.size or (file.kind == "parquet" and size > before.size):
        return False
    with file.path.open("rb") as stream:
        return bool(_digest(stream, before.size).hexdigest() == before.sha256)


def _encoded(file: File, sign: str) -> bytes:
    return sign.encode(file.encoding)


def _blocks(name: str, start: Place, parts: Sequence[Part]) -> Iterator[Range]:
    for part in parts:
        size = part.end.offset - start.offset
        yield Range(object=name, first_row=start.row + 1, rows=part.rows, offset=start.offset, size=size)
        start = part.end


def _consumed(file: File, tag: str, parts: Sequence[Part], before: Consumed | None) -> Consumed:
    """Say how far a file is consumed; `before` is what still stands of it, None when it is read from its start."""
    if not parts:
        return (
            replace(before, tag=tag)
            if before
            else Consumed(tag=tag, rows=0, size=0, sha256="", last_row=0, is_whole_line=False)
        )
    end, size = parts[-1].end, parts[-1].end.offset or file.path.stat().st_size
    unclosed = next((part.unclosed for part in parts if part.unclosed), None)
    again = unclosed or parts[-1].last
    line_end = _encoded(file, "\n")
    with file.path.open("rb") as stream:
        digest = _digest(stream, size).hexdigest()
        stream.seek(max(0, size - len(line_end)))
        is_whole_line = stream.read(len(line_end)) == line_end
    return Consumed(
        tag=tag,
        rows=sum(part.rows for part in parts) + (before.rows if before else 0),
        size=size,
        sha256=digest,
        last_row=end.row,
        is_whole_line=is_whole_line,
        again_row=again.row,
        again_offset=again.offset,
        is_unclosed=unclosed is not None,
    )


def _append(shard: list[Range], block: Range) -> None:
    """Add a block to a shard, joined to the last one where it follows it."""
    last = shard[-1] if shard else None
    is_next = last is not None and last.object == block.object and last.offset + last.size == block.offset
    if last is None or not is_next:
        shard.append(block)
    else:
        shard[-1] = replace(last, rows=last.rows + block.rows, size=last.size + block.size)


def _is_longer(name: str, about: TextObject, consumed: Consumed) -> bool:
    """Check that what a night took of a file still stands, and tell whether the file was written to since."""
    if require_tag(name) == about.tag:
        return False
    if consumed.sha256:
        with _content(name) as stream:
            is_same = _digest(stream, consumed.size).hexdigest() == consumed.sha256
            if is_same and (about.kind != "parquet" or not stream.read(1)):
                return True
    raise BadData(
        f"A source of texts must stay as it is until its night is over, got another content ({name}). "
        "Restore it as it was, or begin another night."
    )


@contextmanager
def _content(name: str) -> Iterator[BinaryIO]:
    """Open what is read of a file."""
    if is_turned(name):
        with copied(name) as path, path.open("rb") as stream:
            yield stream
        return
    store, key = origin(name)
    with store.open(key) as stream:
        yield stream


def block_rows(texts_per_shard: int) -> int:
    """Most rows of a block: small beside a shard, so that shards come out alike.

    >>> block_rows(20_000), block_rows(10)
    (1000, 1)
    """
    return max(1, min(BLOCK_ROWS, texts_per_shard // 10))


def next_manifest(newest: Manifest | None, looked: Looked, texts_per_shard: int, about: Mapping[str, Any]) -> Manifest:
    """Make the manifest that follows the newest one.

    Args:
        newest: of all nights; None for the first.
        looked: what is new in the source, and what is passed over there.
        texts_per_shard: see `ShardConfig`.
        about: the manifest's fields that say when, whence and by which bundle.
    """
    arrived = looked.arrived
    blocks = [block for one in arrived for block in one.blocks]
    known: dict[str, Consumed] = dict(newest.watermark) if newest else {}
    return Manifest(
        format=FORMAT,
        number=newest.number + 1 if newest else 1,
        texts=sum(block.rows for block in blocks),
        objects={one.name: one.about for one in arrived if one.blocks},
        shards=deal(blocks, texts_per_shard),
        watermark=known | {one.name: one.consumed for one in arrived},
        passed_over=len(looked.passed_over),
        passed_over_names=tuple(map(clipped, looked.passed_over[:SHOWN_FILES])),
        **about,
    )
