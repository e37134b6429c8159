"""Measure the learning loop: labels that strategies save, answers that are worth asking, cycles, and the stop rule.

    make benchmark-loop DATA=../shared/data            # 5 seeds; SEEDS=1 SIZE=small for a quick look

The learner is a logistic regression over MiniLM's vectors, so that hundreds of trainings fit two cores; what is chosen
comes from the product's own functions (`steps/mine`, `stats/gains`). Its threshold is tuned on texts apart, and F1 is
measured on others. The forum (SemEval-2019 Task 9 A) asks for one label, banking77 for one of 77. small-text is
installed into an environment of its own under build/benchmark-loop. Vectors and rivals' choices are kept there.
"""

import csv
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from benchmarks import stopping
from benchmarks.figures import BUILD, Figure, report
from benchmarks.workloads import SHARED
from understudy.model.decision import DecisionRule
from understudy.stats.metrics import Bools, Column, Floats, f1, macro_f1, recall, wilson
from understudy.steps.mine import rules, strategies
from understudy.steps.mine.config import MineConfig

FOLDER = BUILD / "benchmark-loop"
SMALL_TEXT = "small-text==1.4.1"
HOTEL = Path(__file__).parents[1] / "pipelines/tasks/hotel-tips"
SEEDS = range(int(os.environ.get("SEEDS", "5")))
IS_SMALL = os.environ.get("SIZE") == "small"
TARGET, STEP, FIRST = 1000, 50, 100  # labels of random sampling that set the aim; a batch; and the first set
LOOPS = 100 if IS_SMALL else 400
TUNE, TEST = 1000, 2000
ANSWER_USD, LABEL_USD = 0.0042, 0.125  # of the traveller-tips system; 200 labels an hour at $25
CYCLES, QUEUE, TAUGHT = 3, 100, 600
TEACHER_RECALL, TEACHER_FALSE, AVOID_RECALL = 0.78, 0.06, 0.35  # together an F1 of about 0.76


@dataclass(frozen=True, slots=True)
class Task:
    """Texts as vectors, with labels of people as codes; `is_binary` where one label is looked for."""

    vectors: Floats
    labels: Column
    is_binary: bool
    avoids: Bools


