"""Train and decide, for the benchmark of the student's quality: four tasks, each on labels by people.

Everything that decides is the product's: the steps audit and train (`quality_student`), and calibrate's rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from benchmarks import quality_data as data
from benchmarks import quality_student
from benchmarks.quality_student import Lesson
from understudy.model import calibration
from understudy.model.calibration import log_odds
from understudy.model.engine import Floats
from understudy.stats.metrics import Bools, Codes, Column
from understudy.steps.calibrate import prior, rules
from understudy.steps.calibrate.config import CalibrateConfig
from understudy.steps.calibrate.pool_share import Scored
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace

OWN = 1  # column of the label that is looked for, in every task here
FLIP = 0.24  # of a teacher whose F1 is 0.76 where half of the texts are positive
BUDGET = {"train": 300, "validation": 80, "calibration": 120}  # 500 human labels
SHARES = {"train": 0.7, "validation": 0.1, "calibration": 0.2}
Prior = float | Mapping[str, float] | Literal["estimate"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is learned.

    Attributes:
        forum: most of the forum's training sentences.
        pool: of these, in the pool of the simulated teacher, beside the hotel sentences.
        news: texts that the three LLMs labelled.
    """

    forum: int
    pool: int
    news: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Answers to texts, all of shape (texts,)."""

    truth: Bools
    student: Bools
    rival: Bools
    groups: Column

    def of_rival(self) -> "Compared":
        """Take the rival's answers for the student's."""
        return Compared(self.truth, self.rival, self.rival, self.groups)


@dataclass(frozen=True, slots=True)
class Forum:
    """What came of the forum: answers beside those of TF-IDF, its student, and probabilities of the test texts.

    Attributes:
        told: the answers.
        student: folder of `quality_student.trained`.
        balanced: probabilities of the label looked for, by a calibration split of which half is positive; by where
            the share comes from.
    """

    told: Compared
    student: Path
    balanced: Mapping[str, Floats]


def space() -> LabelSpace:
    """Return the labels of every task here."""
    return LabelSpace.of(parse_card(data.card()))


def forum(seed: int, size: Size) -> Forum:
    """Learn the forum's suggestions from human labels, and answer its test set."""
    taught, test = data.forum()
    human = data.split_forum(taught, seed)
    learned = human.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=seed).head(size.forum)
    human = pl.concat([learned, human.filter(pl.col("split") != "train")])
    held = human.filter(pl.col("split") == "calibration")
    lesson, overrides = Lesson(data.card(), learned.select("id", "group", "text"), human), f"seed={seed}"
    here, there = (scored(lesson, overrides, table) for table in (held, test))
    truth, held_truth = (space().codes(table["label"]) for table in (test, held))
    share = float((truth == OWN).mean())
    known = here, held_truth
    student = decided(*known, there, share)[1]
    words = decided(*by_words(learned, held, test, held_truth), share)[1]
    told = Compared(truth == OWN, student, words, test["group"].to_numpy())
    half = balanced(held_truth, seed)
    scores = Scored(
        split=log_odds(here[half], OWN), truth=held_truth[half] == OWN, split_groups=held["group"].to_numpy()[half],
        pool=log_odds(there, OWN), pool_groups=test["group"].to_numpy(), weights=np.ones(len(test)),
    )  # fmt: skip
    estimated = prior.choose(0.5, None, scores, "suggestion")
    print(f"forum, seed {seed}: true share {share:.3f}, {estimated.words}", flush=True)
    shares: dict[str, Prior] = {"stated": share, "estimated": estimated.value, "split": "estimate"}
    probabilities = {name: decided(here[half], held_truth[half], there, value)[0] for name, value in shares.items()}
    return Forum(told, quality_student.trained(lesson, overrides), probabilities)


