"""Run the step sample: take answers in, draw the day's sample, and leave it in the store for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from understudy.data import cards
from understudy.data.listing import told
from understudy.errors import BadInput, StorageError, TeacherError, together
from understudy.privacy.objects import erase_what_was_asked_meanwhile
from understudy.review import labels, queues, samples
from understudy.review.samples import SAMPLE, TEACHER_LABELS
from understudy.runtime.shell import Out, Result
from understudy.steps.sample import rules
from understudy.steps.sample.config import SampleConfig
from understudy.store import layout, manifests, names, segments, tombstones
from understudy.store.manifests import Manifest
from understudy.store.predictions import TURNS, has_turns
from understudy.store.storage import Store, prepare_store
from understudy.task.card import CARD_FILE, Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.task.sections import TeacherConfig
from understudy.task.settings import NO_OVERRIDES, Overrides, Settings
from understudy.teacher.answers import teacher_answers
from understudy.teacher.labeller import open_teacher
from understudy.teacher.place import OutOfHouse
from understudy.text.numbers import count, usd

COLUMNS = (
    "id", "group", "text", "label", "probability", "runner_up", "runner_up_probability", "threshold", "version", "date",
)  # fmt: skip
FORMAT = 1
FURTHER_NIGHTS = 31  # looked at in place of nights that are not whole


@dataclass(frozen=True, slots=True)
class Night:
    """A night that is labelled whole: its manifest, and the rows of its segments by key, in order."""

    manifest: Manifest
    segments: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Teaching:
    """What the teacher said of a sample: columns id and teacher_label, its dollars, and why it was away, if it was."""

    answers: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TEACHER_LABELS))
    cost_usd: float = 0.0
    judge: str = ""
    is_rehearsal: bool = False
    absence: str = ""


def run(
    card: str,
    store: str,
    snapshot: Out,
    sample: Out,
    answers: str = "",
    date: str = "",
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Take people's answers in, draw texts of the last nights for people to label, and let the teacher label a few.

    A day's sample is drawn once. Its texts, with the weights by which they stand for all, are under samples/<day>/;
    people get queue.csv or Label Studio's tasks from there. Answers measure the model and never train one. Where the
    teacher was away, a repeat asks it for the same texts. Answers are taken in last, when nothing can be refused any
    more.

    Args:
        card: the task card: a file, a snapshot folder, or its s3:// address.
        store: folder or s3://bucket/prefix that holds the predictions, and gets the sample.
        snapshot: the card as this day uses it (card.yaml).
        sample: sample.parquet, queue.csv to fill in, label-studio.json with label-studio.xml, and sample.json about it.
        answers: people's answers to earlier samples: CSV, JSONL or Parquet with id and label (and annotator), or Label
            Studio's JSON export; a file or an s3:// address. Empty for none.
        date: the day, YYYY-MM-DD; empty for today's in UTC.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics drawn, answers, taught and cost_usd; parameters date and is_new (of the answers).

    Raises:
        BadInput: there are no predictions to draw from.
        BadData: the answers cannot serve.
        StorageError: a segment does not hold the rows that its shard's record counts.
    """
    day = names.night_of(date)
    (task, text), keep = together(lambda: cards.read(card), lambda: prepare_store(store))
    settings = task.settings(overrides)
    about = samples.read_about(keep, day)
    given, most_refused = None, settings.value("ingest.max_refused_share")
    if answers:
        given = labels.read_answers(answers, LabelSpace.of(task), samples.asked(keep, day), most_refused)
    cost_usd = 0.0
    if about is None or about.get("absence"):
        about = about or _drawn(keep, task, settings.of(SampleConfig), day)
        about, cost_usd = _taught(keep, task, settings, day, about)
    snapshot.mkdir(parents=True)
    (snapshot / CARD_FILE).write_text(text, encoding="utf-8")
    _copy(keep, day, sample)
    is_new = given is not None and samples.put_answers(keep, day, given.votes) is not None
    taken = len(given.votes) if given else 0
    more = f"; {told(given.passed_over)}" if given and given.passed_over else ""
    more += f"; {labels.told_letters(given.in_other_letters)}" if given and given.in_other_letters else ""
    figures = {"drawn": about["drawn"], "answers": taken, "taught": about["taught"], "cost_usd": cost_usd}
    return Result(f"{_headline(about, taken, cost_usd)}{more}", figures, {"date": day, "is_new": is_new})


