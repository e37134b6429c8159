"""Store and read samples of the nights: texts drawn with known weights, and what people and teacher said.

    samples/<day>/sample.parquet             the texts, by `SAMPLE`, and by `TURNS` where predictions have these
    samples/<day>/sample.json                put last: with it the sample is whole
    samples/<day>/answers-<number>.jsonl     what people said, by the day on which it was taken in, in that order

These answers measure the model, so they are kept apart from those that teach it: no training run reads them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NotRequired, Required

import polars as pl
from pydantic import Field
from typing_extensions import TypedDict

from understudy.errors import BadArtifact
from understudy.review import asked as asking
from understudy.review import labels, origins, sitting
from understudy.review.asked import Asked
from understudy.store import codecs, layout
from understudy.store.names import CardName, Day, Version, is_day
from understudy.store.predictions import TURNS, are_of_turns, has_turns
from understudy.store.storage import Beaten, Store, contend, update
from understudy.task import label_sets
from understudy.task.labels import LabelSpace
from understudy.text.context import TURN_HASHES

SAMPLE = pl.Schema(
    {
        "id": pl.String(),
        "group": pl.String(),
        "text": pl.String(),
        "night": pl.String(),
        "version": pl.String(),  # of the bundle that labelled it
        "label": pl.String(),  # that it gave; the set of labels, where a text may have several
        "probability": pl.Float64(),  # of that label
        "runner_up": pl.String(),  # the likeliest label beside it; null for a text that has all
        "runner_up_probability": pl.Float64(),
        "threshold": pl.Float64(),  # of the label that is looked for; null where there is none
        "stratum": pl.Int64(),  # part of the range of probabilities, from 0
        "stratum_texts": pl.Float64(),  # texts of the nights in that part
        "drawn": pl.String(),  # "random": by lot from all texts; "stratified": by lot from its part
        "weight": pl.Float64(),  # texts of the nights that it stands for
        "teacher_label": pl.String(),  # null where the teacher was not asked
    }
)
TEACHER_LABELS = pl.Schema({"id": pl.String(), "teacher_label": pl.String()})
NAME = "sample"
ANSWER = ("id", "annotator", "label", "guideline")
Count = Annotated[int, Field(ge=0)]


class About(TypedDict, total=False):
    """What is said of a day's sample, its last object."""

    date: Day
    card: CardName
    guideline: str  # by which people and teacher label it
    version: Version
    nights: list[Day]
    left_out: list[Day]
    texts: Count
    drawn: Required[Count]
    settings: dict[str, Any]
    taught: Required[Count]
    cost_usd: Annotated[float, Field(ge=0)]
    judge: str
    is_rehearsal: bool
    absence: str


class Answer(TypedDict):
    """What one person said of a text."""

    id: str
    label: str | None
    annotator: str | None
    guideline: NotRequired[str | None]
    at: NotRequired[str]


def read_about(store: Store, day: str) -> dict[str, Any] | None:
    """Read what is said of a day's sample; None when there is none, or none that is whole."""
    key = layout.SAMPLE_RECORDS.key(day=day, name=NAME)
    found = store.read_tagged(key)
    return None if found is None else codecs.read_mapping(found.data, store.locate(key), About)


def days(store: Store, until: str) -> list[str]:
    """List the days that have a whole sample, oldest first."""
    kept = (fields["day"] for _, fields in layout.SAMPLE_RECORDS.listed(store, name=NAME))
    return [day for day in kept if is_day(day) and day <= until]


def read_sample(store: Store, day: str) -> pl.DataFrame:
    """Read a day's sample.

    Raises:
        BadArtifact: it is damaged.
    """
    key = layout.SAMPLE_TABLES.key(day=day, name=NAME)
    return _parse(store.read(key), store.locate(key))


def _parse(data: bytes, where: str) -> pl.DataFrame:
    table = codecs.read_table(data, where, SAMPLE, maybe=TURNS)
    if not are_of_turns(table):
        raise codecs.unreadable("a sample whose contexts have the hashes of their turns", "another", where)
    return table


def columns_of(sample: pl.DataFrame) -> list[str]:
    """Name the columns of a sample, those of the turns last, where the predictions that it is of have these."""
    return [*SAMPLE.names(), *(name for name in TURNS if name in sample.columns)]


def of_known_turns(sample: pl.DataFrame) -> pl.DataFrame:
    """Return the texts of which it is known what was read before them: not those of predictions that do not hold it."""
    return sample.filter(pl.col(TURN_HASHES).is_not_null()) if has_turns(sample) else sample.clear()


def asked(store: Store, until: str) -> Asked:
    """Return what the samples up to a day ask people."""
    rows: list[asking.Row] = []
    for day in days(store, until):
        guideline = (read_about(store, day) or {}).get("guideline")
        texts = read_sample(store, day).select("id", "text").iter_rows()
        rows += [(identity, text, guideline, origins.QUEUE) for identity, text in texts]
    return asking.asked(rows)


