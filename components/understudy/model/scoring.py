"""Open a published bundle and score texts: the one function that evaluate, predict and the nightly run share.

Needs numpy, onnxruntime and tokenizers; neither torch nor transformers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from understudy.model import tuning
from understudy.model.calibration import Sigmoid, positive_log_odds
from understudy.model.cascade import Cascade, below
from understudy.model.engine import Bools, Floats, Graph, Integers, Tokens
from understudy.store import codecs
from understudy.store.bundles import MOST_TOKENS, check_files, read_settings
from understudy.store.names import inside, require_name


def exported_graph(graphs: Path, about: Mapping[str, Any], name: str) -> Graph:
    """Open one of the graphs that export wrote; `about` is its graphs.json.

    Raises:
        BadArtifact: what graphs.json says cannot be, or the graph cannot serve.
    """
    where = str(graphs)
    length, pad_id = (about.get(key) for key in ("max_length", "pad_id"))
    if not isinstance(length, int) or not isinstance(pad_id, int) or not (0 < length <= MOST_TOKENS and pad_id >= 0):
        raise codecs.unreadable("graphs with max_length and pad_id", f"{length!r:.40} and {pad_id!r:.40}", where)
    model = inside(graphs, f"{require_name('path', name, where)}/model.onnx", where)
    return Graph(model, inside(graphs, "tokenizer.json", where), length, pad_id)


def settled_probability(cascade: Cascade, scores: Floats, calibrator: Sigmoid, threshold: float) -> Floats:
    """Probability of the positive label of settled texts: by the student's calibrator, and under the threshold.

    Args:
        cascade: its shift makes the mean that of the student.
        scores: of the first stage, shape (texts,).
        calibrator: of the student's log-odds.
        threshold: of the bundle.
    """
    return below(calibrator.probability(scores + cascade.shift), threshold)


class Scored(NamedTuple):
    """What a bundle says of texts.

    Attributes:
        probabilities: calibrated, shape (texts, labels).
        windows: how many each text has, shape (texts,).
        is_settled: whether the first stage decided, without the student; shape (texts,).
    """

    probabilities: Floats
    windows: Integers
    is_settled: Bools


@dataclass(frozen=True)
class Bundle:
    """A calibrated classifier ready to serve; open it with `Bundle.open`.

    Attributes:
        folder: where it lies.
        version: its name in the registry.
        labels: names, in the order of the columns of `probabilities`.
        positive_label: the label whose probability the threshold is compared with.
        threshold: at or above it a text gets the positive label.
        is_rehearsal: a rehearsal teacher had a part in it.
        settings: the whole of bundle.json.
        graph: the student.
        calibrator: of the student's log-odds.
        cascade: settles the obvious negatives without the student; None where there is none.
    """

    folder: Path
    version: str
    labels: tuple[str, ...]
    positive_label: str
    threshold: float
    is_rehearsal: bool
    settings: Mapping[str, Any]
    graph: Graph
    calibrator: Sigmoid
    cascade: Cascade | None = None

    @classmethod
    def open(cls, folder: Path, threads: int = 0) -> "Bundle":
        """Open a bundle after checking the hash of each of its files.

        Raises:
            BadArtifact: a file is missing, altered or unreadable, or the format is of another version.
        """
        settings = read_settings(folder)
        check_files(folder, settings["files"])
        labels = len(settings["labels"])
        model, tokenizer = folder / "model.onnx", folder / "tokenizer.json"
        graph = Graph(model, tokenizer, settings["max_length"], settings["pad_id"], threads, labels=labels)
        return cls(
            folder=folder,
            version=settings["version"],
            labels=tuple(settings["labels"]),
            positive_label=settings["positive_label"],
            threshold=settings["threshold"],
            is_rehearsal=settings["is_rehearsal"],
            settings=settings,
            graph=graph,
            calibrator=Sigmoid(**settings["calibrator"]),
            cascade=Cascade.open(folder, settings.get("cascade"), graph.vocabulary),
        )

    def tuned(self, texts: int, threads: int = 0, batch_tokens: int = 0) -> "Bundle":
        """Return the bundle with the settings that suit this machine and so many texts; `tuning.tuned` says how."""
        model_hash = self.settings["files"]["model.onnx"]
        return replace(self, graph=tuning.tuned(self.graph, model_hash, texts, threads, batch_tokens))

    @property
    def positive_index(self) -> int:
        """Column of the positive label."""
        return self.labels.index(self.positive_label)

    def log_odds(self, texts: Sequence[str]) -> Floats:
        """Return the raw log-odds of the positive label, shape (texts,)."""
        return positive_log_odds(self.graph.logits(texts), self.positive_index)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Return calibrated probabilities, shape (texts, labels)."""
        return self.score(texts)[0]

    def score(self, texts: Sequence[str]) -> Scored:
        """Label texts: the first stage settles what it may, the student reads the rest."""
        nothing = np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        found = [nothing, *(self._read(tokens) for tokens in self.graph.pieces_of(texts))]
        positive, windows, is_settled = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Scored(self.columns(positive), windows, is_settled)

    def _read(self, tokens: Tokens) -> tuple[Floats, Integers, Bools]:
        """Return the positive label's probability, windows and stage of some texts, each of shape (texts,)."""
        positive: Floats = np.empty(len(tokens.windows))
        is_settled: Bools = np.zeros(len(tokens.windows), dtype=np.bool_)
        if self.cascade is not None:
            scores = self.cascade.first.scores(tokens)
            is_settled = self.cascade.settles(scores)
            positive[is_settled] = settled_probability(
                self.cascade, scores[is_settled], self.calibrator, self.threshold
            )
        left = np.flatnonzero(~is_settled)
        logits = self.graph.logits_of(tokens, left)
        positive[left] = self.calibrator.probability(positive_log_odds(logits, self.positive_index))
        return positive, tokens.windows, is_settled

    def columns(self, positive: Floats) -> Floats:
        """Return the probabilities of all labels, shape (texts, labels), from the positive one's, shape (texts,)."""
        columns = [positive if label == self.positive_label else 1.0 - positive for label in self.labels]
        return np.stack(columns, axis=1)

    def choose(self, probabilities: Floats) -> Integers:
        """Column of each text's label: the positive one from the threshold upwards, else the likeliest other one."""
        others = probabilities.copy()
        others[:, self.positive_index] = -1.0
        return np.where(self.decide(probabilities), self.positive_index, others.argmax(axis=1))

    def decide(self, probabilities: Floats) -> Bools:
        """Which texts get the positive label. Shape (texts,)."""
        return np.asarray(probabilities[:, self.positive_index] >= self.threshold)