def embedded(texts: Sequence[str]) -> Floats:
    """Return MiniLM's vectors of texts, each of length 1, shape (texts, 384); kept under the hash of the texts."""
    kept = FOLDER / f"vectors-{sha256(json.dumps(texts).encode()).hexdigest()[:16]}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept), dtype=float)
    import torch

    from understudy.model import student

    model, tokenizer = student.load("minilm", ["a", "b"])
    encoder, found = model.bert.eval(), np.empty((len(texts), 384), np.float32)
    order = np.argsort([len(text) for text in texts], kind="stable")
    with torch.no_grad():
        for at in range(0, len(texts), 64):
            batch = order[at : at + 64]
            rows = tokenizer(
                [texts[i] for i in batch], padding=True, truncation=True, max_length=64, return_tensors="pt"
            )
            hidden = encoder(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state
            mask = rows["attention_mask"].unsqueeze(-1).float()
            found[batch] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(kept, found)
    return found.astype(float)


def read(name: str) -> Task:
    """Read a task's texts once each: "forum", "banking77" or "hotel"."""
    if name == "forum":
        file = SHARED / "data/suggestion-mining/a_train.csv"
        with file.open(encoding="utf-8", errors="replace", newline="") as lines:
            rows = [(row[1].strip('"'), row[2]) for row in csv.reader(lines)]
    else:
        file = HOTEL / "answers.csv" if name == "hotel" else SHARED / "data/banking77/train.csv"
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [(row["text"], row["label" if name == "hotel" else "category"]) for row in csv.DictReader(lines)]
    once = dict(rows)
    names = sorted(set(once.values()))
    codes = np.array([names.index(label) for label in once.values()])
    avoids = np.array([re.search(r"\bavoid", text, re.IGNORECASE) is not None for text in once])
    return Task(embedded(list(once)), codes, len(names) == 2, avoids)


@dataclass(frozen=True, slots=True)
class Learned:
    """A classifier with its decision rule."""

    model: LogisticRegression
    rule: DecisionRule

    def probabilities(self, vectors: Floats) -> Floats:
        """Return its probabilities, shape (texts, labels)."""
        return np.asarray(self.model.predict_proba(vectors))

    def answers(self, vectors: Floats) -> Column:
        """Return the labels that it gives."""
        return np.asarray(self.model.classes_[self.rule.choose(self.probabilities(vectors))])


def learned(
    task: Task, rows: Sequence[int], tune: Column, labels: Column | None = None, weights: Floats | None = None
) -> Learned:
    """Train on some texts; the threshold has the highest F1 on texts apart.

    Args:
        task: the texts.
        rows: that are learned.
        tune: texts by which the threshold is chosen.
        labels: of `rows`, where they are not people's.
        weights: of `rows`.
    """
    given = task.labels[list(rows)] if labels is None else labels
    model = LogisticRegression(C=30.0, class_weight="balanced", max_iter=200)
    model.fit(task.vectors[list(rows)], given, sample_weight=weights)
    if not task.is_binary:
        return Learned(model, DecisionRule())
    chance = model.predict_proba(task.vectors[tune])[:, 1]
    precision, found, cuts = precision_recall_curve(task.labels[tune] == 1, chance)
    best = (2 * precision * found / np.maximum(precision + found, 1e-9))[:-1].argmax()
    return Learned(model, DecisionRule(label=1, threshold=float(cuts[best])))


def score(task: Task, student: Learned, rows: Column) -> float:
    """Return F1 on some texts, or the mean F1 of all labels."""
    given, truth = student.answers(task.vectors[rows]), task.labels[rows]
    if task.is_binary:
        return float(f1(truth == 1, given == 1))
    return float(macro_f1(truth, given, int(task.labels.max()) + 1))


def parts(task: Task, seed: int) -> tuple[Column, Column, Column]:
    """Part the texts by lot: to tune, to test, and the pool."""
    order = np.random.default_rng(seed).permutation(len(task.labels))
    tune, test = min(TUNE, len(order) // 5), min(TEST, len(order) // 4)
    return order[:tune], order[tune : tune + test], order[tune + test :]


def ours(kind: str, task: Task, seed: int, most: int, step: int, first: int) -> list[int]:
    """Return the texts in the order in which one of our strategies has them labelled."""
    tune, _, pool = parts(task, seed)
    labelled, waiting = pool[:first].tolist(), pool[first:]
    while len(labelled) < most:
        student = learned(task, labelled, tune)
        distance = rules.distances(student.probabilities(task.vectors[waiting]), student.rule)
        rankings: Mapping[str, Callable[[], Sequence[int]]] = {
            "random": partial(range, step),
            "uncertainty": np.argsort(distance, kind="stable")[:step].tolist,
            "diversity": lambda: strategies.by_cover(task.vectors[waiting], step),  # noqa: B023 - called at once
        }
        kinds = ("uncertainty", "diversity", "random") if kind == "mixed" else (kind,)
        named = {name: [str(place) for place in rankings[name]()] for name in kinds}
        chosen = [int(place) for place in strategies.in_turns(named, step)]
        labelled += waiting[chosen].tolist()
        waiting = np.delete(waiting, chosen)
    return labelled


def rival_python() -> Path:
    """Return the Python of an environment that has small-text, made once."""
    folder = FOLDER / "small-text"
    python = folder / "bin/python"
    if not (folder / "done").is_file():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", SMALL_TEXT], check=True)
        (folder / "done").touch()
    return python


def rivals(**task: object) -> dict[str, list[int]]:
    """Let small-text answer a task of `small_text_rivals`, once."""
    digest = sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in task.values())).hexdigest()[:16]
    asked, answered = FOLDER / f"rivals-{digest}.npz", FOLDER / f"rivals-{digest}.json"
    if not answered.is_file():
        np.savez(asked, **task)
        script = Path(__file__).with_name("small_text_rivals.py")
        subprocess.run([rival_python(), script, asked, answered], check=True, env={**os.environ, "PYTHONPATH": ""})
        asked.unlink()
    found: dict[str, list[int]] = json.loads(answered.read_text(encoding="utf-8"))
    return found


