"""What pairs within a session gain over cross-entropy on the same noisy labels, and what other pairs gain.

    make benchmark-preference DATA=../shared/data
    SEEDS=1 SIZE=small make benchmark-preference DATA=../shared/data  # one seed, a student of one layer

Each student learns from the same texts and scores. Cross-entropy alone makes at least as many updates as pairs and
cross-entropy together, and in as many stages. Beside the product's pairs (`session`) stand pairs across sessions (the
sessions' names shuffled, so that the batches stay as they are) and plain RankNet within sessions (any difference, no
margin). Whole meetings are measured on, or sentences that nobody learned. Settings were chosen by cross-entropy alone,
on the validation meetings.
"""

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import t as student_t

from benchmarks import dialogue_acts
from benchmarks.figures import BUILD, Figure, report
from benchmarks.workloads import SHARED
from understudy import __version__
from understudy.model.engine import Floats, Integers
from understudy.stats import metrics
from understudy.stats.metrics import Codes
from understudy.steps.train.config import TrainConfig
from understudy.steps.train.stages import Stage
from understudy.task.labels import LabelSpace

FOLDER = BUILD / "benchmark-preference"
SMALL = os.environ.get("SIZE") == "small"
SEEDS = int(os.environ.get("SEEDS", "5"))
LAYERS = 1 if SMALL else 6
CHECKED, TESTED = 200, 1_000 if SMALL else 4_000
A_MEETING = 50  # utterances that are labelled of a meeting
CONFIG = TrainConfig(
    stages="mixed", epochs=4, pair_epochs=3, patience=9, learning_rate=5e-4 if SMALL else 1e-4, batch_tokens=128,
    max_length=32,
)  # fmt: skip
PAIRS, ACROSS, RANKNET, CROSS_ENTROPY = "session", "across_sessions", "ranknet", "cross_entropy"
RIVALS = (PAIRS, ACROSS, RANKNET)


@dataclass(frozen=True, slots=True)
class Noise:
    """How the simulated teacher of meetings errs.

    Its log-odds of a label are `certainty` for the label that it sees and 0 for the others, plus an offset of the
    meeting and label, plus noise of each prompt of its bank; its score is the mean of the prompts' probabilities.

    Attributes:
        certainty: log-odds of the label that it sees.
        flipped: share of texts of which it sees a label by lot.
        offset: standard deviation of the offsets, in log-odds.
        jitter: of a prompt's noise.
        prompts: in the bank.
    """

    certainty: float = 4.0
    flipped: float = 0.1
    offset: float = 1.5
    jitter: float = 0.5
    prompts: int = 3


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned and measured on.

    Attributes:
        space: the labels.
        taught: texts that are learned.
        scores: the teacher's of these, shape (taught, labels).
        sessions: number of the session of each, shape (taught,).
        truth: people's labels of these, for the teacher's accuracy alone.
        checked: texts that choose the epoch, with people's labels.
        tested: texts that are measured on, with people's labels.
    """

    space: LabelSpace
    taught: Sequence[str]
    scores: Floats
    sessions: Integers
    truth: Codes
    checked: tuple[Sequence[str], Codes]
    tested: tuple[Sequence[str], Codes]


def answers(truth: Codes, sessions: Integers, labels: int, noise: Noise, seed: int) -> Floats:
    """Return the simulated teacher's scores, shape (texts, labels)."""
    lot = np.random.default_rng(seed)
    seen = np.where(lot.random(len(truth)) < noise.flipped, lot.integers(0, labels, len(truth)), truth)
    offsets = lot.normal(0, noise.offset, (int(sessions.max()) + 1, labels))[sessions]
    asked = noise.certainty * np.eye(labels)[seen] + offsets
    powers = np.exp(asked + lot.normal(0, noise.jitter, (noise.prompts, *asked.shape)))
    return np.asarray((powers / powers.sum(axis=2, keepdims=True)).mean(axis=0))


