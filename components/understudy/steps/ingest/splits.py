"""Which split a group of texts belongs to: asked for by the author, or assigned by a seeded hash; once, and for good.

The store keeps the assignments as numbered segments, each put once: of two runs at once one writes the next number,
and the other reads it and divides again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from understudy.records import Split
from understudy.steps.ingest.config import IngestConfig
from understudy.storage import Store

GUARD: tuple[Split, ...] = ("test", "calibration", "validation", "train")  # the most guarded first


@dataclass(frozen=True, slots=True)
class Group:
    """A group with human labels: what its labels are like, and the split its author asks for."""

    name: str
    is_positive: bool = False
    is_mined: bool = False
    asked: Split | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A group's split, and whether its author, a review queue or the hash decided it."""

    split: Split
    by: Literal["author", "queue", "hash"]


def most_guarded(splits: Iterable[Split]) -> Split:
    """Return the split that a text must stay in when several ask for it.

    >>> most_guarded(["train", "test", "validation"])
    'test'
    """
    return min(splits, key=GUARD.index)


def shares(config: IngestConfig, by_author: Iterable[Split] = ()) -> dict[Split, float]:
    """Return the share of the undecided groups that each split gets; a split that the author fills gets none.

    >>> shares(IngestConfig(), by_author=["test"])
    {'validation': 0.2, 'calibration': 0.2, 'train': 0.6}
    """
    filled = set(by_author)
    wanted: dict[Split, float] = {
        "validation": config.validation_share,
        "calibration": config.calibration_share,
        "test": config.test_share,
    }
    free = {split: share for split, share in wanted.items() if split not in filled}
    if "train" not in filled:
        return {**free, "train": round(1 - sum(free.values()), 9)}
    total = sum(free.values())
    return {split: share / total for split, share in free.items()} or {"train": 1.0}


def assign(groups: Iterable[Group], stored: Mapping[str, Assignment], config: IngestConfig) -> dict[str, Assignment]:
    """Assign the groups that the store does not know yet.

    A group asks for the split of its author; one with an answer from a review queue goes to train; the others are
    shared out in the order of a seeded hash, positive groups apart, so that each split gets its share of both kinds.
    """
    known = {group.name: group for group in groups}
    new = [known[name] for name in sorted(known.keys() - stored.keys())]
    decided = {group.name: Assignment(group.asked, "author") for group in new if group.asked}
    decided |= {group.name: Assignment("train", "queue") for group in new if group.is_mined and not group.asked}
    before = {**stored, **decided}
    wanted = shares(config, (item.split for item in before.values() if item.by == "author"))
    for is_positive in (True, False):
        kind = {name for name, group in known.items() if group.is_positive == is_positive}
        counts = Counter(item.split for name, item in stored.items() if item.by == "hash" and name in kind)
        open_groups = (group.name for group in new if group.name in kind and group.name not in decided)
        decided |= _shared_out(sorted(open_groups, key=lambda name: _hash(config.seed, name)), wanted, counts)
    return decided


def _shared_out(
    names: Iterable[str], wanted: Mapping[Split, float], before: Mapping[Split, int]
) -> dict[str, Assignment]:
    """Give each name in turn to the split that is furthest below its share; the more guarded one of equals."""
    counts = Counter(before)
    order = sorted(wanted, key=GUARD.index)
    decided: dict[str, Assignment] = {}
    for total, name in enumerate(names, start=counts.total() + 1):
        behind = {split: round(wanted[split] * total - counts[split], 9) for split in order}
        split = max(order, key=behind.__getitem__)
        counts[split] += 1
        decided[name] = Assignment(split, "hash")
    return decided


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def read(store: Store, card_name: str) -> tuple[dict[str, Assignment], str]:
    """Read all assignments of a card; with them the key that the next segment takes."""
    keys = store.list(f"splits/{card_name}/")
    lines = (json.loads(line) for key in keys for line in store.read(key).decode().splitlines())
    assignments: dict[str, Assignment] = {}
    for line in lines:
        assignments.setdefault(line["group"], Assignment(cast("Split", line["split"]), line["by"]))
    return assignments, f"splits/{card_name}/{len(keys) + 1:06d}.jsonl"


def put(store: Store, key: str, assignments: Mapping[str, Assignment]) -> bool:
    """Write new assignments as the next segment; False when another run was first."""
    lines = [
        json.dumps({"group": name, "split": item.split, "by": item.by}, sort_keys=True)
        for name, item in sorted(assignments.items())
    ]
    return store.put_if_absent(key, "\n".join([*lines, ""]).encode())
