"""The step sample: take answers in, draw the day's sample, and leave it in the store for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from understudy.data import cards
from understudy.data.listing import told
from understudy.errors import BadInput, StorageError, TeacherError, together
from understudy.review import labels, samples
from understudy.review.samples import ABOUT_FILE, SAMPLE, SAMPLE_FILE
from understudy.runtime.shell import Out, Result
from understudy.steps.sample import queue, rules
from understudy.steps.sample.config import SampleConfig
from understudy.store import codecs, layout, manifests, segments, tombstones
from understudy.store.manifests import Manifest
from understudy.store.storage import Store, prepare_store
from understudy.task.card import CARD_FILE, Card
from understudy.task.sections import TeacherConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.teacher.answers import teacher_answers
from understudy.teacher.labeller import Teacher, open_teacher
from understudy.text.numbers import count, usd

COLUMNS = ("id", "group", "text", "label", "probability", "threshold", "version", "date")
FORMAT = 1
FURTHER_NIGHTS = 31  # looked at in place of nights that are not whole


@dataclass(frozen=True, slots=True)
class Night:
    """A night that is labelled whole: its manifest, and the rows of its segments by key, in order."""

    manifest: Manifest
    segments: Mapping[str, int]


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
    people get queue.csv or Label Studio's tasks from there. Answers measure the model and never train one.

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
    day = manifests.night_of(date)
    (task, text), keep = together(lambda: cards.read(card), lambda: prepare_store(store))
    settings = task.settings(overrides)
    config = settings.of(SampleConfig)
    taken, is_new, passed_over = _take_in(keep, task, day, answers, settings.value("ingest.max_refused_share"))
    about = samples.read_about(keep, day)
    cost_usd = 0.0
    if about is None:
        cost_usd = _make(keep, task, config, day, settings.of(TeacherConfig))
        about = samples.read_about(keep, day) or {}
    snapshot.mkdir(parents=True)
    (snapshot / CARD_FILE).write_text(text, encoding="utf-8")
    _copy(keep, day, sample)
    figures = {"drawn": about["drawn"], "answers": taken, "taught": about["taught"], "cost_usd": cost_usd}
    headline = _headline(about, taken, cost_usd) + (f"; {told(passed_over)}" if passed_over else "")
    return Result(headline, figures, {"date": day, "is_new": is_new})


def _take_in(store: Store, card: Card, day: str, address: str, most_refused: float) -> tuple[int, bool, Sequence[str]]:
    """Keep people's answers; return how many there are, whether they are new, and files that are passed over."""
    if not address:
        return 0, False, ()
    answers = labels.read_answers(address, card.label_names, samples.asked(store, day), most_refused)
    votes = answers.votes
    missing = [pl.lit(None, pl.String).alias("annotator")] if "annotator" not in votes.columns else []
    is_new = samples.put_answers(store, day, votes.with_columns(missing)) is not None
    return len(votes), is_new, answers.passed_over


def _make(store: Store, card: Card, config: SampleConfig, day: str, asking: TeacherConfig) -> float:
    """Draw the day's sample and put it into the store, sample.json last; return what the teacher cost."""
    recent, left_out = _recent(store, day, config.nights)
    texts, total = _texts(store, recent, config.max_texts)
    if not len(texts):
        unfinished = f"; not labelled whole: {', '.join(left_out)}" if left_out else ""
        kind = StorageError if left_out else BadInput  # a night that is running ends by itself
        raise kind(
            f"A sample must have texts to draw from, got none in the nights up to {day}{unfinished} "
            f"({store.locate(layout.SEGMENTS.folder)}). Run the nightly pipeline first."
        )
    drawn = rules.draw(texts, config, day, stand_for=total / len(texts))
    drawn, about = _taught(store, card, config, drawn, asking)
    said = {
        "format": FORMAT,
        "date": day,
        "card": card.name,
        "version": recent[0].manifest.bundle,
        "nights": sorted(night.manifest.date for night in recent),
        "left_out": left_out,
        "texts": total,
        "drawn": len(drawn),
        "settings": asdict(config),
        **about,
    }
    contents = {SAMPLE_FILE: samples.as_parquet(drawn), **queue.files(drawn, card), ABOUT_FILE: codecs.as_json(said)}
    for name, data in contents.items():
        store.put_if_absent(f"{samples.FOLDER}{day}/{name}", data)
    return float(about["cost_usd"])


