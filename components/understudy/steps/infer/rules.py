"""Turn rows into segments of predictions: what is scored, what is known already, what the tables say."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from understudy.data.rows import Refusal, Row
from understudy.data.times import count_unread
from understudy.errors import BadArtifact
from understudy.model.cascade import FIRST, STUDENT
from understudy.model.decision import told
from understudy.model.scoring import Bundle, Scored
from understudy.stats import draw
from understudy.store.predictions import (
    FORGOTTEN,
    OF_EACH,
    OF_SEVERAL,
    PREDICTIONS,
    REFUSED,
    TURNS,
    count_labels,
    is_of_several,
)
from understudy.store.segments import PROBABILITIES, ShardRecord, is_probability
from understudy.store.tombstones import Forgotten
from understudy.task.labels import LabelSpace
from understudy.text.context import COLUMN, TURN_HASHES
from understudy.text.numbers import count
from understudy.text.seen import seen_of
from understudy.text.sentences import TAKEN, sentence_id, sentences, text_id_of

Keys = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
Singles = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
SCORED = ("content", "label", "probability", "runner_up", "runner_up_probability", "windows", "stage")
KEYED = pl.Schema(
    {
        "first": pl.UInt64(),
        "second": pl.UInt64(),
        "label": pl.UInt16(),
        "probability": pl.Float64(),
        "runner_up": pl.UInt16(),
        "runner_up_probability": pl.Float64(),
        "windows": pl.Int32(),
        "is_settled": pl.Boolean(),
    }
)
KEYS = KEYED.names()[:2]
BYTES, BYTES_BESIDE, BYTES_A_LABEL = 40, 20, 4  # that a remembered text takes; of several labels beside those of each
SCORED_OF_SEVERAL = ("content", OF_EACH, "windows", "stage")
COUNTED = ("settled", "checked", "missed", "unread_times")  # in a shard's record under the same names
Place = tuple[int, int]  # of a sentence in its text: first character, and the one after its last
SHOWN = 3  # labels in a headline
MOST_REPEATED = 50_000  # texts of this shard that are known by their hash while it runs


@dataclass(frozen=True, slots=True)
class Segment:
    """Some rows of a shard, in order.

    Attributes:
        index: place in the shard, from 0.
        rows: sound ones.
        refusals: the others.
        places: of the rows, where they are sentences; None where they are whole texts.
        source_rows: how many rows of the source these sentences are of.
    """

    index: int
    rows: Sequence[Row]
    refusals: Sequence[Refusal]
    places: Sequence[Place] | None = None
    source_rows: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What a segment, a shard or several came to, in texts; `labels` by name, `refused` by reason.

    `source_rows`: rows of the source that the texts are of, more than one of each where it is split into sentences.
    """

    texts: int = 0
    source_rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    kept: int = 0
    settled: int = 0
    checked: int = 0
    missed: int = 0
    unread_times: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Add up two tallies."""
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})

    @classmethod
    def of_record(cls, record: ShardRecord) -> "Tally":
        """Return what the record of a complete shard says: nothing is scored, all is kept."""
        counts = {name: getattr(record, name) for name in COUNTED}
        labels, refused = Counter(dict(record.labels)), Counter(dict(record.refused))
        texts, rows = record.rows, record.labelled_rows
        return cls(texts=texts, source_rows=rows, kept=texts, labels=labels, refused=refused, **counts)

    def as_record(self, *, is_split: bool) -> dict[str, Any]:
        """Return what the shard's record says."""
        counts = {name: getattr(self, name) for name in COUNTED}
        by_name = {name: dict(sorted(getattr(self, name).items())) for name in ("labels", "refused")}
        source = {"source_rows": self.source_rows} if is_split else {}
        return {"rows": self.texts, **source, **by_name, **counts}

    def metrics(self, positive: str | None, *, is_split: bool) -> dict[str, float]:
        """Return the step's metrics: positives where a label is looked for, unread times where there are any."""
        counts = {name: getattr(self, name) for name in ("scored", "settled", "checked", "missed")}
        unread = {"unread_times": self.unread_times} if self.unread_times else {}
        found = {} if positive is None else {"positives": self.labels[positive]}
        source = {"source_texts": self.source_rows} if is_split else {}
        return {"texts": self.texts, **source, **found, "refused": self.refused.total(), **counts, **unread}


class Answer(NamedTuple):
    """What a bundle says of one text: columns and probabilities of its label and of the likeliest other one.

    Beside them its windows, and whether the first stage decided.
    """

    label: int
    probability: float
    runner_up: int
    runner_up_probability: float
    windows: int
    is_settled: bool


