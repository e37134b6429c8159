"""Run the step mine: find disagreements of student and teacher, and put the queue into the store."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy.model.decision import chances
from understudy.model.scoring import Bundle
from understudy.model.vectors import vectors
from understudy.privacy.objects import erase_all, erase_what_was_asked_meanwhile
from understudy.progress import track
from understudy.review import firewall, labels, queues, standing
from understudy.review.standing import Standing
from understudy.runtime.shell import In, Out, Result
from understudy.stats.metrics import Bools, Floats
from understudy.steps.mine import rules, strategies
from understudy.steps.mine.config import MineConfig
from understudy.steps.mine.forecast import review_s
from understudy.store import codecs, cycles, hashing, layout, tables, tombstones
from understudy.store.bundles import require_labels
from understudy.store.folder import FolderStore
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card, load_card
from understudy.task.guideline import Guideline
from understudy.task.sections import TeacherConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.task.slices import in_slice
from understudy.teacher.answers import teacher_answers
from understudy.teacher.estimate import usd_an_answer
from understudy.teacher.labeller import Judged, open_teacher
from understudy.teacher.response_log import ResponseLog
from understudy.text.context import COLUMN, TURN_HASHES
from understudy.text.numbers import count, percent, usd
from understudy.text.seen import columns_of, seen_of

TEXTS_AT_ONCE = 1000


def run(
    card: In,
    pool: In,
    gold: In,
    judgements: In,
    bundle: In,
    store: str,
    queue: Out,
    audit: In | None = None,
    decision: str = "",
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Compare a new bundle with the teacher on unlabelled texts, and queue for people those on which they disagree.

    Texts that the student learned from are left out: it has seen the teacher's answers to them. So are those of weekly
    samples and test sets, which measure the model. The bundle need not be
    published. The teacher, or the card's oracle where it names one, is asked within mine.teacher_usd and what is left
    of its budget, and only where a disagreement is found for less than a person's label costs; answers that the store
    has cost nothing. After a refusal it is asked only about as many texts as the queue can hold. A queue also goes into
    the store, under queues/<card>/<queue>/, and what the cycle reached on the validation split under cycles/<card>/.

    Args:
        card: snapshot of the task card.
        pool: texts that may be used for training.
        gold: human labels, and the leakage guard of the test split.
        judgements: the teacher's answers that the student learned from.
        bundle: what calibrate wrote.
        store: folder or s3://bucket/prefix that keeps the teacher's answers and the queue.
        queue: queue.parquet, queue.csv to fill in, label-studio.json with label-studio.xml, and queue.json about them.
        audit: what the audit measured of the teacher, for the slices where it is biased.
        decision: of evaluate; empty where nobody has decided.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics scored, asked, from_store, left_the_house (of the texts asked about), disagreements, disagreement_share
        (of the texts that the student has not learned from), queued, cost_usd;
        parameters queue (its name in the store; empty when nothing is queued), is_budget_spent, stop (why the loop is
        to end; empty where it is to go on).

    Raises:
        BadArtifact: the pool holds a text of the test split, or the bundle has other labels than the card.
    """
    task = load_card(card)
    settings = task.settings(overrides)
    config = rules.settings_of(settings, task)
    keep = prepare_store(store)
    student = _open_student(bundle, task)
    unseen = _unseen(pool, gold, judgements, keep, task)
    drawn = rules.draw(unseen, config.texts, config.seed)
    rules.require_no_test_texts(drawn, tables.read(gold, tables.LeakageGuard))
    scored = _scored(student, drawn)
    label_usd = _label_usd(task, keep)
    wanted = _worth_asking(task, scored, Limits(config, decision, label_usd))
    asked = _ask(task, keep, wanted, config, settings.of(TeacherConfig))
    answers = teacher_answers(asked.judged.table, task)
    weighed = rules.weigh(scored, set(answers["id"]), len(unseen))
    compared = rules.compare(weighed.join(answers, on="id"), student.space, config.min_disagreement)
    is_biased = _in_biased_slices(task, audit, drawn)
    chosen = strategies.choose(
        scored, compared, config, len(unseen), is_biased, lambda: _vectors(student, seen_of(drawn).to_list())
    )
    chosen = rules.with_own_probabilities(chosen, student.space).with_columns(guideline=pl.lit(Guideline.of(task).hash))
    chosen = tombstones.read(keep).without(chosen)  # again: the teacher may have been asked for hours
    figures = _figures(len(scored), asked, compared, len(chosen))
    about = _about(task, student, asked, config, figures)
    name = _write(queue, task, chosen, about, has_answers=config.show_answers)
    if len(chosen):
        figures["queued"] -= _put(keep, task, name, queue, chosen)
    name = name if figures["queued"] else ""
    stands = _recorded(keep, task, student, gold, Left(decision, name, int(figures["queued"]), label_usd))
    return Result(
        headline=_headline(figures, config, asked, _where(keep, task, name), stands),
        metrics=figures,
        parameters={"queue": name, "is_budget_spent": asked.judged.is_budget_spent, "stop": stands.stop},
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the asking: the settings, what evaluate decided, and what a label of people costs."""

    config: MineConfig
    decision: str
    label_usd: float


@dataclass(frozen=True, slots=True)
class Left:
    """What a cycle leaves: the decision, the queue with its texts, and what a label of people costs."""

    decision: str
    queue: str
    queued: int
    label_usd: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back, and who answered; `judge` is empty when nobody was asked."""

    judged: Judged
    judge: str = ""
    is_rehearsal: bool = False
    left_the_house: int = 0


def _open_student(bundle: Path, card: Card) -> Bundle:
    student = Bundle.open(bundle)
    require_labels(student.settings, card)
    return student


def _unseen(pool: Path, gold: Path, judgements: Path, store: Store, card: Card) -> pl.DataFrame:
    """Read the pool's texts that neither a person has labelled (also since) nor the student learned from.

    Those that measure the model are left out too: no answer to them would be taken.
    """
    texts = tombstones.read(store).without(tables.read(pool, tables.Texts))
    texts = texts.filter(~firewall.read(store, card.name).measures(texts))
    known = (
        tables.read(gold, tables.Gold),
        tables.read(judgements, tables.Judgements),
        labels.read_all(store, card.name),
    )
    for table in known:
        texts = texts.join(table, on="id", how="anti")
    return texts


def _scored(student: Bundle, drawn: pl.DataFrame) -> pl.DataFrame:
    """Add what the student says: student_label, student_probabilities (a list), distance (`rules.distances`) and doubt.

    The last is the chance that its label is wrong.
    """
    parts: list[Floats] = [np.empty((0, len(student.space)))]
    texts = seen_of(drawn)
    with track(len(drawn), "mine: texts scored") as progress:
        for start in range(0, len(drawn), TEXTS_AT_ONCE):
            piece = texts[start : start + TEXTS_AT_ONCE].to_list()
            parts.append(student.probabilities(piece))
            progress.advance(len(piece))
    probabilities = np.concatenate(parts)
    chosen = student.choose(probabilities)
    return drawn.with_columns(
        pl.Series("student_label", student.space.named(chosen), dtype=pl.String),
        pl.Series("student_probabilities", probabilities.tolist(), dtype=pl.List(pl.Float64)),
        pl.Series("distance", rules.distances(probabilities, student.rule), dtype=pl.Float64),
        pl.Series("doubt", 1 - chances(probabilities, chosen), dtype=pl.Float64),
    )


def _worth_asking(card: Card, scored: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Choose the texts to ask the teacher about, in the order to ask; none where the strategy asks nobody."""
    config, distance = limits.config, scored["distance"].to_numpy()
    if not rules.to_ask(distance, config, limits.decision):
        return scored.clear()
    answer_usd = usd_an_answer(card, scored["text"].to_list())
    worth = rules.worth_asking(scored["doubt"].to_numpy(), answer_usd, limits.label_usd)
    return scored[rules.to_ask(distance, config, limits.decision, worth)]


def _ask(card: Card, store: Store, wanted: pl.DataFrame, config: MineConfig, asking: TeacherConfig) -> Asked:
    """Ask the card's oracle, else its teacher, as far as the money reaches; nobody is asked when there are no texts.

    What the store's answers to these texts did cost counts, so a run that was killed does not begin its money anew.
    """
    if not len(wanted):
        return Asked(Judged(tables.empty(tables.Judgements)))
    texts = wanted.select("id", *columns_of(wanted), weight=pl.lit(1.0))
    with open_teacher(card.acting("oracle"), store, asking) as teacher:
        most_usd = rules.left_usd(config, teacher.stored(texts).table)
        judged = teacher.judge(texts, "mine: texts judged", most_usd)
        left = sum(teacher.sent(texts).left.values())
        return Asked(judged, teacher.identity.name, teacher.identity.is_rehearsal, left)


def _label_usd(card: Card, store: Store) -> float:
    """Return what a label of people costs: their seconds as measured, else as the forecast has them."""
    seconds, _ = review_s(labels.seconds_measured(store, card.name))
    return seconds / 3600 * card.prices.annotator_usd_per_hour


def _in_biased_slices(card: Card, audit: Path | None, drawn: pl.DataFrame) -> Bools:
    """Tell which texts lie in a slice of the card where the audit proved the teacher biased, shape (texts,)."""
    found: Bools = np.zeros(len(drawn), dtype=np.bool_)
    if audit is None:
        return found
    slices = codecs.read_document(audit / "audit.json", "audit")["slices"]
    biased = {part["name"] for part in slices if part["is_biased"]}
    for part in card.slices:
        if part.name in biased:
            found |= in_slice(part, drawn)
    return found


def _vectors(student: Bundle, texts: list[str]) -> Floats:
    return vectors(student.graph, student.folder / "model.onnx", texts)


def _recorded(store: Store, card: Card, student: Bundle, gold: Path, left: Left) -> Standing:
    """Record the cycle in the store, unless a run has, and say where the loop stands."""
    checked = tombstones.read(store).without(tables.read_gold(gold, "validation"))
    given = student.space.named(student.choose(student.probabilities(seen_of(checked).to_list())))
    with closing(ResponseLog(store, card.name, is_dry_run=True)) as log:
        spent_usd = log.spent_usd(is_rehearsal=student.is_rehearsal)
    cycle = cycles.Cycle(
        card=card.name,
        bundle=student.version,
        recorded=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        taught_by_people=len(tables.read_gold(gold, "train")),
        human_labels=labels.read_all(store, card.name)["id"].n_unique(),
        trained_texts=student.settings.get("trained_texts"),
        teacher_usd=round(spent_usd, 6),
        decision=left.decision,
        queue=left.queue,
        queued=left.queued,
        is_rehearsal=student.is_rehearsal,
    )
    answers = checked.select("id", "group", "label", answer=pl.Series(given, dtype=pl.String))
    if (key := cycles.put(store, cycle, answers)) is not None:
        erase_what_was_asked_meanwhile(store, [key], checked)
    recorded = cycles.read_all(store, card.name)
    return standing.standing(card, recorded, cycles.read_answers(store, card.name), left.label_usd)


def _figures(scored: int, asked: Asked, compared: pl.DataFrame, queued: int) -> dict[str, float]:
    return {
        "scored": scored,
        "asked": asked.judged.asked,
        "from_store": asked.judged.from_store,
        "left_the_house": asked.left_the_house,
        "disagreements": int(compared["is_contested"].sum()),
        "disagreement_share": round(rules.contested_share(compared), 6),
        "queued": queued,
        "cost_usd": asked.judged.cost_usd,
    }


def _about(
    card: Card, student: Bundle, asked: Asked, config: MineConfig, figures: Mapping[str, float]
) -> dict[str, Any]:
    """Describe a queue. What this run happened to pay is no part of it: a rerun that pays nothing is the same queue."""
    said = ("scored", "disagreements", "disagreement_share", "queued")
    return {
        "format": 1,
        "card": card.name,
        "card_hash": card.hash,
        "guideline": Guideline.of(card).hash,
        "bundle": student.version,
        "judge": asked.judge,
        "is_rehearsal": student.is_rehearsal or asked.is_rehearsal,
        "is_budget_spent": asked.judged.is_budget_spent,
        "settings": asdict(config),
        **{name: figures[name] for name in said},
    }


def _write(folder: Path, card: Card, queue: pl.DataFrame, about: Mapping[str, Any], *, has_answers: bool) -> str:
    """Write the queue's files and return its name, which their content decides; a rehearsal's says so."""
    extra = [*columns_of(queue)[1:], "weight", "copies", "drawn_by", "inclusion"]
    tables.write(queue.select(*tables.Queue.column_names(), *extra), tables.Queue, folder)
    texts = {
        "queue.csv": queues.queue_csv(queue, has_answers=has_answers),
        "label-studio.json": queues.label_studio_tasks(queue, has_answers=has_answers),
        "label-studio.xml": queues.label_studio_page(card, has_context=COLUMN in queue.columns),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8", newline="")
    turns = {TURN_HASHES: queue[TURN_HASHES].to_list()} if TURN_HASHES in queue.columns else {}
    digest = hashing.hash_json({**about, **texts, **turns})[:12]
    name = f"rehearsal-{digest}" if about["is_rehearsal"] else digest
    codecs.write_document(folder / queues.RECORD, {"queue": name, **about})
    return name


def _put(store: Store, card: Card, name: str, folder: Path, texts: pl.DataFrame) -> int:
    """Put a queue's files into the store.

    What somebody asked to forget meanwhile leaves both places again; queue.json says how many were chosen.

    Returns:
        how many texts left.
    """
    keys = queues.put(store, card.name, name, {path.name: path.read_bytes() for path in folder.iterdir()})
    gone = erase_what_was_asked_meanwhile(store, keys.values(), texts)
    erase_all(FolderStore(folder), keys.keys(), gone)
    return len(gone.ids)


def _where(store: Store, card: Card, name: str) -> str:
    """Return where the files lie that people answer; empty where nothing is queued."""
    return store.locate(layout.QUEUE_TABLES.prefix(card=card.name, queue=name)) if name else ""


def _headline(figures: Mapping[str, float], config: MineConfig, asked: Asked, where: str, stands: Standing) -> str:
    """Say how many texts wait for people and where, what was asked for them, and whether the loop is to go on."""
    if not figures["scored"]:
        return "no text that is new to the student, so nothing is queued"
    judged = figures["asked"] + figures["from_store"]
    is_budget_spent = asked.judged.is_budget_spent
    ended = "; the money for it (mine.teacher_usd, or the card's budget) ended the asking" if is_budget_spent else ""
    compared = (
        f"student and teacher disagree on {figures['disagreements']:,} of {count(judged, 'text')} "
        f"(about {percent(figures['disagreement_share'])} of those new to the student)"
        if config.strategy in rules.ASKING
        else f"by {config.strategy}, which asks no teacher"
    )
    return (
        f"{count(figures['queued'], 'text')} queued for people: {compared}, {usd(figures['cost_usd'])} spent{ended}"
        + (f"; {where.rstrip('/')}/queue.csv waits for answers (`understudy labels add`)" if where else "")
        + f"; {stands.lines()[0]}"
    )
