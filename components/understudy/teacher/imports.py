"""Take in answers that were paid for elsewhere: the store keeps them as the answers of a judge of their own.

Where whoever brings them says that the judge is the card's teacher, the texts are not asked again for as long as card
and teacher stay what they are: its model, and the guideline that the answers were given by (`Guideline`).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from understudy.data.forgetting import REASON, is_forgotten
from understudy.data.sources import opened
from understudy.errors import BadInput
from understudy.store.hashing import hash_file
from understudy.store.tombstones import Forgotten
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.teacher.logprobs import probabilities_of
from understudy.teacher.prompt import Unusable, read_verdict
from understudy.teacher.recorded import Recorded, read_log
from understudy.teacher.response_log import IMPORTED, Response, ResponseLog, content_key
from understudy.text.numbers import clipped
from understudy.text.signs import breaks_a_line

LONGEST_NAME = 100
SHOWN_CHARS = 40
PER_PRICE = 1_000
NO_TEXT, CONFLICT, FORGOTTEN = "no text", "another answer for the same text", REASON
OTHERWISE = "the store has another answer of this judge for the text"
TAUGHT_OTHERWISE = "the store has another answer of the card's teacher for the text, imported under another name"


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose answers a file holds.

    Attributes:
        judge: the name of who answered.
        usd_per_1000: what a thousand of the answers cost, in dollars; None where nobody says.
        is_teacher: they are the answers of the card's teacher.
        sha256: of the file.
    """

    judge: str
    usd_per_1000: float | None
    is_teacher: bool
    sha256: str

    def __post_init__(self) -> None:
        """Check the name, which becomes part of a key, and the price."""
        name, price = self.judge, self.usd_per_1000
        if price is not None and not 0 <= price < math.inf:
            raise BadInput(
                f"What a thousand answers cost must be a number of dollars from 0 on, got {price} (--usd-per-1000). "
                "Leave it out where nobody knows."
            )
        if not 0 < len(name.strip()) <= LONGEST_NAME or any(map(breaks_a_line, name)):
            raise BadInput(
                f"A judge's name must be one line of 1 to {LONGEST_NAME} signs, got {clipped(name, SHOWN_CHARS)!r} "
                "(--judge). Take a shorter one."
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the file has it.

    Attributes:
        text: that was asked about; None where there is none.
        label: what was said, as every table has it; None where it is of no use.
        why: it is of no use; empty where it is.
        probabilities: one a label of the card, or None.
        prompt_tokens: of the request, 0 where nobody says.
        completion_tokens: of the answer, 0 where nobody says.
        in_other_letters: whether the label is not written as the card has it.
    """

    text: str | None
    label: str | None
    why: str = ""
    probabilities: list[float] | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    in_other_letters: bool = False


@dataclass(slots=True)
class Imported:
    """What an import did, in texts but for `rows`, `unusable` and `refused`, which count rows.

    Attributes:
        rows: rows of the file.
        added: texts whose answer is new in the store.
        known: texts whose answer the store had.
        in_other_letters: texts whose label is not written as the card has it, and was taken.
        unusable: rows with an answer of no use, by reason.
        refused: rows that were refused, by reason.
    """

    rows: int = 0
    added: int = 0
    known: int = 0
    in_other_letters: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def from_table(address: str, column: str, card: Card, forgotten: Forgotten) -> tuple[list[Answer], str, Counter[str]]:
    """Read the answers of another tool: a table with a column of texts, and one a judge.

    Args:
        address: CSV, JSONL or Parquet.
        column: the judge's.
        card: for its labels, and what its files call the texts.
        forgotten: what somebody asked to forget; its rows are refused, by id, group or what the text says.

    Returns:
        the answers, the file's SHA-256, and rows that were refused, by reason.

    Raises:
        BadData: the file cannot be read or lacks a column.
    """
    columns = card.section("columns")
    called = {name: str(columns[name]) for name in ("text", "id", "group") if name in columns}
    with opened(address, ["text", "label"], ["id", "group"], called={**called, "label": column}) as source:
        table, refusals = source.read(filled=["text"])
        sha256 = source.sha256
    is_gone = is_forgotten(table, forgotten)
    refused = Counter(refusal.reason for refusal in refusals)
    refused.update({FORGOTTEN: int(is_gone.sum())} if is_gone.any() else {})
    space = LabelSpace.of(card)
    rows = table.filter(~is_gone).select("text", "label").iter_rows()
    return [_of_cell(text, cell, space) for text, cell in rows], sha256, refused


def from_log(
    log: Path, requests: Path | None, pattern: str | None, card: Card, forgotten: Forgotten
) -> tuple[list[Answer], str, Counter[str]]:
    """Read the answers in a log of a chat API (`recorded.read_log`).

    Args:
        log: JSON lines.
        requests: the Batch API's input file, where the log is its output.
        pattern: where the text stands within a message.
        card: for its labels.
        forgotten: what somebody asked to forget; its requests are refused, by their name or what the text says.

    Returns:
        as `from_table` does.

    Raises:
        BadData: the log cannot be read.
    """
    space, found = LabelSpace.of(card), list(read_log(log, requests, pattern))
    named = {"id": [one.id for one in found], "text": [one.text for one in found]}
    is_gone = is_forgotten(pl.DataFrame(named, dict.fromkeys(named, pl.String)), forgotten)
    kept = [_of_reply(one, space) for one, gone in zip(found, is_gone, strict=True) if not gone]
    return kept, hash_file(log), Counter({FORGOTTEN: int(is_gone.sum())} if is_gone.any() else {})


def take_in(answers: Iterable[Answer], card: Card, log: ResponseLog, origin: Origin) -> Imported:
    """Put answers into the store's log; those that it has already are not put twice.

    Rows with several answers for one text are refused where they differ, and so is one that differs from what the store
    has of this judge, or, of the card's teacher, from what the store has of the teacher under another judge's name.
    """
    done, guideline = Imported(), Guideline.of(card).hash
    judge = f"{IMPORTED}:{origin.judge.strip()}:{guideline}"
    judged, taught = log.answers(judge), log.imported(card.teacher.model, guideline) if origin.is_teacher else {}
    for text, answer in _one_a_text(answers, done):
        new = _response(content_key(text), answer, judge, card.teacher.model if origin.is_teacher else "", origin)
        if judged.get(new.content, new).label != answer.label:
            done.refused[OTHERWISE] += 1
        elif taught.get(new.content, new).label != answer.label:
            done.refused[TAUGHT_OTHERWISE] += 1
        elif log.has(new.id):
            done.known += 1
        else:
            done.added += 1
            done.in_other_letters += answer.in_other_letters
            log.keep(new)
    log.flush()
    return done


def _response(content: str, answer: Answer, judge: str, stands_for: str, origin: Origin) -> Response:
    """Write an answer as the store keeps it; the same one has the same id whenever it is imported."""
    digest = hashlib.sha256("\n".join([judge, stands_for, content]).encode()).hexdigest()
    return Response(
        id=f"{IMPORTED}-{digest[:32]}",
        judge=judge,
        content=content,
        label=answer.label,
        probabilities=answer.probabilities,
        rationale=None,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        cost_usd=(origin.usd_per_1000 or 0.0) / PER_PRICE,
        is_rehearsal=False,
        guideline=judge.rpartition(":")[2],
        stands_for=stands_for,
        imported=origin.sha256,
        is_unpriced=origin.usd_per_1000 is None,
    )


def _one_a_text(answers: Iterable[Answer], done: Imported) -> Iterator[tuple[str, Answer]]:
    """Yield each text with its answer, and count the rows that have none or contradict each other."""
    usable: dict[str, list[Answer]] = {}
    for answer in answers:
        done.rows += 1
        if answer.text is None:
            done.refused[NO_TEXT] += 1
        elif answer.label is None:
            done.unusable[answer.why] += 1
        else:
            usable.setdefault(answer.text, []).append(answer)
    for text, given in usable.items():
        if len({answer.label for answer in given}) > 1:
            done.refused[CONFLICT] += len(given)
        else:
            yield text, given[0]


def _of_cell(text: str, cell: str | None, space: LabelSpace) -> Answer:
    if cell is None:
        return Answer(text, None, "no answer")
    label = space.of_cell(cell)
    why = "" if label is not None else f"'{clipped(cell, SHOWN_CHARS)}' is no label of the card"
    return Answer(text, label, why, in_other_letters=space.in_other_letters([cell]) > 0)


def _of_reply(recorded: Recorded, space: LabelSpace) -> Answer:
    """Read an answer as the teacher's are read: as JSON, else as a label alone."""
    reply = recorded.reply
    if reply.failure:
        return Answer(recorded.text, None, reply.failure)
    tokens = reply.prompt_tokens or 0, reply.completion_tokens or 0
    try:
        verdict = read_verdict(reply.content, space.names, is_many=space.is_many)
    except Unusable as reason:
        label = space.of_cell(reply.content.strip())
        is_other = space.in_other_letters([reply.content.strip()]) > 0
        return Answer(recorded.text, label, str(reason), None, *tokens, in_other_letters=is_other)
    probabilities = None
    if not verdict.in_other_letters:
        probabilities = probabilities_of(verdict.json, reply.logprobs, space.names, is_many=space.is_many)
    return Answer(recorded.text, verdict.label, "", probabilities, *tokens, in_other_letters=verdict.in_other_letters)
