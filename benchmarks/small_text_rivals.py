"""Ask small-text what to label next and when to stop; run in an environment of its own, which has small-text and numpy.

    python benchmarks/small_text_rivals.py TASK.npz OUT.json

TASK.npz holds either `vectors`, `labels`, `first`, `pool`, `step` and `most` (in which order are texts labelled?) or
`predictions` of shape (loops, cycles, texts) (after which cycle does a criterion stop?). It imports nothing of ours.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from small_text import (
    BreakingTies,
    ClassificationChange,
    DeltaFScore,
    EmbeddingKMeans,
    KappaAverage,
    PredictionEntropy,
)


class Known:
    """A classifier whose probabilities are known; a strategy asks it about the whole set."""

    def __init__(self, model: Any, vectors: Any) -> None:
        self.model, self.vectors = model, vectors

    def predict_proba(self, _dataset: Any) -> Any:
        """Return its probabilities of all texts."""
        return self.model.predict_proba(self.vectors)


def gradients(model: Any, vectors: Any) -> Any:
    """Return what BADGE clusters: the gradient of the loss in the last layer, taking the likeliest label for true."""
    probabilities = model.predict_proba(vectors)
    excess = probabilities - np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return (excess[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1)


def order(strategy: Any, task: Mapping[str, Any], seed: int) -> list[int]:
    """Return the texts in the order in which a strategy has them labelled."""
    np.random.seed(seed)  # small-text draws by it
    vectors, labels = task["vectors"], task["labels"]
    labelled, pool, step = list(task["first"]), list(task["pool"]), int(task["step"])
    while len(labelled) < int(task["most"]):
        model = LogisticRegression(C=30.0, class_weight="balanced", max_iter=200).fit(
            vectors[labelled], labels[labelled]
        )
        given = {"embeddings": gradients(model, vectors), "pbar": None} if isinstance(strategy, EmbeddingKMeans) else {}
        rows = np.array(pool), np.array(labelled)
        chosen = strategy.query(Known(model, vectors), vectors, *rows, labels[labelled], n=step, **given)
        labelled += [int(text) for text in chosen]
        taken = set(labelled)
        pool = [text for text in pool if text not in taken]
    return [int(text) for text in labelled]


def stop(make: Callable[[], Any], predictions: Any) -> int:
    """Return the cycle after which a criterion stops, the last where it never does."""
    criterion = make()
    for cycle, given in enumerate(predictions):
        if criterion.stop(predictions=given.astype(int)):
            return cycle
    return len(predictions) - 1


def main(task_file: str, out_file: str) -> None:
    """Answer one task."""
    task = dict(np.load(task_file))
    if "predictions" in task:
        criteria = {
            "kappa_average": lambda: KappaAverage(2),
            "delta_f_score": lambda: DeltaFScore(2),
            "classification_change": lambda: ClassificationChange(2, threshold=0.01),
        }
        found = {name: [stop(make, loop) for loop in task["predictions"]] for name, make in criteria.items()}
    else:
        strategies = {"breaking_ties": BreakingTies(), "prediction_entropy": PredictionEntropy()}
        if len(set(task["labels"])) == 2:  # with 77 labels the gradients have 77 times the width
            strategies["badge_like"] = EmbeddingKMeans(normalize=False)
        found = {name: order(strategy, task, int(task["seed"])) for name, strategy in strategies.items()}
    Path(out_file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