def balanced(truth: Codes, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Draw as many texts of each label, positions in ascending order."""
    lot = np.random.default_rng(seed)
    fewest = int(np.bincount(truth, minlength=2).min())
    drawn = [lot.choice(np.flatnonzero(truth == label), fewest, replace=False) for label in (0, 1)]
    return np.sort(np.concatenate(drawn))


def hotel(seed: int, base: Path) -> Compared:
    """Learn on from the forum's student with the training folds of the hotel sentences, and answer the fold left."""
    table = data.hotel()
    fold = data.folds(table, seed)
    parts = []
    for number in range(data.FOLDS):
        rest, test = table.filter(pl.Series(fold != number)), table.filter(pl.Series(fold == number))
        budget = {split: int(share * len(rest)) for split, share in SHARES.items()}
        human = data.spend(rest, budget, seed)
        lesson = Lesson(data.card(), human.select("id", "group", "text"), human)
        parts.append(answered(lesson, f"seed={seed}", test, base))
    return together(parts)


def taught(seed: int, size: Size) -> Compared:
    """Learn from a simulated teacher and 500 human labels of hotel sentences, and answer the fold left."""
    table, (sentences, _) = data.hotel(), data.forum()
    fold = data.folds(table, seed)
    others = data.spend(sentences, {"pool": size.pool}, seed).drop("split")
    judged = data.simulated(pl.concat([table, others]), FLIP, seed)
    parts = []
    for number in range(data.FOLDS):
        rest, test = table.filter(pl.Series(fold != number)), table.filter(pl.Series(fold == number))
        human = data.spend(rest, BUDGET, seed)
        held = human.filter(pl.col("split") != "train")
        pool = pl.concat([rest.join(held, on="id", how="anti"), others]).select("id", "group", "text")
        known = pl.concat([pool.select("id"), human.filter(pl.col("split") != "calibration").select("id")]).unique()
        lesson = Lesson(data.card(), pool, human, judged.join(known, on="id", how="semi"))
        teacher = test.join(judged, on="id", suffix="_teacher", maintain_order="left")["label_teacher"]
        parts.append(answered(lesson, f"seed={seed}", test, rival=space().codes(teacher) == OWN))
    return together(parts)


def news(seed: int, size: Size) -> Compared:
    """Learn bias in news from what three open LLMs said and 500 human labels, and answer the other human labels."""
    judged, unjudged = data.news()
    human = data.spend(judged, BUDGET, seed)
    test = judged.join(human, on="id", how="anti", maintain_order="left")
    pool = unjudged.sample(size.news, seed=seed)
    shown = human.filter(pl.col("split") == "train")
    answers = pl.concat(
        [pool.select("id", "label"), human.filter(pl.col("split") != "calibration").select("id", label="vote")]
    )
    texts = pl.concat([pool.select("id", "group", "text"), shown.select("id", "group", "text")])
    lesson = Lesson(data.card(), texts, human, answers.drop_nulls())
    truth = space().codes(test["label"]) == OWN
    vote = test["vote"].to_list()
    wrong_where_none = [
        not own if said is None else said == "suggestion" for own, said in zip(truth, vote, strict=True)
    ]
    return answered(lesson, f"seed={seed}", test, rival=np.array(wrong_where_none))


def answered(
    lesson: Lesson, overrides: str, test: pl.DataFrame, base: Path | None = None, rival: Bools | None = None
) -> Compared:
    """Train, calibrate on the calibration split as it is, and answer the test texts."""
    held = lesson.human.filter(pl.col("split") == "calibration")
    both = scored(lesson, overrides, pl.concat([held.select("text"), test.select("text")]), base)
    _, student = decided(both[: len(held)], space().codes(held["label"]), both[len(held) :], "estimate")
    truth = space().codes(test["label"]) == OWN
    return Compared(truth, student, np.zeros_like(truth) if rival is None else rival, test["group"].to_numpy())


def together(parts: list[Compared]) -> Compared:
    """Join the answers to all folds."""
    columns = zip(*((part.truth, part.student, part.rival, part.groups) for part in parts), strict=True)
    return Compared(*map(np.concatenate, columns))


def scored(lesson: Lesson, overrides: str, table: pl.DataFrame, base: Path | None = None) -> Floats:
    """Return the trained student's logits of a table's texts, shape (texts, labels)."""
    return quality_student.scores(lesson, table["text"].to_list(), overrides, base)


def decided(here: Floats, truth: Codes, there: Floats, share: Prior) -> tuple[Floats, Bools]:
    """Calibrate on the calibration split and choose the threshold, as the step does.

    Args:
        here: logits of the calibration split, shape (texts, labels).
        truth: its human labels.
        there: logits of the test texts.
        share: true share of the label that is looked for; "estimate" for the split's own.

    Returns:
        of the test texts, probabilities of that label and whether they are given it.
    """
    card, weights = parse_card(data.card()), rules.prior_weights(truth, space(), share)
    form, _ = rules.choose_form(here, truth, weights, np.arange(len(truth)))
    calibrator = calibration.fit(here, truth, weights, form)
    rule = rules.choose_rule(calibrator.probabilities(here), truth, weights, card, CalibrateConfig())
    probabilities = calibrator.probabilities(there)
    return probabilities[:, OWN], rule.choose(probabilities) == OWN


def by_words(
    learned: pl.DataFrame, held: pl.DataFrame, test: pl.DataFrame, truth: Codes
) -> tuple[Floats, Codes, Floats]:
    """Score texts by TF-IDF of words and pairs with logistic regression, on the same labels: what `decided` takes."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=2_000, C=10)
    )
    model.fit(learned["text"].to_list(), space().codes(learned["label"]))
    odds = (model.decision_function(table["text"].to_list()) for table in (held, test))
    here, there = (np.column_stack([np.zeros_like(each), each]) for each in odds)
    return here, truth, there