class OfEach(NamedTuple):
    """What a bundle says of one text that may have several labels: the probability of each, from which all follows."""

    probabilities: Singles
    windows: int
    is_settled: bool


Answers = list[Answer | OfEach]


def segments(rows: Iterable[Row | Refusal], most_texts: int, most_chars: int) -> Iterator[Segment]:
    """Cut rows into segments; the same rows and limits always give the same ones, so work can go on after a kill.

    Args:
        rows: in order.
        most_texts: most sound rows of a segment, and most refused ones.
        most_chars: a segment ends before the text that would pass so many characters, if it has one already.

    Yields:
        at least one segment, which is empty when there are no rows.
    """
    sound: list[Row] = []
    refusals: list[Refusal] = []
    index = chars = 0
    for row in rows:
        size = len(row.cells["text"] or "") if isinstance(row, Row) else 0
        is_full = len(sound) == most_texts or len(refusals) == most_texts or (bool(sound) and chars + size > most_chars)
        if is_full:
            yield Segment(index, sound, refusals)
            sound, refusals, index, chars = [], [], index + 1, 0
        chars += size
        if isinstance(row, Row):
            sound.append(row)
        else:
            refusals.append(row)
    yield Segment(index, sound, refusals)


def without_forgotten(segment: Segment, forgotten: Forgotten) -> Segment:
    """Refuse the texts that somebody asked to forget; segments keep their limits, so a shard can go on."""
    if not forgotten.hashes:
        return segment
    is_gone = _covered([(row.cells["id"], group_of(row)) for row in segment.rows], forgotten)
    is_nameless = _covered([(refusal.id, refusal.group or refusal.id) for refusal in segment.refusals], forgotten)
    rows = [row for row, gone in zip(segment.rows, is_gone, strict=True) if not gone]
    refusals = [
        replace(refusal, id=None, group=None) if nameless else refusal
        for refusal, nameless in zip(segment.refusals, is_nameless, strict=True)
    ]
    refusals += [_forgotten(row) for row, gone in zip(segment.rows, is_gone, strict=True) if gone]
    return Segment(segment.index, rows, refusals)


def group_of(row: Row) -> str | None:
    """Return a row's group: its own id where it has no other."""
    return row.cells.get("group") or row.cells["id"]


def in_sentences(segment: Segment, language: str, forgotten: Forgotten) -> Segment:
    """Make a row of each sentence, in the group of its text, without those that somebody asked to forget.

    A text whose id could be a sentence's is refused, and one of which each sentence must be forgotten.
    """
    rows: list[Row] = []
    places: list[Place] = []
    refusals, source_rows = list(segment.refusals), 0
    for row in segment.rows:
        name, group, before = str(row.cells["id"]), row.cells.get("group"), len(rows)
        if text_id_of(name) is not None:
            refusals.append(Refusal(row.file, row.number, name, "sentence_id", TAKEN, group=group))
            continue
        for one in sentences(str(row.cells["text"]), language):
            own = sentence_id(name, one.number)
            if not forgotten.covers_text(own, group or name):
                said = {"id": own, "text": str(row.cells["text"])[one.start : one.end], "group": group or name}
                rows.append(replace(row, cells={**row.cells, **said}))
                places.append((row.lead + one.start, row.lead + one.end))
        source_rows += len(rows) > before
        if len(rows) == before:
            refusals.append(_forgotten(row))
    return Segment(segment.index, rows, refusals, places, source_rows)


def _forgotten(row: Row) -> Refusal:
    return Refusal(row.file, row.number, None, FORGOTTEN, "somebody asked to forget it", is_fault=False)


def _covered(names: Sequence[tuple[str | None, str | None]], forgotten: Forgotten) -> list[bool]:
    """Find for each id and group whether it must be forgotten."""
    table = pl.DataFrame(names, schema={"id": pl.String, "group": pl.String}, orient="row")
    return forgotten.covers(table).to_list()


def content_of(text: str) -> str:
    """Hash a text as it stands, SHA-256 in hex: what counts as the same text here, where case and signs matter."""
    return hashlib.sha256(text.encode()).hexdigest()


