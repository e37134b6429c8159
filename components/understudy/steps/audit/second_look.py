"""List human labels that everything else contradicts, for people to look at again; none is changed.

A label is suspect when three say so. The text's words: by a model that saw no text of its group, the label is less
likely than it is for texts of this label on average, and another label is as likely as for texts of that one
(confident learning). The teacher, who gave another label. And each of the card's weak rules that finds the text.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", 2021, its confident
joint; the teacher and the rules are asked besides.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from understudy.model.cascade import sigmoid
from understudy.model.words import log_odds
from understudy.stats import metrics
from understudy.stats.metrics import Bools, Codes, Floats
from understudy.steps.audit.config import AuditConfig
from understudy.steps.audit.summary import TEXT_SHOWN
from understudy.store import tables
from understudy.task import weak_rules
from understudy.task.card import Card
from understudy.task.guideline import Guideline
from understudy.task.labels import LabelSpace
from understudy.teacher.worth import LEAST_KAPPA
from understudy.text import numbers
from understudy.text.seen import columns_of, seen_of

FOLDS = 5
FEWEST_GROUPS = 10  # with a label, for it to be learned and doubted
MOST_NAMED = 5  # labels in the sentence

METHOD = (
    f"Suspect labels: a logistic regression on words and pairs of words was fitted {FOLDS} times to the human labels, "
    "and said of each text how likely each label is without having seen a text of its group. A label is suspect where "
    "its own probability is below the mean of the texts with that label, another's is not below that one's mean "
    "(confident learning), the teacher gave another label, and no weak rule that finds the text suggests it. They are "
    "ranked by how much likelier another label is. A suspect label may be right."
)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found among the human labels.

    Attributes:
        asked: labels that could be suspect: the teacher judged the text, and the label has texts enough.
        suspects: rows of the human-labelled texts, with `words_label` (the likeliest other label) and `margin` (by how
            much it is likelier, up to 1); the widest margin first.
        kappa: how far the words tell the labels, beyond chance; nan where none could be learned.
    """

    asked: int
    suspects: pl.DataFrame
    kappa: float