def _drawn(store: Store, card: Card, config: SampleConfig, day: str) -> dict[str, Any]:
    """Draw the day's sample and put it into the store for people; return what is said of it before the teacher comes.

    It is whole only with sample.json, which follows: until then nobody has read it.
    """
    recent, left_out = _recent(store, day, config.nights)
    texts, total, with_turns = _texts(store, recent, config.max_texts)
    if not len(texts):
        unfinished = f"; not labelled whole: {', '.join(left_out)}" if left_out else ""
        kind = StorageError if left_out else BadInput  # a night that is running ends by itself
        raise kind(
            f"A sample must have texts to draw from, got none in the nights up to {day}{unfinished} "
            f"({store.locate(layout.SEGMENTS.folder)}). Run the nightly pipeline first."
        )
    newest = recent[0].manifest
    if newest.is_many != card.is_many:
        raise BadInput(
            f"The card must say as the nights do how many labels a text may have, got labels_per_text: "
            f"{card.labels_per_text} where {newest.bundle} says {newest.labels_per_text} (night {newest.date}). Give "
            "the card that it was trained with, or the changed card a new name."
        )
    positive = newest.positive_label
    sample = _with_turns(store, with_turns, rules.draw(texts, config, day, positive, stand_for=total / len(texts)))
    guideline = Guideline.of(card).hash
    asked = sample.with_columns(guideline=pl.lit(guideline))
    samples.put_drawn(store, day, sample, queues.bare_files(asked, card, has_context=has_turns(sample)))
    gone = erase_what_was_asked_meanwhile(store, _keys(store, day), sample)
    return {
        "format": FORMAT,
        "date": day,
        "card": card.name,
        "guideline": guideline,
        "version": newest.bundle,
        "nights": sorted(night.manifest.date for night in recent),
        "left_out": left_out,
        "texts": total,
        "drawn": len(sample) - len(gone.ids),
        "settings": asdict(config),
        "taught": 0,
        "cost_usd": 0.0,
        "judge": "",
        "is_rehearsal": False,
        "absence": "",
    }


def _recent(store: Store, day: str, most: int) -> tuple[list[Night], list[str]]:
    """Read the newest nights that the newest whole one's bundle labelled whole, newest first.

    A sample is drawn once, so a night of which only a part is labelled must not stand for all of it.

    Returns:
        the nights, and the dates of newer ones that are left out because a shard is missing.
    """
    nights: list[Night] = []
    left_out: list[str] = []
    for date in segments.begun(store, day)[: most + FURTHER_NIGHTS]:
        manifest = manifests.read_manifest(store, date)
        records = segments.shard_records(store, manifest)
        whole = [record for record in records if record is not None]
        if len(whole) < len(records):
            left_out.append(date)
            continue
        nights.append(Night(manifest, {part.key: part.rows for record in whole for part in record.segments}))
        if len(nights) == most:
            break
    if nights:  # an older one is no news: its predictions may be past their retention
        left_out = [date for date in left_out if date > nights[-1].manifest.date]
    return [night for night in nights if night.manifest.bundle == nights[0].manifest.bundle], sorted(left_out)


def _texts(store: Store, recent: Sequence[Night], most: int) -> tuple[pl.DataFrame, int, list[str]]:
    """Read the nights' texts, each id once by its newest night.

    Returns:
        the texts, how many the nights have in all, and which of the segments read have turns beside them.
    """
    rows = {key: count for night in reversed(recent) for key, count in night.segments.items()}
    total, gone = sum(rows.values()), tombstones.read(store)
    chosen = segments.spread(list(rows), total, most)
    parts, with_turns = [], []
    for key in chosen:
        table = segments.parse(store.read(key), store.locate(key))
        segments.require_rows(table, rows[key], store.locate(key), may_lack=bool(gone.hashes))
        parts.append(table.select(COLUMNS))
        with_turns += [key] if has_turns(table) else []
    schema = {name: SAMPLE.get(name, pl.String()) for name in COLUMNS}
    table = gone.without(pl.concat([pl.DataFrame(schema=schema), *parts]))
    once = table.unique("id", keep="last", maintain_order=True).rename({"date": "night"})
    share_read = len(chosen) / max(1, len(rows))
    return once, max(len(once), round(len(once) / share_read)) if len(once) else 0, with_turns