class Known:
    """What the same bundle has said before, by content; bounded, so a text that was forgotten is scored again.

    Args:
        scored: table of other nights, by `keyed_schema`.
    """

    def __init__(self, scored: pl.DataFrame) -> None:
        ordered = scored.sort("first", "second").unique(["first", "second"], keep="first", maintain_order=True)
        self._first, self._second = ordered["first"].to_numpy(), ordered["second"].to_numpy()
        self._kind: type[Answer | OfEach] = OfEach if is_of_several(scored) else Answer
        self._answers = [ordered[name].to_numpy() for name in ordered.columns if name not in KEYS]
        self._here: dict[str, Answer | OfEach] = {}

    def find(self, content: str) -> Answer | OfEach | None:
        """Return the answer to a text; None when it is not known."""
        if (answer := self._here.get(content)) is not None:
            return answer
        if not len(self._first):
            return None
        first, second = key_of(content)
        position = int(np.searchsorted(self._first, np.uint64(first)))
        while position < len(self._first) and self._first[position] == first:
            if self._second[position] == second:
                return self._kind(*(_cell(column[position]) for column in self._answers))
            position += 1
        return None

    def learn(self, content: str, answer: Answer | OfEach) -> None:
        """Remember what was just scored; when that becomes too much, all of it is forgotten."""
        if len(self._here) >= MOST_REPEATED:
            self._here.clear()
        self._here[content] = answer


def _cell(value: Any) -> Any:
    """Return a number as Python has it; probabilities stay an array, which takes an eighth of a list."""
    return value if isinstance(value, np.ndarray) else value.item()


def key_of(content: str) -> tuple[int, int]:
    """Return the first 16 bytes of a content hash as two numbers.

    >>> key_of("0" * 15 + "1" + "0" * 15 + "2" + "f" * 32)
    (1, 2)
    """
    return int(content[:16], 16), int(content[16:32], 16)


def most_remembered(texts: int, space: LabelSpace) -> int:
    """Return how many texts take the memory that so many take which have one label each.

    >>> most_remembered(100, LabelSpace(("praise", "tip"))), most_remembered(100, LabelSpace(("a",) * 45, is_many=True))
    (100, 20)
    """
    return texts * BYTES // (BYTES_BESIDE + BYTES_A_LABEL * len(space)) if space.is_many else texts


def keyed_schema(space: LabelSpace) -> pl.Schema:
    """Return the columns of what is remembered of texts, by `keyed`."""
    if not space.is_many:
        return KEYED
    of_each = {OF_EACH: pl.Array(pl.Float32(), len(space))}
    ends = {name: KEYED[name] for name in ("windows", "is_settled")}
    return pl.Schema({name: KEYED[name] for name in KEYS} | of_each | ends)


def answers(bundle: Bundle, texts: Sequence[str], contents: Sequence[str], known: Known) -> tuple[Answers, int]:
    """Answer texts by the bundle; return also how many of them were scored: each content that is not known, once."""
    new = {content: text for text, content in zip(texts, contents, strict=True) if known.find(content) is None}
    found = given(require_answers(bundle.score(list(new.values())), len(new), bundle), bundle)
    fresh = dict(zip(new, found, strict=True))
    every = [fresh.get(content) or known.find(content) for content in contents]
    for content, answer in fresh.items():
        known.learn(content, answer)
    return [answer for answer in every if answer is not None], len(new)


def given(scored: Scored, bundle: Bundle) -> Answers:
    """Return the label that each text gets by the bundle's rule, with the runner-up, or what several follow from."""
    if bundle.space.is_many:
        rows = scored.probabilities.astype(np.float32)
        return [OfEach(*cells) for cells in zip(rows, scored.windows.tolist(), scored.is_settled.tolist(), strict=True)]
    chosen = bundle.choose(scored.probabilities)
    columns = (chosen, *told(scored.probabilities, chosen), scored.windows, scored.is_settled)
    return [Answer(*cells) for cells in zip(*(column.tolist() for column in columns), strict=True)]


def require_answers(scored: Scored, texts: int, bundle: Bundle) -> Scored:
    """Refuse what is no answer before it becomes a prediction.

    Raises:
        BadArtifact: the bundle does not give every text a finite probability of each label in [0, 1].
    """
    shape = (texts, len(bundle.space))
    probabilities = scored.probabilities
    is_sound = (
        probabilities.shape == shape
        and scored.windows.shape == scored.is_settled.shape == shape[:1]
        and bool(np.all((probabilities >= 0) & (probabilities <= 1)))  # false for NaN
    )
    if is_sound:
        return scored
    is_shaped = probabilities.shape == shape
    got = "NaN, or one out of range" if is_shaped else f"shape {probabilities.shape} for {shape}"
    raise BadArtifact(
        f"A bundle must give every text a probability of each label in [0, 1], got {got} ({bundle.version}). Train and "
        "publish it again."
    )


def scored_columns(space: LabelSpace) -> tuple[str, ...]:
    """Name the columns of predictions by which no text is scored twice."""
    return SCORED_OF_SEVERAL if space.is_many else SCORED


