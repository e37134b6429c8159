"""Read which split each group of a card's texts is in: numbered segments, of which the first that says it holds."""

from typing import Literal

from typing_extensions import TypedDict

from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.store.tables import Split

By = Literal["author", "queue", "hash", "shared"]


class Line(TypedDict):
    """An assignment, as the store keeps it."""

    group: str
    split: Split
    by: By


def read(store: Store, card_name: str) -> tuple[dict[str, Line], str]:
    """Read all assignments of a card, by group; with them the key that the next segment takes.

    Raises:
        BadArtifact: a segment is damaged.
    """
    keys = store.list(layout.SPLITS.prefix(card=card_name))
    assignments: dict[str, Line] = {}
    for key in keys:
        for line in codecs.read_lines(store.read(key), store.locate(key), Line):
            assignments.setdefault(line["group"], line)
    return assignments, layout.SPLITS.key(card=card_name, number=len(keys) + 1)
