"""Let rivals answer the test texts: words alone, learned from the same labels, and the bundle that serves now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy.errors import BadInput
from understudy.model.scoring import Bundle
from understudy.progress import say
from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Floats
from understudy.stats.paired import Paired
from understudy.steps.evaluate.best import PREVIOUS, WORDS
from understudy.steps.evaluate.rules import Answers, Truth, verdict_of
from understudy.store import registry, tables
from understudy.store.bundles import read_settings, require_labels
from understudy.store.storage import open_store
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.teacher.answers import teacher_answers
from understudy.text.seen import seen_of

MOST_WORDS = 50_000  # words and pairs of words that are counted
MOST_WEIGHTS = 2_000_000  # of words and labels together: what learns them holds some 25 times as many numbers
FEWEST_TEXTS = 20  # that words are learned from


@dataclass(frozen=True, slots=True)
class Rival:
    """Something else that answers the test texts.

    Attributes:
        title: in the report.
        answers: to all test texts.
    """

    title: str
    answers: Answers


def learned(card: Card, pool: Path, gold: Path, judgements: Path) -> pl.DataFrame:
    """Return the texts that the student learned from with a label each: people's, else the teacher's.

    Args:
        card: the task.
        pool: texts that the teacher was asked about.
        gold: human labels, of which train is taken.
        judgements: the teacher's answers; what it was not sure of is taken at its likeliest label.

    Returns:
        columns text, context where the card has it, and label.
    """
    human = tables.read_gold(gold, "train")
    judged = teacher_answers(tables.read(judgements, tables.Judgements), card).select("id", label="teacher_label")
    checked = tables.read(gold, tables.Gold).select("id")
    taught = tables.read(pool, tables.Texts).join(judged.drop_nulls(), on="id", how="inner")
    taught = taught.join(checked, on="id", how="anti")
    columns = [name for name in ("text", "context") if name in taught.columns and name in human.columns]
    return pl.concat([human.select(*columns, "label"), taught.select(*columns, "label")], how="vertical_relaxed")


def by_words(taught: pl.DataFrame, chosen_on: pl.DataFrame, texts: Sequence[str], space: LabelSpace) -> Answers | None:
    """Answer by TF-IDF of words and pairs of words and logistic regression, the rival that costs a moment to make.

    The threshold of a label that is looked for, or of each label where a text may have several, is where F1 is highest
    on the texts on which the student's was chosen.

    Args:
        taught: what `learned` returns.
        chosen_on: the calibration split.
        texts: to label.
        space: the labels.

    Returns:
        none where fewer than `FEWEST_TEXTS` texts, or texts of one label alone, are there to learn from, or there is
        no calibration split.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    truth = space.codes(taught["label"])
    if len(truth) < FEWEST_TEXTS or (truth == truth[0]).all() or not len(chosen_on):
        return None
    most = min(MOST_WORDS, MOST_WEIGHTS // len(space))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=most)
    seen = vectorizer.fit_transform(seen_of(taught))
    checked, known = vectorizer.transform(seen_of(chosen_on)), space.codes(chosen_on["label"])
    asked = vectorizer.transform(texts)

    def flagged(label: int) -> Bools:
        own, right = metrics.of_label(truth, label), metrics.of_label(known, label)
        return _flagged(_chances(seen, own, checked, 2)[:, 1], right, _chances(seen, own, asked, 2)[:, 1])

    if space.is_many:
        return Answers(np.column_stack([flagged(label) for label in range(len(space))]))
    chances, own = _chances(seen, truth, asked, len(space)), space.positive_index
    if own is None:
        return Answers(chances.argmax(axis=1))
    chances[:, own] = -1.0
    return Answers(np.where(flagged(own), own, chances.argmax(axis=1)))


def _chances(seen: Any, truth: Codes, asked: Any, labels: int) -> Floats:
    """Learn labels from words, and return the chance of each, shape (texts, labels); 0 where none of it was seen."""
    from sklearn.linear_model import LogisticRegression

    codes: Codes = truth.astype(np.int64)
    chances: Floats = np.zeros((asked.shape[0], labels))
    if (codes == codes[0]).all():
        chances[:, codes[0]] = 1.0
    else:
        model = LogisticRegression(C=10.0, max_iter=1000).fit(seen, codes)
        chances[:, model.classes_] = model.predict_proba(asked)
    return chances


def _flagged(checked: Floats, is_own: Bools, asked: Floats) -> Bools:
    """Give a label from where F1 is highest on the checked texts, halfway to the next lower one's chance.

    Where none of them has the label it is given from 0.5.

    >>> _flagged(np.array([0.2, 0.6, 0.8]), np.array([False, True, True]), np.array([0.3, 0.5])).tolist()
    [False, True]
    """
    if not is_own.any():
        return np.asarray(asked >= 0.5)
    cuts = np.append(0.0, np.unique(checked))
    best = 1 + int(np.argmax([metrics.f1(is_own, checked >= cut) for cut in cuts[1:]]))
    return np.asarray(asked >= (cuts[best - 1] + cuts[best]) / 2)


def previous(store: str, settings: Mapping[str, Any], card: Card, texts: Sequence[str]) -> dict[str, Rival]:
    """Let the bundle that a store serves now answer; nothing where none does, or it is this one.

    One that no trusted key has signed is told of by `left_out`; one of other labels, or that can't be opened, is said
    to be no rival: what serves wrongly must not keep a new student from being measured.
    """
    try:
        keep = open_store(store)
        current = registry.read_current(keep)
        if current is None or current.version == settings["version"] or registry.is_refused(keep, current.version):
            return {}
        folder = registry.fetch_bundle(keep, current.version)
        require_labels(read_settings(folder), card)
        bundle = Bundle.open(folder)
    except BadInput as error:
        say(f"evaluate: the bundle that serves is no rival. {error}")
        return {}
    probabilities = bundle.probabilities(texts)
    answers = Answers(bundle.choose(probabilities), probabilities)
    return {PREVIOUS: Rival(f"The bundle that serves, {current.version}", answers)}


def left_out(store: str) -> list[str]:
    """Say that the bundle which serves is no rival, as no key that is trusted has signed it; none where it is one."""
    keep = open_store(store)
    current = registry.read_current(keep)
    if current is None or not registry.is_refused(keep, current.version):
        return []
    return [f"The bundle that serves, {current.version}, is not beside it: no key that is trusted has signed it."]


def of_run(
    card: Card, folders: Mapping[str, Path | None], store: str, settings: Mapping[str, Any], texts: Sequence[str]
) -> dict[str, Rival]:
    """Let every rival answer that this run can set beside the student.

    Args:
        card: the task.
        folders: pool, gold and judgements of the run; words are left out where one is not given.
        store: that may serve a bundle; empty for none.
        settings: bundle.json of the student's.
        texts: as the student reads them.
    """
    rivals = previous(store, settings, card, texts) if store else {}
    pool, gold, judgements = (folders[name] for name in ("pool", "gold", "judgements"))
    if pool is None or gold is None or judgements is None:
        return rivals
    taught = learned(card, pool, gold, judgements)
    answers = by_words(taught, tables.read_gold(gold, "calibration"), texts, LabelSpace.of(card))
    if answers is not None:
        rivals[WORDS] = Rival(f"TF-IDF and logistic regression, same {len(taught):,} labels", answers)
    return rivals


def paired(truth: Truth, student: Answers, other: Answers, ahead: metrics.Interval) -> dict[str, Any]:
    """Set a rival beside the student on the same texts: the difference of the figure that decides, and who is right.

    Args:
        truth: human labels.
        student: its answers.
        other: the rival's, to the same texts.
        ahead: the rival's figure minus the student's.

    Returns:
        difference and verdict of the rival against the student; alone_right, texts that the rival alone has right;
        student_alone_right; and mcnemar_p of these two numbers, by groups where texts go together.
    """
    counted = Paired.of(
        metrics.is_right(truth.codes, other.codes), metrics.is_right(truth.codes, student.codes), truth.groups.tolist()
    )
    return {
        "difference": metrics.as_record(ahead),
        "verdict": verdict_of(ahead),
        "texts": counted.texts,
        "alone_right": counted.first,
        "student_alone_right": counted.second,
        "mcnemar_p": counted.p,
    }
