"""Record the cycles of a learning loop: what each had learned from, and its answers to the validation split.

cycles/<card>/<number>-<bundle>.parquet   the answers, a row a text
cycles/<card>/<number>-<bundle>.json      the rest; with it the cycle is whole

A cycle is one bundle: a rerun that comes to the same bundle adds nothing. No text of the test split is in it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl

from understudy.errors import BadArtifact
from understudy.store import codecs, layout
from understudy.store.names import CardName, Version
from understudy.store.storage import Beaten, Store, contend

FORMAT = 1
ANSWERS = {"id": pl.String, "group": pl.String, "label": pl.String, "answer": pl.String}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What is known of a cycle when its queue is made.

    Attributes:
        card: the task.
        bundle: version of the student.
        recorded: when, UTC.
        taught_by_people: human labels of the split train that the student learned from.
        human_labels: texts that people had labelled by then, of any split.
        trained_texts: that the student learned from, whoever labelled them; None where nobody says.
        teacher_usd: paid to the teacher on this card so far.
        decision: of evaluate; empty where nobody has decided.
        queue: that waits for people; empty where nothing was queued.
        queued: texts in it.
        is_rehearsal: a rehearsal teacher had a part in it.
        format: of this record.
    """

    card: CardName
    bundle: Version
    recorded: str
    taught_by_people: int
    human_labels: int
    trained_texts: int | None
    teacher_usd: float
    decision: str
    queue: str
    queued: int
    is_rehearsal: bool
    format: int = FORMAT


def put(store: Store, cycle: Cycle, answers: pl.DataFrame) -> str | None:
    """Record a cycle after the card's other ones, unless its bundle is recorded already.

    Args:
        store: of the loop.
        cycle: the record.
        answers: of its student to the validation split, by `ANSWERS`.

    Returns:
        the key of the answers; None where the bundle was there.
    """

    def write() -> str | None:
        kept = layout.listed(store, (layout.CYCLES, layout.CYCLE_ANSWERS), card=cycle.card)
        whole = layout.CYCLES.listed(store, card=cycle.card)
        if cycle.bundle in {fields["version"] for _, fields in whole}:
            return None
        fields: dict[str, str | int] = {
            "card": cycle.card,
            "number": 1 + max((int(it["number"]) for _, it in kept), default=0),
            "version": cycle.bundle,
        }
        key = layout.CYCLE_ANSWERS.key(**fields)
        if not store.put_if_absent(key, codecs.as_parquet(answers.select(list(ANSWERS)))):
            raise Beaten
        store.put_if_absent(layout.CYCLES.key(**fields), codecs.as_json(asdict(cycle)))
        return key

    return contend(write, "The loop's cycles", store.locate(layout.CYCLES.prefix(card=cycle.card)))


def read_all(store: Store, card: str) -> list[Cycle]:
    """Read the cycles of a card, oldest first.

    Raises:
        BadArtifact: a record is damaged or of another format.
    """
    return [_read(store, key) for key, _ in layout.CYCLES.listed(store, card=card)]


def _read(store: Store, key: str) -> Cycle:
    cycle = codecs.read_as(Cycle, store.read(key), store.locate(key))
    if cycle.format != FORMAT:
        raise BadArtifact(
            f"A cycle's record must be of format {FORMAT}, got {cycle.format} ({store.locate(key)}). Restore it."
        )
    return cycle


def read_answers(store: Store, card: str) -> Sequence[pl.DataFrame]:
    """Read what the student of each cycle answered to the validation split, oldest first: tables by `ANSWERS`.

    Raises:
        BadArtifact: a table is missing or damaged.
    """
    keys = [layout.CYCLE_ANSWERS.key_from(layout.CYCLES, key) for key, _ in layout.CYCLES.listed(store, card=card)]
    return [codecs.read_table(store.read(key), store.locate(key), ANSWERS) for key in keys]