def out_of_fold(texts: Sequence[str], codes: Codes, groups: Sequence[str], labels: int, seed: int) -> Floats:
    """Say how likely each label is of each text, were all labels equally common, by models that saw none of its group.

    Args:
        texts: human-labelled ones.
        codes: their labels, shape (texts,), at least two, each in `FEWEST_GROUPS` groups or more.
        groups: of the texts.
        labels: of the task.
        seed: of the folds.

    Returns:
        shape (texts, labels); 0 for labels that no text has.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    chances = np.zeros((len(texts), labels))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fitted, held in folds.split(np.zeros(len(texts)), codes, list(groups)):
        marks = {int(label): codes[fitted] == label for label in np.unique(codes)}
        odds = log_odds([texts[row] for row in fitted], marks, [texts[row] for row in held])
        for label, values in odds.items():
            chances[held, label] = sigmoid(values)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def contradicted(chances: Floats, codes: Codes) -> Bools:
    """Say which labels the chances contradict: the own one is below its label's mean, another is not below its own.

    Args:
        chances: of each label, shape (texts, labels).
        codes: what people said, shape (texts,).

    Returns:
        shape (texts,).

    The means are 0.6 for texts of the first label and 0.7 for those of the second.

    >>> chances = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7]])
    >>> contradicted(chances, np.array([0, 0, 0, 1])).tolist()
    [False, False, True, False]
    """
    own = np.arange(len(codes)), codes
    means = [
        chances[codes == label, label].mean() if (codes == label).any() else np.inf for label in range(chances.shape[1])
    ]
    is_confident = chances >= np.array(means)
    return np.asarray(~is_confident[own] & is_confident.any(axis=1))


def find(card: Card, labelled: pl.DataFrame, config: AuditConfig) -> Looked:
    """Find the human labels that the words, the teacher and the weak rules all contradict.

    Args:
        card: the task, of one label a text.
        labelled: human-labelled texts in the order of their ids, with `teacher_label`, null where it judged none.
        config: `seed`.
    """
    space = LabelSpace.of(card)
    table = labelled.filter(pl.col("group").n_unique().over("label") >= FEWEST_GROUPS)
    if table["label"].n_unique() < 2:
        return Looked(0, _with_doubt(table.head(0), [], []), np.nan)
    codes = space.codes(table["label"])
    chances = out_of_fold(seen_of(table).to_list(), codes, table["group"].to_list(), len(space), config.seed)
    kappa = float(metrics.kappa(codes, chances.argmax(axis=1), labels=len(space)))
    rows = np.arange(len(codes))
    others = chances.copy()
    others[rows, codes] = -1.0
    likeliest = others.argmax(axis=1)
    found = weak_rules.hits(card, table["text"].to_list())
    is_backed = (found & (weak_rules.suggested(card) == codes[:, None])).any(axis=1)
    by_teacher = (table["teacher_label"] != table["label"]).fill_null(value=False).to_numpy()
    is_suspect = contradicted(chances, codes) & by_teacher & ~is_backed & (kappa >= LEAST_KAPPA)
    margins = others[rows, likeliest] - chances[rows, codes]
    doubted = _with_doubt(table, [space.names[label] for label in likeliest], margins.tolist())
    suspects = doubted.filter(pl.Series(is_suspect)).sort("margin", "id", descending=[True, False])
    return Looked(len(table) - table["teacher_label"].null_count(), suspects, kappa)


def _with_doubt(table: pl.DataFrame, likeliest: Sequence[str], margins: Sequence[float]) -> pl.DataFrame:
    return table.with_columns(
        words_label=pl.Series(likeliest, dtype=pl.String), margin=pl.Series(margins, dtype=pl.Float64)
    )


def queue_of(suspects: pl.DataFrame, card: Card, config: AuditConfig) -> pl.DataFrame:
    """Make the queue of a second look of the first suspects: rows of `tables.SecondLook`, without any answer."""
    own = Guideline.of(card).hash
    earlier = pl.col("guideline") if "guideline" in suspects.columns else pl.lit(own)
    queue = suspects.head(config.second_looks).with_columns(earlier_guideline=earlier)
    queue = queue.with_columns(guideline=pl.lit(own))
    return queue.select([*tables.SecondLook.column_names(), *columns_of(queue)[1:]])


def record(looked: Looked | None, config: AuditConfig) -> dict[str, Any]:
    """Describe the suspect labels for audit.json; `looked` is None where a text may have several labels."""
    if looked is None:
        sentence = "No human label was checked for a second look: where a text may have several, that is not done."
        return {"suspects": None, "queued": 0, "by_label": {}, "examples": [], "sentences": [sentence], "method": None}
    suspects = looked.suspects
    queued = suspects.head(config.second_looks)
    return {
        "asked": looked.asked,
        "kappa": None if np.isnan(looked.kappa) else looked.kappa,
        "suspects": len(suspects),
        "queued": len(queued),
        "by_label": dict(_by_label(suspects)),
        "sentences": [sentence_of(looked, len(queued))],
        "examples": [
            {**row, "text": numbers.clip(row["text"], TEXT_SHOWN)}
            for row in queued.head(config.examples)
            .select("id", "split", "text", "label", "teacher_label", "words_label", "margin")
            .to_dicts()
        ],
        "method": METHOD,
    }


def _by_label(suspects: pl.DataFrame) -> list[tuple[str, int]]:
    """Count the suspects of each label, the most first."""
    return Counter(suspects["label"].sort().to_list()).most_common()


def sentence_of(looked: Looked, queued: int) -> str:
    """Say how many human labels are contradicted, of which label, or why none was looked for."""
    if np.isnan(looked.kappa):
        return (
            "No human label was checked for a second look: fewer than two labels have human-labelled texts of "
            f"{FEWEST_GROUPS} groups."
        )
    if looked.kappa < LEAST_KAPPA:
        return (
            "No human label was checked for a second look: the words of these texts hardly tell their labels (kappa "
            f"{numbers.figure(looked.kappa)} on texts not learned from; {LEAST_KAPPA} is needed)."
        )
    of_all = f"{numbers.count(looked.asked, 'human label')} of texts that the teacher judged"
    if not len(looked.suspects):
        return f"Of {of_all}, none is contradicted by words, teacher and weak rules together."
    by_label = [f"{count} of '{name}'" for name, count in _by_label(looked.suspects)]
    more = [f"{len(by_label) - MOST_NAMED} more labels"] if len(by_label) > MOST_NAMED else []
    share = numbers.percent(len(looked.suspects) / looked.asked)
    return (
        f"Of {of_all}, {len(looked.suspects)} ({share}) are contradicted by words, teacher and weak rules together: "
        f"{numbers.listed([*by_label[:MOST_NAMED], *more])}. {numbers.count(queued, 'text')} with the widest margin "
        "wait for people to look again, without any answer: the command understudy review --queue AUDIT/second_look "
        "shows them. No label was changed."
    )
