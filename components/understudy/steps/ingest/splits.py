"""Assign each group of texts to a split, by its author or a seeded hash; once, and for good.

The store keeps the assignments as numbered segments, each put once: of two runs at once one writes the next number,
and the other reads it and divides again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from understudy.stats.draw import lot
from understudy.steps.ingest.config import IngestConfig
from understudy.store import codecs
from understudy.store import splits as stored
from understudy.store.splits import By
from understudy.store.storage import Store
from understudy.store.tables import Split
from understudy.text.numbers import count, few, listed

LAST = 1_000_000  # place of groups that hold no label of people's
MOST_GUARDED_FIRST: tuple[Split, ...] = ("test", "calibration", "validation", "train")


@dataclass(frozen=True, slots=True)
class Group:
    """A group with human labels.

    Attributes:
        name: the group's id.
        texts: how many of its texts have a label.
        kind: place of the scarcest label that it holds, among the labels by scarcity; None where people gave none.
        of_kind: how many of its texts have that label.
        is_mined: whether any label is an answer to a review queue.
        asked: the split that its author asks for.
    """

    name: str
    texts: int = 1
    kind: int | None = None
    of_kind: int = 0
    is_mined: bool = False
    asked: Split | None = None

    @property
    def weight(self) -> int:
        """What the group adds to its split: texts of its scarcest label, for the others are easily had."""
        return self.of_kind or self.texts


@dataclass(frozen=True, slots=True)
class Assignment:
    """A group's split, and what decided it: its author, a queue, the hash, or the hash within an author's split."""

    split: Split
    by: By


def most_guarded(splits: Iterable[Split]) -> Split:
    """Return the split that a text must stay in when several ask for it.

    >>> most_guarded(["train", "test", "validation"])
    'test'
    """
    return min(splits, key=MOST_GUARDED_FIRST.index)


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


def assign(
    groups: Iterable[Group], stored: Mapping[str, Assignment], config: IngestConfig, *, is_first_apart: bool = True
) -> dict[str, Assignment]:
    """Assign the groups that the store does not know yet.

    A group goes where its author asks; one with an answer to a review queue goes to train; the others are shared out,
    those with the same scarcest label apart, so that each split gets its share of each label. Labels that fewer groups
    hold than there are splits are shared out together. What one kind leaves over or short, the next makes up.

    Args:
        groups: with human labels.
        stored: assignments that stand.
        config: shares and seed.
        is_first_apart: the scarcest label is the one that is looked for, and is shared out by itself.
    """
    known = {group.name: group for group in groups}
    new = [known[name] for name in sorted(known.keys() - stored.keys())]
    divided = shared_split(new, stored)
    decided = {group.name: Assignment(group.asked, "author") for group in new if group.asked not in {None, divided}}
    decided |= {group.name: Assignment("train", "queue") for group in new if group.is_mined and not group.asked}
    authors = [item.split for item in [*stored.values(), *decided.values()] if item.by == "author"]
    wanted = shares(config, [*authors, "train"] if divided == "validation" else authors)
    over: dict[Split, float] = {}
    for place, kind in enumerate(_kinds(known.values(), is_first_apart=is_first_apart)):
        before = {group: stored[group.name].split for group in kind if _is_hashed(stored.get(group.name))}
        open_groups = [group for group in kind if group.name not in stored and group.name not in decided]
        open_groups.sort(key=lambda group: lot(config.seed, group.name))
        found, left = _shared_out(open_groups, wanted, before, over)
        decided |= found
        over = {} if place == 0 and is_first_apart else left
    shared = {group.name for group in new if group.asked and group.asked == divided}
    return {name: replace(item, by="shared") if name in shared else item for name, item in decided.items()}


def shared_split(new: Sequence[Group], stored: Mapping[str, Assignment]) -> Split | None:
    """Return the author's split from which those are filled that stand in no row: of train, test and dev, train.

    None where the author fills all of them, or leaves rows blank, which then fill the rest. The test split is never it.

    >>> shared_split([Group("a", asked="train"), Group("b", asked="test"), Group("c", asked="validation")], {})
    'train'
    >>> shared_split([Group("a", asked="train"), Group("b", asked="test"), Group("c")], {})
    """
    filled = {*(group.asked for group in new), *(item.split for item in stored.values())}
    asked = {group.asked for group in new}
    if None in asked or filled >= {"test", "calibration", "validation"}:
        return None
    givers: tuple[Split, ...] = ("train", "validation")
    return next((split for split in givers if split in asked), None)


def told_shared(assigned: Mapping[str, Assignment]) -> str:
    """Say which splits were taken out of one that the author fills; "" where none was.

    >>> told_shared({"a": Assignment("calibration", "shared"), "b": Assignment("train", "shared")})
    'the splits of the file leave calibration empty: 1 of the 2 groups that it has in train is there'
    """
    counts = Counter(item.split for item in assigned.values() if item.by == "shared")
    giver = "train" if counts["train"] else "validation"
    rest = {split: number for split, number in counts.items() if split != giver}
    if not rest:
        return ""
    taken = sum(rest.values())
    names = listed([split for split in reversed(MOST_GUARDED_FIRST) if split in rest])
    groups = f"{taken:,} of the {count(counts.total(), 'group')} that it has in {giver}"
    return f"the splits of the file leave {names} empty: {groups} {'is' if taken == 1 else 'are'} there"


def told_open(assigned: Mapping[str, Assignment]) -> str:
    """Say where the groups of rows without a split went, beside those for which the file names one; "" without either.

    >>> told_open({"a": Assignment("train", "author"), "b": Assignment("test", "hash")})
    '1 group without a split in the file is shared out: test 1'
    """
    counts = Counter(item.split for item in assigned.values() if item.by == "hash")
    if not counts or all(item.by != "author" for item in assigned.values()):
        return ""
    names = ", ".join(f"{split} {counts[split]:,}" for split in reversed(MOST_GUARDED_FIRST) if counts[split])
    are = "is" if counts.total() == 1 else "are"
    return f"{count(counts.total(), 'group')} without a split in the file {are} shared out: {names}"


def told_files(splits: Mapping[str, Split], gave_way: int = 0) -> str:
    """Say that files without a column of splits have those of their names; "" where none have.

    Args:
        splits: by file.
        gave_way: labels whose group was in another split before, and stays there.

    >>> told_files({"d/train.csv": "train", "d/dev.csv": "validation"})
    "splits by the names of the files: 'train.csv (train)', 'dev.csv (validation)'"
    >>> told_files({"train.csv": "train", "test.csv": "test"}, 2)
    "splits by the names of the files: 'train.csv (train)', 'test.csv (test)' (2 labels stay in their earlier split)"
    """
    named = few([f"{PurePosixPath(file).name} ({split})" for file, split in splits.items()])
    stay = "stays in its" if gave_way == 1 else "stay in their"
    past = f" ({count(gave_way, 'label')} {stay} earlier split)" if gave_way else ""
    return f"splits by the names of the files: {named}{past}" if splits else ""


def _kinds(groups: Iterable[Group], *, is_first_apart: bool) -> list[list[Group]]:
    """Part groups by the scarcest label that they hold; what is too rare for that goes with the next label."""
    by_place: dict[int, list[Group]] = {}
    for group in groups:
        by_place.setdefault(LAST if group.kind is None else group.kind, []).append(group)
    kinds: list[list[Group]] = []
    waiting: list[Group] = []
    for place in sorted(by_place):
        waiting += by_place[place]
        if (place == 0 and is_first_apart) or len(waiting) >= len(MOST_GUARDED_FIRST):
            kinds.append(waiting)
            waiting = []
    return [*kinds, waiting] if waiting else kinds


def _is_hashed(item: Assignment | None) -> bool:
    return item is not None and item.by == "hash"


def _shared_out(
    groups: Sequence[Group], wanted: Mapping[Split, float], before: Mapping[Group, Split], over: Mapping[Split, float]
) -> tuple[dict[str, Assignment], dict[Split, float]]:
    """Give each group in turn to the split with the most room below its share; the more guarded one of equals.

    `over` is the room that groups of other kinds left in each split, less than none where it got too much; what is left
    now is returned beside the assignments.

    A group that is larger than a held-out split comes first and goes to train while there is room: it must not be
    the exam alone, and placed last it would leave the other splits short.
    """
    total = sum(group.weight for group in [*groups, *before])
    shares_of_all = {split: wanted[split] * total for split in MOST_GUARDED_FIRST if split in wanted}
    smallest = min(shares_of_all.values())
    room = {split: share + over.get(split, 0.0) for split, share in shares_of_all.items()}
    for group, split in before.items():
        room[split] = room.get(split, 0.0) - group.weight
    decided: dict[str, Assignment] = {}
    for group in sorted(groups, key=lambda group: group.weight <= smallest):
        is_huge = group.weight > smallest and "train" in wanted and room["train"] >= group.weight / 2
        most_room = max(wanted, key=lambda name: (round(room[name], 9), -MOST_GUARDED_FIRST.index(name)))
        decided[group.name] = Assignment("train" if is_huge else most_room, "hash")
        room[decided[group.name].split] -= group.weight
    return decided, room


def read(store: Store, card_name: str) -> tuple[dict[str, Assignment], str]:
    """Read all assignments of a card; with them the key that the next segment takes."""
    lines, key = stored.read(store, card_name)
    return {group: Assignment(line["split"], line["by"]) for group, line in lines.items()}, key


def put(store: Store, key: str, assignments: Mapping[str, Assignment]) -> bool:
    """Write new assignments as the next segment; False when another run was first."""
    lines = [{"group": name, "split": item.split, "by": item.by} for name, item in sorted(assignments.items())]
    return store.put_if_absent(key, codecs.as_lines(lines))
