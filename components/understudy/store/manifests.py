"""Read and freeze a night's manifest: which texts it labels, by which bundle, in how many shards.

    manifests/order/<number>.json            every manifest, in the order in which the nights were begun
    manifests/date=<night>/manifest.json     the same bytes, by night
    manifests/date=<night>/<shard>.json      limits of the shard's segments, from its first worker on

Putting the next number is the one moment at which a night takes its texts: two runs cannot take the same ones, and one
that is killed before its night has its own key is completed by whoever comes next. What was consumed is a part of the
manifest, so there is no second pointer that could go wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from understudy.errors import BadInput
from understudy.store import codecs, layout
from understudy.store.names import CardName, Day, Version
from understudy.store.storage import Beaten, Store, contend

FORMAT = 1
DATE = "{date}"
ORDER = layout.ORDER.prefix()
MOST_SHARDS = 64  # KFP's loop breaks etcd's limit on an object's size from some thousands on
MOST_COLUMNS = 10_000  # of a source
Address = Annotated[str, Field(min_length=1, max_length=5120)]  # of a file or object; S3 and Linux end before
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextObject:
    """One file or object of texts, as it was when the night was begun, and how it reads.

    Attributes:
        tag: changes when the content does: size and time of a file, ETag of an object.
        kind: "csv", "jsonl" or "parquet".
        encoding: of CSV and JSONL.
        delimiter: of CSV.
        columns: names, in the file's order.
        called: what it calls our columns, where it is another name.
    """

    tag: str
    kind: Annotated[str, Field(pattern=r"^(csv|jsonl|parquet)$")]
    encoding: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,40}$")]
    delimiter: Annotated[str, Field(max_length=1)]
    columns: Annotated[tuple[str, ...], Field(max_length=MOST_COLUMNS)]
    called: Annotated[Mapping[str, str], Field(max_length=MOST_COLUMNS)] = field(default_factory=dict)

    def has(self, column: str) -> bool:
        """Tell whether it has one of our columns."""
        return self.called.get(column, column) in self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Some rows of one object.

    Attributes:
        object: its address.
        first_row: number of the first row, as a spreadsheet counts (the header of a CSV too).
        rows: how many, refused ones too, blank lines and headers not.
        offset: byte at which they begin; 0 in Parquet, which is cut by rows.
        size: bytes they take; 0 in Parquet.
    """

    object: Address
    first_row: Count
    rows: Count
    offset: Count = 0
    size: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """How far one object was read, by this night and those before it.

    Attributes:
        tag: of the object then.
        rows: how many it held.
        size: bytes read.
        sha256: of these bytes: what was appended to, or only touched, is known by it; empty for a file without rows.
        last_row: number of its last row.
        is_whole_line: its last byte ended a line.
        again_row: number of the row before the one that is read again when the file goes on and that row was not whole:
            the last one, or the first whose quotes were open at the end.
        again_offset: byte after that row.
        is_unclosed: quotes were open at the end.
    """

    tag: str
    rows: Count
    size: Count
    sha256: Sha256
    last_row: Count
    is_whole_line: bool
    again_row: Count = 0
    again_offset: Count = 0
    is_unclosed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One night.

    Attributes:
        format: of this record.
        number: the night's place in the order of arrival, from 1.
        date: YYYY-MM-DD.
        created: when, UTC.
        source: the address that the texts came from.
        card: name of the task card.
        bundle: version that labels the whole night.
        generation: of current.json when the bundle was pinned.
        labels: names, in the bundle's order.
        positive_label: the label that is looked for; None where there is none.
        texts: rows in all shards.
        objects: what the ranges point into, by address.
        shards: ranges of each worker; at least one worker, which may have none.
        watermark: all that was consumed up to and including this night, by address.
        passed_over: how many files of the source were not read, since their names do not say how.
        passed_over_names: of the first of them.
        labels_per_text: "many" where a text may have several labels, or none.
    """

    format: int
    number: Annotated[int, Field(ge=1, le=99_999_999)]
    date: Day
    created: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
    source: Address
    card: CardName
    bundle: Version
    generation: Count
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    positive_label: str | None
    texts: Count
    objects: Mapping[Address, TextObject]
    shards: Annotated[tuple[tuple[Range, ...], ...], Field(min_length=1, max_length=MOST_SHARDS)]
    watermark: Mapping[Address, Consumed]
    passed_over: Count = 0
    passed_over_names: tuple[str, ...] = ()
    labels_per_text: Literal["one", "many"] = "one"

    @property
    def is_many(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.labels_per_text == "many"

    @property
    def shard_names(self) -> list[str]:
        """Names that the workers are given: "<date>/<two digits>"."""
        return [f"{self.date}/{index:02d}" for index in range(len(self.shards))]


def source_on(source: str, night: str) -> str:
    """Fill a night into the address of its texts.

    >>> source_on("s3://bucket/{date}", "2026-11-01")
    's3://bucket/2026-11-01'
    """
    return source.replace(DATE, night)


def manifest_key(night: str) -> str:
    """Key of a night's manifest."""
    return layout.MANIFESTS.key(day=night)