def as_parquet(sample: pl.DataFrame) -> bytes:
    """Write a sample."""
    return codecs.as_parquet(sample.select(columns_of(sample)))


def put_drawn(store: Store, day: str, sample: pl.DataFrame, files: Mapping[str, bytes]) -> None:
    """Put a day's sample before it is whole, in place of what a killed run left of another draw.

    Args:
        store: where.
        day: of the sample.
        sample: by `SAMPLE`; labels of the teacher that another run added to the same draw stay.
        files: what people fill in, by file name.
    """
    key = layout.SAMPLE_TABLES.key(day=day, name=NAME)
    draw = sample.select(columns_of(sample))

    def renewed(data: bytes | None) -> bytes | None:
        stored = _parse(data, store.locate(key)) if data is not None else None
        is_same = stored is not None and stored.drop("teacher_label").equals(draw.drop("teacher_label"))
        return None if is_same else as_parquet(draw)

    update(store, key, renewed, "A sample")
    for name, content in files.items():
        update(store, layout.file_key(layout.SAMPLE, name, day=day), partial(_replaced, content), "A sample's queue")


def _replaced(content: bytes, _: bytes | None) -> bytes:
    return content


def put_teacher_labels(store: Store, day: str, answers: pl.DataFrame) -> None:
    """Add the teacher's labels to a day's sample as it stands now: a text that was erased meanwhile does not come back.

    Args:
        store: where.
        day: of the sample.
        answers: by `TEACHER_LABELS`.
    """
    key = layout.SAMPLE_TABLES.key(day=day, name=NAME)

    def labelled(data: bytes | None) -> bytes | None:
        if data is None:
            return None
        sample = _parse(data, store.locate(key))
        joined = sample.join(answers, on="id", how="left", maintain_order="left", suffix="_now")
        label = pl.coalesce("teacher_label_now", "teacher_label").alias("teacher_label")
        return as_parquet(joined.with_columns(label))

    if len(answers):
        update(store, key, labelled, "A sample")


