"""Read texts whose labels are known, to mix them into a queue: they measure people, and are never labels."""

from understudy.data import sources
from understudy.errors import BadData
from understudy.review import firewall
from understudy.review.waiting import Known, Queue, Text
from understudy.store import tombstones
from understudy.store.storage import Store
from understudy.task.labels import LabelSpace
from understudy.text.numbers import count


def read_known(store: Store, card_name: str, address: str, queue: Queue) -> list[Known]:
    """Read known texts; those that measure the model, wait in the queue or must be forgotten are left out.

    Args:
        store: says which these are.
        card_name: the card.
        address: a file with id, text and label, and group where it has one.
        queue: into which they are mixed.

    Raises:
        BadData: a label is none of the guideline's, or no text is left.
    """
    is_many = queue.guideline.is_many
    space = LabelSpace(tuple(queue.guideline.labels), is_many=is_many)
    lists = ["label"] if is_many else []
    with sources.opened(address, ["id", "text", "label"], ["group"], lists, makes_ids=True) as source:
        table, refused = source.read(filled=["id", "text", "label"])
    meant = space.of_cells(table["label"].to_list())
    wrong = [label for label, name in zip(table["label"], meant, strict=True) if name is None]
    if wrong or refused:
        fault = space.no_label(wrong[0], 10) if wrong else refused[0].detail
        raise BadData(f"A file of known labels must hold labels of the card alone, got {fault} ({address}). Mend it.")
    if "group" not in table.columns:
        table = table.with_columns(group="id")
    waiting = {text.id for text in queue.texts}
    is_out = firewall.read(store, card_name).measures(table) | tombstones.read(store).covers(table)
    rows = zip(table.select("id", "group", "text").iter_rows(), meant, is_out, strict=True)
    ordered = {row[0]: Known(Text(*row), str(label)) for row, label, out in rows if not out}
    known = [one for name, one in ordered.items() if name not in waiting]
    if not known:
        raise BadData(
            f"A file of known labels must hold texts that neither wait nor measure, got {count(len(table), 'row')} of "
            f"which none is one ({address}). Name others."
        )
    return known
