"""Read texts as a training run takes them: sound, with the turns before them, split, none that was forgotten."""

from dataclasses import dataclass

from understudy.data import turns
from understudy.data.sources import Source
from understudy.errors import BadData
from understudy.steps.ingest import texts as text_rules
from understudy.steps.ingest.config import IngestConfig
from understudy.steps.ingest.refusals import Sorted
from understudy.store.tombstones import Forgotten
from understudy.task.card import Card
from understudy.text.context import TURN_HASHES

RESERVED = (
    "label", "split", "annotators", "origin", "content", "file", "row", "order", "guideline", "context", TURN_HASHES,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadTexts:
    """Texts of a file.

    Attributes:
        texts: sound ones and refused ones.
        rows: how many the file has.
        sentences: how many the texts have in all; None where they are taken whole.
    """

    texts: Sorted
    rows: int
    sentences: int | None


def read_texts(source: Source, card: Card, config: IngestConfig, forgotten: Forgotten) -> ReadTexts:
    """Read all texts of a source.

    Args:
        source: opened with the columns that the card needs.
        card: for its context.
        config: how long a text may be, and whether it is split into sentences.
        forgotten: what somebody asked to forget.

    Raises:
        BadData: it holds no rows.
    """
    table, turned_away = source.read(filled=["id", "text"], max_chars=config.max_chars)
    rows = len(table) + len(turned_away)
    if not rows:
        raise BadData(
            f"A texts file must hold rows, got a header alone ({source.address}). Write it again, with its rows."
        )
    table = turns.with_context(table, card.context, forgotten)
    if card.context and card.context.order in set(RESERVED) - {"file", "row"}:
        table = table.drop(card.context.order)  # read by now, and called like a column of ours
    texts = text_rules.without_forgotten(text_rules.sound(table, turned_away), forgotten)
    if config.split == "none":
        return ReadTexts(texts, rows, None)
    split = text_rules.in_sentences(texts, config.language)
    return ReadTexts(text_rules.without_forgotten(split, forgotten), rows, len(split.kept))