def _recent(store: Store, day: str, most: int) -> tuple[list[Night], list[str]]:
    """Read the newest nights that the newest whole one's bundle labelled whole, newest first.

    A sample is drawn once, so a night of which only a part is labelled must not stand for all of it.

    Returns:
        the nights, and the dates of newer ones that are left out because a shard is missing.
    """
    found: list[Night] = []
    left_out: list[str] = []
    for date in segments.begun(store, day)[: most + FURTHER_NIGHTS]:
        manifest = manifests.read_manifest(store, date)
        records = segments.shard_records(store, manifest)
        whole = [record for record in records if record is not None]
        if len(whole) < len(records):
            left_out.append(date)
            continue
        found.append(Night(manifest, {part.key: part.rows for record in whole for part in record.segments}))
        if len(found) == most:
            break
    if found:  # an older one is no news: its predictions may be past their retention
        left_out = [date for date in left_out if date > found[-1].manifest.date]
    return [one for one in found if one.manifest.bundle == found[0].manifest.bundle], sorted(left_out)


def _texts(store: Store, recent: Sequence[Night], most: int) -> tuple[pl.DataFrame, int]:
    """Read the nights' texts, each id once by its newest night; also how many texts the nights have in all."""
    rows = {key: count for night in reversed(recent) for key, count in night.segments.items()}
    total, gone = sum(night.manifest.texts for night in recent), tombstones.read(store)
    chosen = segments.spread(list(rows), total, most)
    parts = []
    for key in chosen:
        table = segments.parse(store.read(key), store.locate(key))
        segments.require_rows(table, rows[key], store.locate(key), may_lack=bool(gone.hashes))
        parts.append(table.select(COLUMNS))
    schema = {name: SAMPLE.get(name, pl.String()) for name in COLUMNS}
    table = gone.without(pl.concat([pl.DataFrame(schema=schema), *parts]))
    once = table.unique("id", keep="last", maintain_order=True).rename({"date": "night"})
    share_read = len(chosen) / max(1, len(rows))
    return once, max(len(once), round(len(once) / share_read)) if len(once) else 0


def _taught(
    store: Store, card: Card, config: SampleConfig, drawn: pl.DataFrame, asking: TeacherConfig
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Let the teacher label a few texts; when it is away, people still get their sample."""
    told = {"taught": 0, "cost_usd": 0.0, "judge": "", "is_rehearsal": False, "absence": ""}
    wanted = rules.for_teacher(drawn, config.teacher_texts)
    if not len(wanted) or not config.teacher_usd:
        return drawn, told
    try:
        judged, seat = _ask(store, card, config, wanted, asking)
    except (TeacherError, BadInput) as error:
        return drawn, {**told, "absence": str(error)}
    said = teacher_answers(judged.table, card).select("id", "teacher_label")
    told |= {"taught": len(said), "cost_usd": round(judged.cost_usd, 6)}
    told |= {"judge": seat.seat.judge, "is_rehearsal": seat.seat.is_rehearsal}
    return drawn.drop("teacher_label").join(said, on="id", how="left", maintain_order="left"), told


def _ask(
    store: Store, card: Card, config: SampleConfig, texts: pl.DataFrame, asking: TeacherConfig
) -> tuple[Any, Teacher]:
    """Ask within the sample's own budget, and within what is left of the card's."""
    with open_teacher(card, store, asking) as teacher:
        return teacher.judge(texts, "sample: texts judged", config.teacher_usd), teacher


def _copy(store: Store, day: str, folder: Path) -> None:
    """Bring the day's sample from the store to where the pipeline shows it."""
    folder.mkdir(parents=True)
    prefix = f"{samples.FOLDER}{day}/"
    for key in store.list(prefix):
        name = key.removeprefix(prefix)
        if "/" not in name and not name.startswith("answers-"):
            (folder / name).write_bytes(store.read(key))


def _headline(about: Mapping[str, Any], taken: int, cost_usd: float) -> str:
    absent = "; the teacher was away" if about["absence"] else ""
    unfinished = about.get("left_out")
    left_out = f"; left out, for they are not labelled whole: {', '.join(unfinished)}" if unfinished else ""
    return (
        f"{count(about['drawn'], 'text')} for people, drawn from {count(about['texts'], 'text')}; the teacher labelled "
        f"{about['taught']:,} ({usd(cost_usd)}){absent}; {count(taken, 'answer')} taken in{left_out}"
    )