def curves(task: Task, kinds: Sequence[str], step: int, first: int) -> dict[str, Floats]:
    """Return F1 by strategy at `first`, `first + step` ... `TARGET` labels, shape (seeds, sizes)."""
    found: dict[str, list[list[float]]] = {}
    for seed in SEEDS:
        tune, test, pool = parts(task, seed)
        orders = {kind: ours(kind, task, seed, TARGET, step, first) for kind in kinds}
        shared = {"vectors": task.vectors, "labels": task.labels, "first": pool[:first], "pool": pool[first:]}
        orders |= rivals(**shared, step=step, most=TARGET, seed=seed)
        for kind, order in orders.items():
            sizes = range(first, TARGET + 1, step)
            scores = [score(task, learned(task, order[:size], tune), test) for size in sizes]
            found.setdefault(kind, []).append(scores)
    return {kind: np.array(rows) for kind, rows in found.items()}


def needed(curve: Floats, aim: float, step: int, first: int) -> float:
    """Return the labels at which a curve, made one that never falls, first reaches an aim; `TARGET` where it does not.

    >>> needed(np.array([0.4, 0.5, 0.7]), 0.6, step=50, first=100)
    175.0
    """
    rising = np.maximum.accumulate(curve)
    above = np.flatnonzero(rising >= aim)
    if not len(above) or above[0] == 0:
        return float(TARGET if not len(above) else first)
    after = int(above[0])
    part = (aim - rising[after - 1]) / (rising[after] - rising[after - 1])
    return first + step * (after - 1 + float(part))


def resampled(figure: Callable[[Column], float]) -> Figure:
    """Return a figure of all seeds, with its interval over resamples of them; none of one seed."""
    seeds = np.arange(len(SEEDS))
    if len(seeds) < 2:
        return Figure(figure(seeds))
    rng = np.random.default_rng(0)
    draws = [figure(rng.choice(seeds, len(seeds))) for _ in range(1000)]
    return Figure(figure(seeds), *(float(end) for end in np.quantile(draws, [0.025, 0.975])))


def labels_saved(name: str, task: Task, kinds: Sequence[str], step: int, first: int) -> dict[str, Figure]:
    """Compare the labels that strategies need to reach what random sampling reaches with `TARGET`."""
    found = curves(task, kinds, step, first)

    def labels(kind: str, seeds: Column) -> float:
        return needed(found[kind][seeds].mean(axis=0), float(found["random"][seeds, -1].mean()), step, first)

    everyone, mine = np.arange(len(SEEDS)), "uncertainty"
    best = min((kind for kind in found if kind not in kinds), key=lambda kind: labels(kind, everyone))
    figures = {f"{name}_labels_{kind}": resampled(lambda seeds, kind=kind: labels(kind, seeds)) for kind in found}
    figures[f"{name}_f1_random"] = resampled(lambda seeds: float(found["random"][seeds, -1].mean()))
    figures[f"{name}_labels_saved"] = resampled(lambda seeds: 1 - labels(mine, seeds) / TARGET)
    figures[f"{name}_vs_small_text"] = resampled(lambda seeds: labels(mine, seeds) / labels(best, seeds))
    return figures


def taught_labels(task: Task, seed: int) -> Column:
    """Return what a simulated teacher says: it misses tips, those that say "avoid" most, and gives some by mistake."""
    lots = np.random.default_rng(seed + 77).random(len(task.labels))
    finds = np.where(task.avoids, AVOID_RECALL, TEACHER_RECALL)
    return np.where(task.labels == 1, lots < finds, lots < TEACHER_FALSE).astype(int)


def mined(task: Task, seed: int, answer_usd: float) -> dict[str, list[float]]:
    """Run the cycles of the recipe: teach, mine disagreements among what is worth asking, have people answer, again.

    Returns:
        by cycle, the first before any queue: F1, recall of tips that say "avoid", and the share of texts asked about.
    """
    tune, test, pool = parts(task, seed)
    said, config = taught_labels(task, seed), MineConfig(queue_size=QUEUE)
    human: list[int] = []
    taught = pool[:TAUGHT]
    rows: dict[str, list[float]] = {"f1": [], "avoid": [], "asked": []}
    for _ in range(CYCLES + 1):
        machine = [text for text in taught if text not in set(human)]
        labels = np.concatenate([said[machine], task.labels[human]]).astype(int)
        weights = np.concatenate([np.ones(len(machine)), np.full(len(human), 3.0)])
        student = learned(task, [*machine, *human], tune, labels, weights)
        slice_rows = test[task.avoids[test]]
        rows["f1"].append(score(task, student, test))
        rows["avoid"].append(
            float(recall(task.labels[slice_rows] == 1, student.answers(task.vectors[slice_rows]) == 1))
        )
        waiting = np.array([text for text in pool[TAUGHT:] if text not in set(human)])
        chances = student.probabilities(task.vectors[waiting])
        doubts = 1 - chances[np.arange(len(waiting)), student.rule.choose(chances)]
        worth = rules.worth_asking(doubts, answer_usd, LABEL_USD)
        asked = rules.to_ask(rules.distances(chances, student.rule), config, "publish", worth)
        rows["asked"].append(len(asked) / len(waiting))
        apart = np.abs(chances[asked, 1] - said[waiting[asked]])
        contested = [
            asked[place] for place in np.argsort(-apart, kind="stable") if apart[place] > config.min_disagreement
        ]
        human += waiting[contested[:QUEUE]].tolist()
    return rows