def _with_turns(store: Store, keys: Sequence[str], drawn: pl.DataFrame) -> pl.DataFrame:
    """Put beside the texts drawn what was read before them; that of all texts would be too much to hold.

    Null, hashes too, where their segment does not hold it.
    """
    parts = []
    for key in keys:
        table = segments.parse(store.read(key), store.locate(key)).select("id", *TURNS, night="date")
        parts.append(table.join(drawn, on=["id", "night"], how="semi"))
    if not parts:
        return drawn
    turns = pl.concat(parts).unique(["id", "night"], keep="last", maintain_order=True)
    beside = drawn.join(turns, on=["id", "night"], how="left", maintain_order="left")
    return tombstones.read(store).without(beside)


def _taught(
    store: Store, card: Card, settings: Settings, day: str, before: Mapping[str, Any]
) -> tuple[dict[str, Any], float]:
    """Let the teacher label a few texts of the stored sample; when it is away, people still get theirs.

    Returns:
        what is said of the sample now, and the dollars of this run. What is spent before the teacher goes away counts:
        all repeats together stay within the sample's budget.
    """
    config = settings.of(SampleConfig)
    stored = samples.read_sample(store, day)
    texts = rules.for_teacher(stored, config.teacher_texts, has_context=card.context is not None)
    most_usd = config.teacher_usd - before.get("cost_usd", 0.0)
    about, cost_usd = dict(before), 0.0
    if len(texts) and most_usd > 0:
        teaching = _ask(store, card, texts, most_usd, settings.of(TeacherConfig))
        cost_usd = teaching.cost_usd
        samples.put_teacher_labels(store, day, teaching.answers)
        about |= {"taught": len(teaching.answers), "cost_usd": round(before.get("cost_usd", 0.0) + cost_usd, 6)}
        about |= {"judge": teaching.judge, "is_rehearsal": teaching.is_rehearsal, "absence": teaching.absence}
    return samples.put_about(store, day, about), round(cost_usd, 6)


def _ask(store: Store, card: Card, texts: pl.DataFrame, most_usd: float, config: TeacherConfig) -> Teaching:
    """Ask within the sample's own budget, and within what is left of the card's."""
    teacher, spent_usd = None, 0.0
    try:
        with open_teacher(card, store, config) as teacher:
            spent_usd = teacher.spent_usd
            judged = teacher.judge(texts, "sample: texts judged", most_usd)
    except OutOfHouse:
        raise
    except (TeacherError, BadInput) as error:
        cost_usd = teacher.spent_usd - spent_usd if teacher else 0.0
        return Teaching(absence=str(error), cost_usd=min(cost_usd, most_usd))  # others may have spent while it waited
    answers = teacher_answers(judged.table, card).select("id", "teacher_label")
    return Teaching(answers, judged.cost_usd, teacher.identity.name, teacher.identity.is_rehearsal)


def _copy(store: Store, day: str, folder: Path) -> None:
    """Bring the day's sample from the store to where the pipeline shows it."""
    folder.mkdir(parents=True)
    for key in _keys(store, day):
        (folder / PurePosixPath(key).name).write_bytes(store.read(key))


def _keys(store: Store, day: str) -> list[str]:
    """List what the store has of a day's sample, but for what people answered."""
    return [key for key, _ in layout.listed(store, layout.SAMPLE, day=day)]


def _headline(about: Mapping[str, Any], taken: int, cost_usd: float) -> str:
    absent = "; the teacher was away" if about.get("absence") else ""
    unfinished = about.get("left_out")
    left_out = f"; left out, for they are not labelled whole: {', '.join(unfinished)}" if unfinished else ""
    return (
        f"{count(about['drawn'], 'text')} for people, drawn from {count(about['texts'], 'text')}; the teacher labelled "
        f"{about['taught']:,} ({usd(cost_usd)}){absent}; {count(taken, 'answer')} taken in{left_out}"
    )