def acts(texts: int) -> Callable[[int], Lesson]:
    """Draw utterances of meetings, A_MEETING of each, with the answers of a simulated teacher."""

    def drawn(seed: int) -> Lesson:
        rows = pl.read_csv(dialogue_acts.DATA, infer_schema=False).filter(pl.col("text").str.strip_chars() != "")
        space = LabelSpace.of(dialogue_acts.card())
        known = rows.filter(pl.col("split") == "train")
        meetings = known["dialogue_id"].unique().sort().shuffle(seed=seed)[: texts // A_MEETING]
        taught = pl.concat(
            [known.filter(pl.col("dialogue_id") == name).sample(A_MEETING, seed=seed) for name in meetings]
        )
        truth, sessions = space.codes(taught["act"]), _numbers(taught["dialogue_id"])
        scores = answers(truth, sessions, len(space), Noise(), seed)
        held = (("val", CHECKED, seed), ("test", TESTED, dialogue_acts.SEED))
        checked, tested = (
            (part["text"].to_list(), space.codes(part["act"]))
            for part in (rows.filter(pl.col("split") == split).sample(size, seed=lot) for split, size, lot in held)
        )
        return Lesson(space, taught["text"].to_list(), scores, sessions, truth, checked, tested)

    return drawn


def news(texts: int) -> Callable[[int], Lesson]:
    """Draw news sentences with a real LLM's answers: Zephyr's, the share of its nine prompt styles that say biased.

    The session is the outlet. Of the data with people's labels only these sentences have sessions: the customers'
    messages and the forum's sentences stand alone, and the hotel reviews have no labels.
    """

    def drawn(seed: int) -> Lesson:
        rows = pl.read_parquet(SHARED / "data/llm-answers/judged.parquet").sample(fraction=1.0, shuffle=True, seed=seed)
        prompts = [name for name in rows.columns if name.startswith("zephyr/")]
        votes = rows.select(pl.col(prompts).cast(pl.Float64, strict=False))  # "?" is no vote
        biased = votes.mean_horizontal().fill_null(0.5).to_numpy()
        space, given = LabelSpace(("0", "1"), "1"), rows["text"].to_list()
        codes = space.codes(rows["label"])
        first, last = slice(texts, texts + CHECKED), slice(texts + CHECKED, texts + CHECKED + TESTED)
        return Lesson(
            space,
            given[:texts],
            np.stack([1 - biased, biased], axis=1)[:texts],
            _numbers(rows["outlet"][:texts]),
            codes[:texts],
            (given[first], codes[first]),
            (given[last], codes[last]),
        )

    return drawn


def _numbers(names: pl.Series) -> Integers:
    return np.asarray(names.rank("dense").to_numpy().astype(np.int64) - 1)


TASKS: Mapping[str, Callable[[int], Lesson]] = {"acts_500": acts(500), "acts_2000": acts(2_000), "news_500": news(500)}


def source() -> Path:
    """Write the student: MiniLM, or its first layers."""
    from understudy.model import student

    folder = FOLDER / f"minilm-{LAYERS}"
    if not (folder / "config.json").is_file():
        model, tokenizer = student.load("minilm", ("a", "b"))
        model.bert.encoder.layer = model.bert.encoder.layer[:LAYERS]
        model.config.num_hidden_layers = LAYERS
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
    return folder


def stages_of(way: str, lengths: Sequence[int], sessions: Integers, seed: int) -> list[Stage]:
    """Plan the stages of a way to train: pairs before the labels, or labels for at least as many updates."""
    from understudy.steps.train import preference, rules

    rows, rate = np.arange(len(lengths)), CONFIG.learning_rate or 0.0
    first = Stage("pairs", rows, CONFIG.pair_epochs, rate, sessions)
    if way == ACROSS:
        first = replace(first, sessions=np.random.default_rng(seed).permutation(sessions))
    if way == CROSS_ENTROPY:
        limits = CONFIG.batch_tokens, seed, 0
        of_pairs = CONFIG.pair_epochs * len(preference.session_batches(lengths, sessions, *limits))
        first = Stage("teacher", rows, -(-of_pairs // len(rules.epoch_batches(lengths, *limits))), rate)
    return [first, Stage("teacher", rows, CONFIG.epochs, rate)]


def learned(way: str, lesson: Lesson, seed: int) -> Codes:
    """Train a student one way with the product's learner, and return its labels of the texts that are measured on."""
    import torch

    from benchmarks.ranknet import RankNetLearner
    from understudy.model import student
    from understudy.steps.train import learn

    learn.make_deterministic(seed)
    model, tokenizer = student.load(str(source()), lesson.space.names)
    taught, checked, tested = (
        student.tokens_of(tokenizer, texts, CONFIG.max_length)
        for texts in (lesson.taught, lesson.checked[0], lesson.tested[0])
    )
    learner = (RankNetLearner if way == RANKNET else learn.Learner)(
        model,
        tokenizer.pad_token_id,
        learn.Examples(taught, torch.tensor(lesson.scores, dtype=torch.float32), torch.ones(len(taught))),
        stages_of(way, [len(row) for row in taught], lesson.sessions, seed),
        learn.Validation(checked, lesson.checked[1], lesson.space),
        CONFIG,
        torch.device("cpu"),
    )
    learner.run(lambda _: None, lambda *_: None)
    return np.asarray(student.logits(learner.model, tested, tokenizer.pad_token_id).argmax(axis=1))


def scored(task: str, way: str, seed: int) -> dict[str, float]:
    """Return accuracy and macro F1 of a way to train, and the teacher's accuracy; kept by the hash of all inputs."""
    lesson = TASKS[task](seed)
    inputs = [
        __version__,
        inspect.getsource(stages_of),
        repr((CONFIG, LAYERS, TESTED, way, seed)),
        *lesson.taught,
        *lesson.tested[0],
    ]
    inputs += [lesson.scores.tobytes().hex(), lesson.sessions.tobytes().hex()]
    file = FOLDER / f"{task}-{way}-{seed}-{hashlib.sha256(chr(10).join(inputs).encode()).hexdigest()[:12]}.json"
    if not file.is_file():
        given, truth, labels = learned(way, lesson, seed), lesson.tested[1], len(lesson.space)
        figures = {
            "accuracy": metrics.accuracy(truth, given),
            "macro_f1": metrics.macro_f1(truth, given, labels=labels),
            "teacher_accuracy": metrics.accuracy(lesson.truth, lesson.scores.argmax(axis=1)),
        }
        file.write_text(json.dumps(figures), encoding="utf-8")
        print(f"{file.stem}: {figures}", flush=True)
    return dict(json.loads(file.read_text(encoding="utf-8")))


def over_seeds(values: Floats) -> Figure:
    """Mean of a figure with its 95% interval by Student's t over the seeds, in points; none of one seed.

    >>> found = over_seeds(np.array([0.01, 0.03]))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (2.0, -10.706, 14.706)
    """
    mean = 100 * float(values.mean())
    if len(values) < 2:
        return Figure(mean)
    half = 100 * float(student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Figure(mean, mean - half, mean + half)


def figures_of(task: str, seeds: Sequence[int]) -> dict[str, Figure]:
    """Return the figures of a task in points: accuracies, and each rival's gains over cross-entropy, paired by seed."""
    runs = [{way: scored(task, way, seed) for way in (CROSS_ENTROPY, *RIVALS)} for seed in seeds]
    read = {(way, name): np.array([run[way][name] for run in runs]) for way in runs[0] for name in runs[0][way]}
    found = {
        f"{task}_teacher_accuracy": over_seeds(read[CROSS_ENTROPY, "teacher_accuracy"]),
        f"{task}_accuracy": over_seeds(read[CROSS_ENTROPY, "accuracy"]),
        f"{task}_macro_f1": over_seeds(read[CROSS_ENTROPY, "macro_f1"]),
    }
    for way in RIVALS:
        for name, suffix in (("accuracy", ""), ("macro_f1", "_macro_f1")):
            found[f"{task}_gain_{way}{suffix}"] = over_seeds(read[way, name] - read[CROSS_ENTROPY, name])
    return found


def main() -> None:
    """Measure and report; what was measured is kept under build/benchmark-preference."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    hours = "20 minutes" if SMALL and SEEDS == 1 else "hours"
    print(f"{SEEDS} seeds, 12 students of {LAYERS} layers each; {hours} on two idle cores.", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    started, seeds = time.monotonic(), list(range(1, SEEDS + 1))
    tasks = os.environ.get("TASKS", " ".join(TASKS)).split()
    found = {name: figure for task in tasks for name, figure in figures_of(task, seeds).items()}
    settings = {
        "size": "small" if SMALL else "full",
        "config": repr(CONFIG),
        "layers": LAYERS,
        "noise": repr(Noise()),
        "tested": TESTED,
        "tasks": tasks,
    }
    report("preference", found, settings, seeds, time.monotonic() - started)


if __name__ == "__main__":
    main()
