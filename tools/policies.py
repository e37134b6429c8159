"""Write policies for S3 that give each step what it needs of the store and no more.

python -m tools.policies --store s3://bucket/prefix [--source s3://bucket/texts]... --out DIR

The table says it once: docs/deploy.md shows it, `make manifests` writes the policies of overlays/production, and a
test runs steps under them on a real server. A key that ends in "/" stands for all that lies below it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from understudy.errors import BadInput, UnderstudyError
from understudy.runners.terminal import tell
from understudy.store import codecs, layout, runs
from understudy.store.address import Address, parse_address

EVERYONE = (layout.RUNS.key(run="*", name=runs.FAULT),)  # what only a person can mend is told there by every step
MARKER = layout.MARKER.folder  # by which a step proves that it can write
BATCHES = layout.TEACHER_BATCHES.folder
TEACHER = (layout.JUDGEMENTS.folder, layout.TEACHER_LEASES.prefix(), BATCHES)  # answers, and who may buy or has ordered
MERGED = (layout.JUDGEMENTS.folder, BATCHES)  # small segments that stand in a larger one; batches that are over
STORE_ID = layout.STORE_ID.key()


@dataclass(frozen=True, slots=True)
class Access:
    """What a step does with the store.

    Attributes:
        reads: keys that it reads and lists.
        writes: keys that it writes.
        deletes: keys that it removes.
        has_sources: whether it reads texts, labels or answers where they lie.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    has_sources: bool = False


NIGHT = layout.folders(layout.MANIFESTS, layout.SEGMENTS, layout.CURRENT, layout.BUNDLES, layout.TOMBSTONES)
RETAINED = layout.folders(*(family for family in layout.FAMILIES if isinstance(family.retention, str)))
LABELS, SAMPLES, QUEUES = layout.LABELS.folder, layout.SAMPLE_TABLES.folder, layout.QUEUE_TABLES.folder
CARDS, SPLITS, WATCH = layout.CARDS.folder, layout.SPLITS.folder, layout.WATCH_SERIES.folder
MANIFESTS, PREDICTIONS, CHECKPOINTS = layout.MANIFESTS.folder, layout.SEGMENTS.folder, layout.CHECKPOINTS.folder
REFUSALS, SCORED, TEST_SETS = layout.REFUSALS.folder, layout.SCORED.folder, layout.TEST_SETS.folder
INDEXED, DEAD_LETTERS, RUNS = layout.INDEXED.folder, layout.DEAD_LETTERS.folder, layout.RUNS.folder
FORGOTTEN, CURRENT, HISTORY = layout.TOMBSTONES.folder, layout.CURRENT.folder, layout.HISTORY.folder
CYCLES = layout.CYCLES.folder
PUBLISHED = (layout.BUNDLES.folder, CURRENT, HISTORY)
TABLE: Mapping[str, Access] = {
    "ingest": Access(
        reads=(MARKER, CARDS, SPLITS, LABELS, QUEUES, SAMPLES, FORGOTTEN, CURRENT, HISTORY),
        writes=(MARKER, CARDS, SPLITS, LABELS),
        has_sources=True,
    ),
    "label": Access(reads=(MARKER, *TEACHER, FORGOTTEN, LABELS), writes=(MARKER, *TEACHER), deletes=MERGED),
    "audit": Access(),
    "revise": Access(reads=(MARKER, *TEACHER, FORGOTTEN), writes=(MARKER, *TEACHER), deletes=MERGED),
    "train": Access(reads=(MARKER, CHECKPOINTS), writes=(MARKER, CHECKPOINTS), deletes=(CHECKPOINTS,)),
    "export": Access(),
    "calibrate": Access(),
    "evaluate": Access(
        reads=(MARKER, CURRENT, layout.BUNDLES.folder),
        writes=(layout.RUNS.key(run="*", name=runs.DECISION),),
    ),
    "publish": Access(
        reads=(MARKER, *PUBLISHED),
        writes=(MARKER, *PUBLISHED),
    ),
    "mine": Access(
        reads=(MARKER, *TEACHER, QUEUES, FORGOTTEN, LABELS, CYCLES, SPLITS, SAMPLES, TEST_SETS),
        writes=(MARKER, *TEACHER, QUEUES, CYCLES),
        deletes=MERGED,
    ),
    "shard": Access(
        reads=(MARKER, MANIFESTS, CURRENT, layout.BUNDLES.folder, CARDS),
        writes=(MARKER, MANIFESTS),
        has_sources=True,
    ),
    "infer": Access(
        reads=(MARKER, *NIGHT, REFUSALS, SCORED),
        writes=(MARKER, MANIFESTS, PREDICTIONS, REFUSALS, SCORED),
        has_sources=True,
    ),
    "index": Access(
        reads=(MARKER, *NIGHT, *(key for key in RETAINED if key not in NIGHT), CARDS, STORE_ID),
        writes=(MARKER, INDEXED, DEAD_LETTERS, STORE_ID),
        deletes=RETAINED,
    ),
    "watch": Access(
        reads=(MARKER, *NIGHT, REFUSALS, WATCH, SAMPLES, LABELS, TEST_SETS, HISTORY),
        writes=(MARKER, WATCH, TEST_SETS),
    ),
    "sample": Access(
        reads=(MARKER, *NIGHT, *TEACHER, SAMPLES, LABELS, QUEUES, CARDS, TEST_SETS),
        writes=(MARKER, *TEACHER, SAMPLES, LABELS),
        deletes=MERGED,
        has_sources=True,
    ),
    "submit": Access(
        reads=(MARKER, CARDS, RUNS, CURRENT, HISTORY, layout.RETRAIN.prefix(), LABELS, layout.ORDER.prefix()),
        writes=(MARKER, CARDS, RUNS),
        has_sources=True,
    ),
}