def recipe(task: Task) -> dict[str, Figure]:
    """Measure three cycles with the teacher that under-labels, and asking where it pays against asking about all."""
    frugal, lavish = ([mined(task, seed, usd) for seed in SEEDS] for usd in (ANSWER_USD, 0.0))

    def of(rows: Sequence[Mapping[str, list[float]]], name: str, cycle: int) -> Floats:
        return np.array([row[name][cycle] for row in rows])

    teacher = []
    for seed in SEEDS:
        test, said = parts(task, seed)[1], taught_labels(task, seed)
        teacher.append(float(f1(task.labels[test] == 1, said[test] == 1)))
    figures = {"teacher_f1": resampled(lambda seeds: float(np.mean(np.array(teacher)[seeds])))}
    for cycle in range(CYCLES + 1):
        figures[f"f1_after_{cycle}"] = resampled(
            lambda seeds, cycle=cycle: float(of(lavish, "f1", cycle)[seeds].mean())
        )
    last = of(lavish, "f1", CYCLES)
    slices = of(lavish, "avoid", CYCLES) - of(lavish, "avoid", 0)
    asked = np.array([np.mean(row["asked"][:CYCLES]) for row in frugal])
    equal = of(frugal, "f1", CYCLES) - last
    return figures | {
        "loop_gain": resampled(lambda seeds: float((last / np.array(teacher) - 1)[seeds].mean())),
        "slice_recall_gain": resampled(lambda seeds: float(slices[seeds].mean())),
        "asked_share": resampled(lambda seeds: float(asked[seeds].mean())),
        "asked_share_f1_difference": resampled(lambda seeds: float(equal[seeds].mean())),
    }


def stop_rules() -> dict[str, Figure]:
    """Measure how often a rule ends a simulated loop although the next cycle gains, and the cycles that it wastes."""
    loops = [stopping.loop(seed) for seed in range(LOOPS)]
    stops = {"": [stopping.ours(one) for one in loops], "_paired_alone": [stopping.paired_alone(one) for one in loops]}
    predictions = np.array([one.unlabelled[: stopping.CYCLES] for one in loops])
    stops |= {f"_{name}": found for name, found in rivals(predictions=predictions).items()}
    figures = {}
    for name, found in stops.items():
        judged = stopping.judged(loops, found)
        figures[f"stop_error{name}"] = Figure.of(wilson(float(judged["error"].sum()), len(loops)))
        wasted = judged["wasted"]
        half = 1.96 * float(wasted.std(ddof=1)) / len(loops) ** 0.5
        figures[f"cycles_wasted{name}"] = Figure(float(wasted.mean()), wasted.mean() - half, wasted.mean() + half)
    return figures


def main() -> None:
    """Measure, and report."""
    started = time.monotonic()
    print(f"About {'half an hour' if IS_SMALL else 'two hours'} on two cores, of it the vectors once.", flush=True)
    figures = recipe(read("hotel"))
    kinds = ("random", "uncertainty", "diversity", "mixed")
    figures |= labels_saved("forum", read("forum"), kinds, STEP, FIRST)
    if not IS_SMALL:
        figures |= labels_saved("banking77", read("banking77"), kinds[:2], 100, 300)
    figures |= stop_rules()
    settings = {"target": TARGET, "step": STEP, "first": FIRST, "loops": LOOPS, "learner": "logistic regression"}
    report("loop", figures, {**settings, "small_text": SMALL_TEXT}, list(SEEDS), time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