def prediction_key(manifest: Manifest, shard: int, segment: int) -> str:
    """Key of one segment of predictions."""
    return layout.SEGMENTS.key(day=manifest.date, version=manifest.bundle, shard=shard, segment=segment)


def refusal_key(manifest: Manifest, shard: int, segment: int) -> str:
    """Key of one segment of refused rows; there is none when nothing was refused."""
    return layout.REFUSALS.key(day=manifest.date, version=manifest.bundle, shard=shard, segment=segment)


def shard_key(manifest: Manifest, shard: int) -> str:
    """Key of the record that is put when a shard is complete."""
    return layout.SHARD_RECORDS.key(day=manifest.date, version=manifest.bundle, shard=shard)


def limits_key(manifest: Manifest, shard: int) -> str:
    """Key of the limits by which a shard is cut into segments, as its first worker was given them."""
    return layout.LIMITS.key(day=manifest.date, shard=shard)


def scored_key(manifest: Manifest, shard: int) -> str:
    """Key of what one shard scored, by content hash: a cache, by which no text is scored twice."""
    return layout.SCORED.key(version=manifest.bundle, day=manifest.date, shard=shard)


def find_manifest(store: Store, night: str) -> Manifest | None:
    """Read a night's manifest; None when the night was not begun."""
    found = store.read_tagged(manifest_key(night))
    return None if found is None else _of_night(parse(found.data, store.locate(manifest_key(night))), night, store)


def read_manifest(store: Store, night: str) -> Manifest:
    """Read a night's manifest.

    Raises:
        BadInput: the night was not begun.
    """
    found = find_manifest(store, night)
    if found is None:
        raise BadInput(
            f"A night must have a manifest, got none ({store.locate(manifest_key(night))}). Run the step shard first."
        )
    return found


def newest_manifest(store: Store) -> Manifest | None:
    """Read the manifest that was begun last, whatever its date; None when there is none."""
    keys = store.list(ORDER)
    return parse(store.read(keys[-1]), store.locate(keys[-1])) if keys else None


def freeze(store: Store, night: str, make: Callable[[Manifest | None], Manifest]) -> Manifest:
    """Return a night's manifest: the one that stands, or the one that `make` makes after the newest of all nights.

    Raises:
        Conflict: other nights took the next place again and again.
    """

    def write() -> Manifest:
        newest = newest_manifest(store)
        if newest is not None:
            store.put_if_absent(manifest_key(newest.date), as_bytes(newest))
        if (standing := find_manifest(store, night)) is not None:
            return standing
        made = make(newest)
        if not store.put_if_absent(layout.ORDER.key(number=made.number), as_bytes(made)):
            raise Beaten
        store.put_if_absent(manifest_key(night), as_bytes(made))
        return made

    return contend(write, "A night's place in the order", store.locate(ORDER))


def as_bytes(manifest: Manifest) -> bytes:
    """Write a manifest; how many labels a text may have, and what columns are called, where these are not as usual."""
    said = asdict(manifest)
    for about in said["objects"].values():
        if not about["called"]:
            del about["called"]
    if not manifest.is_many:
        del said["labels_per_text"]
    return codecs.as_lines([said])


def parse(data: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        BadArtifact: it is damaged or of another format.
    """
    manifest = codecs.read_as(Manifest, data, where, codecs.MOST_NIGHT_BYTES)
    if manifest.format != FORMAT:
        raise codecs.unreadable(f"a night's manifest of format {FORMAT}", str(manifest.format), where)
    if manifest.positive_label not in {None, *manifest.labels}:
        raise codecs.unreadable("a manifest whose positive label is one of its labels", "another", where)
    ranges = [part for shard in manifest.shards for part in shard]
    if any(part.object not in manifest.objects or part.object not in manifest.watermark for part in ranges):
        raise codecs.unreadable("a manifest that says how each of its objects reads", "a range of another", where)
    return manifest


def _of_night(manifest: Manifest, night: str, store: Store) -> Manifest:
    if manifest.date != night:
        where = store.locate(manifest_key(night))
        raise codecs.unreadable(f"the manifest of {night}", f"that of {manifest.date}", where)
    return manifest