def policy_of(step: str, store: Address, sources: Sequence[Address], principal: str = "") -> dict[str, Any]:
    """Return a step's policy as S3 reads it.

    Args:
        step: of `TABLE`.
        store: where the store is.
        sources: where texts, labels and answers lie.
        principal: who it is for, in a bucket's policy; empty for a policy that is attached to a user or role.
    """
    access = TABLE[step]
    statements = [*_of_store(access, store)]
    if access.has_sources:
        for source in sources:
            statements += _reading(source, [source.key, f"{source.key}/"] if source.key else [""])
    who = {"Principal": {"AWS": [principal]}} if principal else {}
    named = [{"Sid": f"{step}{number}", **who, **statement} for number, statement in enumerate(statements, 1)]
    return {"Version": "2012-10-17", "Statement": named}


def _of_store(access: Access, store: Address) -> Iterator[dict[str, Any]]:
    root = f"{store.key}/" if store.key else ""
    yield from _reading(store, [root + key for key in access.reads])
    for action, keys in (("s3:PutObject", access.writes + EVERYONE), ("s3:DeleteObject", access.deletes)):
        if keys:
            yield {
                "Effect": "Allow",
                "Action": [action],
                "Resource": _objects(store.bucket, [root + key for key in keys]),
            }


def _reading(place: Address, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Let keys be read and listed. Without the right to list, S3 calls a missing object forbidden."""
    if not keys:
        return
    prefixes = sorted({f"{key}*" for key in keys})
    within = {"Condition": {"StringLike": {"s3:prefix": prefixes}}} if "" not in keys else {}
    yield {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": _objects(place.bucket, keys)}
    yield {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{place.bucket}"],
        **within,
    }


def _objects(bucket: str, keys: Sequence[str]) -> list[str]:
    return [f"arn:aws:s3:::{bucket}/{key}{'*' if key.endswith('/') or not key else ''}" for key in keys]


def bucket_policy(store: Address, principals: Mapping[str, str], sources: Sequence[Address] = ()) -> dict[str, Any]:
    """Return one policy for a bucket, with the statements of every step for its own principal."""
    whole = [policy_of(step, store, sources, principal)["Statement"] for step, principal in principals.items()]
    return {"Version": "2012-10-17", "Statement": [statement for statements in whole for statement in statements]}


def policies(store_uri: str, sources: Sequence[str]) -> dict[str, str]:
    """Return the file of every step's policy by its name.

    Raises:
        BadInput: an address is not on S3.
    """
    store, *others = (_on_s3(uri) for uri in (store_uri, *sources))
    return {f"{step}.json": codecs.as_json(policy_of(step, store, others), is_sorted=False).decode() for step in TABLE}


def _on_s3(uri: str) -> Address:
    place = parse_address(uri.partition("{date}")[0], "--store, --source")
    if not place.is_s3:
        raise BadInput(
            f"A policy must be for an address on S3, got '{uri}' (--store, --source). Write s3://bucket/prefix."
        )
    return place


def lines() -> Iterator[str]:
    """Write the table as docs/deploy.md shows it."""
    yield "| step | reads and lists | writes | deletes |"
    yield "|---|---|---|---|"
    for step, access in TABLE.items():
        reads = (*access.reads, *(("its sources",) if access.has_sources else ()))
        cells = (
            ", ".join(f"`{key}`" if key != "its sources" else key for key in keys) for keys in (reads, access.writes)
        )
        yield f"| {step} | {' | '.join(cells)} | {', '.join(f'`{key}`' for key in access.deletes)} |"


@click.command()
@click.option("--store", required=True, help="The store: s3://bucket/prefix.")
@click.option("--source", "sources", multiple=True, help="Where texts, labels or answers lie; may be given again.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the policies.")
def main(store: str, sources: tuple[str, ...], out: Path) -> None:
    """Write a policy for every step to OUT/<step>.json."""
    try:
        files = policies(store, sources)
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_text(content, encoding="utf-8")
        click.echo(out / name)


if __name__ == "__main__":
    main()