def scored(table: pl.DataFrame, space: LabelSpace, where: str) -> pl.DataFrame:
    """Check what a bundle scored in another night, which is read to score no text twice.

    Raises:
        BadArtifact: a column is missing or of another kind, a hash is none, a label is none of the bundle's, or a
            probability is no number in [0, 1].
    """
    try:
        rows = table.select(scored_columns(space)).cast({name: OF_SEVERAL[name] for name in scored_columns(space)})
        is_sound = (
            _is_answered(rows, space)
            and bool(rows["content"].str.contains("^[0-9a-f]{64}$").fill_null(value=False).all())
            and not rows["windows"].null_count()
        )
    except pl.exceptions.PolarsError as error:
        raise BadArtifact(f"Cached scores must be readable, got {error!s:.200} ({where}).") from error
    if not is_sound:
        raise BadArtifact(f"Cached scores must be hashes, labels and probabilities, got others ({where}).")
    return rows


def _is_answered(rows: pl.DataFrame, space: LabelSpace) -> bool:
    """Whether each row has labels of the bundle and their probabilities."""
    if space.is_many:
        sizes = rows[OF_EACH].list.len()
        return bool((sizes == len(space)).fill_null(value=False).all()) and is_probability(rows[OF_EACH].explode())
    return all(is_probability(rows[name]) for name in PROBABILITIES) and all(
        rows[name].is_in(list(space.names)).fill_null(value=False).all() for name in ("label", "runner_up")
    )


def predicted(
    segment: Segment,
    contents: Sequence[str],
    answered: Answers,
    bundle: Bundle,
    about: Mapping[str, Any],
) -> pl.DataFrame:
    """Make the table of a segment's predictions.

    Args:
        segment: its rows are the texts, in order.
        contents: hashes of what is read of them.
        answered: the bundle's answer to each.
        bundle: what answered.
        about: generation, date, scored_at.
    """
    schema, cells = OF_SEVERAL if bundle.space.is_many else PREDICTIONS, [row.cells for row in segment.rows]
    places = segment.places if segment.places is not None else [(None, None)] * len(cells)
    columns = {
        "id": [cell["id"] for cell in cells],
        "group": [group_of(row) for row in segment.rows],
        "time": [cell.get("time") for cell in cells],
        "text": [cell["text"] for cell in cells],
        "content": list(contents),
        **_said(answered, bundle),
        "stage": [FIRST if answer.is_settled else STUDENT for answer in answered],
        "windows": [answer.windows for answer in answered],
        "start": [start for start, _ in places],
        "end": [end for _, end in places],
    }
    constant = {"threshold": bundle.rule.threshold, "version": bundle.version, **about}
    table = pl.DataFrame(columns, schema_overrides={name: schema[name] for name in columns})
    lits = [pl.lit(value, schema[name]).alias(name) for name, value in constant.items()]
    return table.with_columns(lits).select(schema.names())


def with_turns(table: pl.DataFrame, segment: Segment) -> pl.DataFrame:
    """Put beside each text what was read before it, and the hashes of its turns' ids, as columns of TURNS."""
    cells = [row.cells for row in segment.rows]
    hashes = [(cell.get(TURN_HASHES) or "").split() for cell in cells]
    columns = {COLUMN: [cell.get(COLUMN) for cell in cells], TURN_HASHES: hashes}
    return table.hstack(pl.DataFrame(columns, schema=TURNS))


def _said(answered: Answers, bundle: Bundle) -> dict[str, Any]:
    """Return the columns that say labels and probabilities."""
    space, names = bundle.space, bundle.space.names
    if not space.is_many:
        labels = [answer for answer in answered if isinstance(answer, Answer)]
        return {
            "label": [names[answer.label] for answer in labels],
            "probability": [answer.probability for answer in labels],
            "runner_up": [names[answer.runner_up] for answer in labels],
            "runner_up_probability": [answer.runner_up_probability for answer in labels],
        }
    of_each = [answer.probabilities for answer in answered if isinstance(answer, OfEach)]
    probabilities = np.array(of_each, dtype=float).reshape(-1, len(space))
    chosen = bundle.choose(probabilities)
    own, others, second = told(probabilities, chosen)
    return {
        "label": space.named(chosen),
        "probability": own,
        "runner_up": [None if code < 0 else names[code] for code in others.tolist()],
        "runner_up_probability": pl.Series(second).fill_nan(None),
        OF_EACH: probabilities.tolist(),
    }