def put_about(store: Store, day: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Put what is said of a day's sample, with which it is whole; return what stands there.

    It stays once the teacher has labelled its texts, or was not to: until then a repeat may say more.
    """
    key, content = layout.SAMPLE_RECORDS.key(day=day, name=NAME), codecs.as_json(about)

    def renewed(data: bytes | None) -> bytes | None:
        if data is None:
            return content
        return content if codecs.read_mapping(data, store.locate(key), About).get("absence") else None

    update(store, key, renewed, "What is said of a sample")
    return read_about(store, day) or dict(about)


def put_answers(store: Store, day: str, votes: pl.DataFrame) -> str | None:
    """Keep people's answers as the newest; return the new key, or None when they say what these people said last.

    Args:
        store: where.
        day: on which they were taken in.
        votes: columns id and label, and annotator and guideline where there are any.
    """
    missing = [pl.lit(None, pl.String).alias(name) for name in ANSWER if name not in votes.columns]
    rows = votes.with_columns(missing).select(ANSWER).unique().sort(ANSWER, nulls_last=True)
    data = codecs.as_lines(rows.iter_rows(named=True))

    def write() -> str | None:
        if _is_known(store, day, rows):
            return None
        taken = layout.SAMPLE_ANSWERS.listed(store, day=day)
        number = max((int(fields["number"]) for _, fields in taken), default=0) + 1
        key = layout.SAMPLE_ANSWERS.key(day=day, number=number)
        if not store.put_if_absent(key, data):
            raise Beaten
        return key

    return contend(write, "The answers to a sample", store.locate(layout.SAMPLE_TABLES.prefix(day=day)))


def _is_known(store: Store, day: str, rows: pl.DataFrame) -> bool:
    """Tell whether each person's newest answers to these texts are just these."""
    last = _current(store, day).select(ANSWER).unique()
    of_these = last.join(rows, on=["id", "annotator"], how="semi", nulls_equal=True)
    return of_these.sort(ANSWER, nulls_last=True).equals(rows)


def _current(store: Store, until: str) -> pl.DataFrame:
    """Read each person's newest answers."""
    kept = layout.SAMPLE_ANSWERS.listed(store)
    keys = [key for key, fields in kept if is_day(fields["day"]) and fields["day"] <= until]
    parts = [_votes(store, key, number) for number, key in enumerate(keys)]
    votes = pl.concat([pl.DataFrame(schema={**labels.VOTES, "is_live": pl.Boolean}), *parts])
    return labels.current(sitting.standing(votes))


def read_answers(store: Store, until: str, space: LabelSpace | None = None) -> pl.DataFrame:
    """Read what people say of each text: columns id, human_label and annotators.

    Of a person's answers the newest counts, of different persons' the majority; a text on which they are even is left
    out. Where a text may have several labels, they vote on each of them apart.

    Args:
        store: where.
        until: the last day whose answers count.
        space: the labels, by which those of another number a text are read.
    """
    return majorities(_current(store, until), space)


def majorities(votes: pl.DataFrame, space: LabelSpace | None = None) -> pl.DataFrame:
    """Count the votes for each text: columns id, human_label and annotators; a text on which they are even is left out.

    Args:
        votes: columns id and label.
        space: the labels, by which those of another number a text are read.
    """
    if space is not None and space.is_many:
        return _majorities(votes, space)
    if space is not None:
        votes = votes.with_columns(_each(votes["label"], space))
    counted = votes.group_by("id", "label").len().sort("id", "label")
    top = counted.filter(pl.col("len") == pl.col("len").max().over("id"))
    decided = top.filter(pl.len().over("id") == 1)
    annotators = counted.group_by("id").agg(annotators=pl.col("len").sum().cast(pl.Int64))
    return decided.select("id", pl.col("label").alias("human_label")).join(annotators, on="id").sort("id")


def _majorities(votes: pl.DataFrame, space: LabelSpace) -> pl.DataFrame:
    rows = [
        (name, _majority(said, space), len(said))
        for name, said in votes.sort("id").group_by("id", maintain_order=True).agg("label").iter_rows()
    ]
    schema = {"id": pl.String, "human_label": pl.String, "annotators": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").drop_nulls("human_label")


def _majority(votes: Sequence[str], space: LabelSpace) -> str | None:
    """Return the labels that more than half of some people give a text; None where they are even on one.

    >>> space = LabelSpace(("praise", "tip"), is_many=True)
    >>> _majority(['["tip"]', '["praise", "tip"]', "[]"], space), _majority(['["tip"]', "[]"], space)
    ('["tip"]', None)
    """
    given = Counter(name for vote in votes for name in label_sets.read(_as_set(vote, space)))
    if any(2 * people == len(votes) for people in given.values()):
        return None
    return _written([name for name, people in given.items() if 2 * people > len(votes)], space)


def _as_set(label: str, space: LabelSpace) -> str:
    """Write labels in the card's order; one that was given before a text might have several is a set of one.

    >>> space = LabelSpace(("praise", "tip"), is_many=True)
    >>> _as_set('["tip", "praise"]', space), _as_set("tip", space)
    ('["praise", "tip"]', '["tip"]')
    """
    try:
        names = label_sets.read(label)
    except BadArtifact:
        names = (label,)
    return _written(names, space)


def _as_one(label: str, space: LabelSpace) -> str:
    """Take the only label out of a set that was given when a text might have several; other sets are no label.

    >>> space = LabelSpace(("praise", "tip"))
    >>> _as_one('["tip"]', space), _as_one('["praise", "tip"]', space), _as_one("tip", space)
    ('tip', '["praise", "tip"]', 'tip')
    """
    names = label_sets.read(label) if label not in space.names and label_sets.is_list(label) else ()
    return names[0] if len(names) == 1 else label


def _each(given: pl.Series, space: LabelSpace) -> pl.Series:
    """Write labels as texts have them by now, nulls as they are."""
    read = _as_set if space.is_many else _as_one
    return pl.Series(given.name, [label and read(label, space) for label in given], dtype=pl.String)


def _written(names: Sequence[str], space: LabelSpace) -> str:
    """Write labels in the card's order, those of an older card after them."""
    others = sorted({*names} - {*space.names})
    return label_sets.written([*(name for name in space.names if name in names), *others])


def read_answered(store: Store, until: str, space: LabelSpace | None = None) -> pl.DataFrame:
    """Read all samples up to a day, with human_label and annotators where people answered, and the sample's day.

    An answer counts for the first sample that asked for it: for a later one the text would be there by its own lot, but
    its answer by the earlier one's. Arguments as of `read_answers`.
    """
    parts = [read_sample(store, day).with_columns(pl.lit(day).alias("day")) for day in days(store, until)]
    asked = pl.concat([pl.DataFrame(schema={**SAMPLE, "day": pl.String()}), *parts], how="diagonal")
    is_first = pl.col("id").is_first_distinct()
    if space is not None:
        asked = asked.with_columns(_each(asked[name], space) for name in ("label", "teacher_label"))
    known = asked.join(read_answers(store, until, space), on="id", how="left", maintain_order="left")
    return known.with_columns(pl.when(is_first).then(pl.col("human_label", "annotators")))


def _votes(store: Store, key: str, segment: int) -> pl.DataFrame:
    said = codecs.read_lines(store.read(key), store.locate(key), Answer)
    rows = [{**one, "file": key, "row": row, "is_live": "at" in one} for row, one in enumerate(said, start=1)]
    return pl.DataFrame(
        [{"guideline": None, **row, "split": None, "origin": "queue", "segment": segment} for row in rows],
        schema={**labels.VOTES, "is_live": pl.Boolean},
    )