def checked(bundle: Bundle, table: pl.DataFrame, share: float) -> tuple[int, int, int]:
    """Let the student score a random sample of the texts that the first stage settled.

    The lot is a hash of the night and the id, so that a re-run draws the same texts and another night draws anew. Each
    copy of a text has a lot of its own: the sample is of texts, as what is promised is a share of texts.

    Args:
        bundle: what answered.
        table: predictions, with the turns before the texts where the bundle reads these.
        share: of the settled texts.

    Returns:
        how many were settled, how many of these were checked, and to how many of these the student gives another label.
    """
    settled = table.filter(pl.col("stage") == FIRST)
    lots = [draw.share(date, name, digits=8) for date, name in settled.select("date", "id").iter_rows()]
    drawn = settled.filter(pl.Series(lots, dtype=pl.Float64) < share)
    student = bundle.space.named(bundle.choose(bundle.student_probabilities(seen_of(drawn).to_list())))
    return len(settled), len(drawn), int((drawn["label"] != pl.Series(student, dtype=pl.String)).sum())


def figures(segment: Segment, table: pl.DataFrame, bundle: Bundle, share: float) -> Tally:
    """Count what a segment came to, but for what was scored and kept.

    Args:
        segment: its rows and refusals.
        table: its predictions.
        bundle: what answered.
        share: of the settled texts, to be scored by the student too.
    """
    settled, drawn, missed = checked(bundle, table, share)
    return Tally(
        texts=len(table),
        source_rows=len(table) if segment.places is None else segment.source_rows,
        labels=count_labels(table),
        refused=Counter(refusal.reason for refusal in segment.refusals),
        settled=settled,
        checked=drawn,
        missed=missed,
        unread_times=count_unread(table["time"].drop_nulls()),
    )


def refused(refusals: Sequence[Refusal]) -> pl.DataFrame:
    """Make the table of a segment's refused rows."""
    rows = [
        (
            refusal.file,
            refusal.row,
            refusal.id,
            refusal.reason,
            refusal.detail,
            refusal.is_fault,
            refusal.group or refusal.id,
        )
        for refusal in refusals
    ]
    return pl.DataFrame(rows, schema=REFUSED, orient="row")


def keyed(scored: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """Shorten what was scored, to hold many texts in memory: hashes to two numbers of 8 bytes, labels to columns."""
    content, columns = pl.col("content"), {name: index for index, name in enumerate(labels)}
    if is_of_several(scored):
        said: list[Any] = [pl.col(OF_EACH).list.to_array(len(labels))]
    else:
        coded = [pl.col(name).replace_strict(columns, return_dtype=pl.UInt16) for name in ("label", "runner_up")]
        said = [coded[0], "probability", coded[1], "runner_up_probability"]
    return scored.select(
        content.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).alias("first"),
        content.str.slice(16, 16).str.to_integer(base=16, dtype=pl.UInt64).alias("second"),
        *said,
        pl.col("windows").cast(pl.Int32),
        (pl.col("stage") == FIRST).alias("is_settled"),
    )


def headline(name: str, tally: Tally, positive: str | None, *, is_split: bool = False) -> str:
    """Write what a shard came to, with the label that is looked for, or the commonest ones.

    Where texts were split it begins "498 sentences of 120 texts labelled".

    >>> labels, empty = Counter(tip=41, other=457), Counter(empty_text=2)
    >>> headline("2026-11-01/00", Tally(texts=498, labels=labels, refused=empty, scored=400), "tip")
    "2026-11-01/00: 498 texts labelled, 41 'tip', 98 known already; 2 rows refused: empty_text 2"
    """
    shown = [(positive, tally.labels[positive])] if positive is not None else tally.labels.most_common(SHOWN)
    split = f"{count(tally.texts, 'sentence')} of {count(tally.source_rows, 'text')}"
    sentence = f"{name}: {split if is_split else count(tally.texts, 'text')} labelled"
    sentence += "".join(f", {count(number)} '{label}'" for label, number in shown)
    if positive is None and len(tally.labels) > SHOWN:
        sentence += f" and {count(len(tally.labels) - SHOWN, 'label')} more"
    if known := tally.texts - tally.scored - tally.kept:
        sentence += f", {count(known)} known already"
    if tally.kept:
        sentence += f", {count(tally.kept)} kept from an earlier try"
    if tally.settled:
        sentence += f", {count(tally.settled)} settled by the first stage"
    if tally.unread_times:
        sentence += f", {count(tally.unread_times, 'time')} that cannot be read (the night's day stands for them)"
    if not tally.refused:
        return sentence
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(tally.refused.items()))
    return f"{sentence}; {count(tally.refused.total(), 'row')} refused: {reasons}"
