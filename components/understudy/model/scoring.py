"""Open a published bundle and score texts: the one function that evaluate, predict and the nightly run share.

Needs numpy, onnxruntime and tokenizers; neither torch nor transformers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from understudy.model import tuning
from understudy.model.calibration import Calibrator
from understudy.model.cascade import Cascade
from understudy.model.decision import DecisionRule
from understudy.model.engine import Bools, Floats, Graph, Integers, Tokens
from understudy.stats.metrics import Codes
from understudy.store import codecs
from understudy.store.bundles import MOST_TOKENS, check_files, read_settings
from understudy.store.names import inside, require_name
from understudy.task.labels import LabelSpace


def exported_graph(graphs: Path, about: Mapping[str, Any], name: str, labels: int) -> Graph:
    """Open one of the graphs that export wrote; `about` is its graphs.json, and the task has so many labels.

    Raises:
        BadArtifact: what graphs.json says cannot be, or the graph cannot serve.
    """
    where = str(graphs)
    length, pad_id = (about.get(key) for key in ("max_length", "pad_id"))
    if not isinstance(length, int) or not isinstance(pad_id, int) or not (0 < length <= MOST_TOKENS and pad_id >= 0):
        raise codecs.unreadable("graphs with max_length and pad_id", f"{length!r:.40} and {pad_id!r:.40}", where)
    model = inside(graphs, f"{require_name('path', name, where)}/model.onnx", where)
    return Graph(model, inside(graphs, "tokenizer.json", where), length, pad_id, labels=labels)


def space_of(settings: Mapping[str, Any]) -> LabelSpace:
    """Return the labels that bundle.json names."""
    is_many = settings.get("labels_per_text") == "many"
    return LabelSpace(tuple(settings["labels"]), settings["positive_label"], is_many)


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
        space: the labels, in the order of the columns of `probabilities`.
        rule: by which a text gets its label.
        is_rehearsal: a rehearsal teacher had a part in it.
        settings: the whole of bundle.json.
        graph: the student.
        calibrator: of the student's logits.
        cascade: settles obvious texts of the commonest label without the student; None where there is none.
    """

    folder: Path
    version: str
    space: LabelSpace
    rule: DecisionRule
    is_rehearsal: bool
    settings: Mapping[str, Any]
    graph: Graph
    calibrator: Calibrator
    cascade: Cascade | None = None

    @classmethod
    def open(cls, folder: Path, threads: int = 0) -> "Bundle":
        """Open a bundle after checking the hash of each of its files.

        Raises:
            BadArtifact: a file is missing, altered or unreadable, or the format is of another version.
        """
        settings = read_settings(folder)
        check_files(folder, settings["files"])
        space = space_of(settings)
        model, tokenizer = folder / "model.onnx", folder / "tokenizer.json"
        graph = Graph(model, tokenizer, settings["max_length"], settings["pad_id"], threads, labels=len(space))
        return cls(
            folder=folder,
            version=settings["version"],
            space=space,
            rule=DecisionRule.of_record(settings["decision"]),
            is_rehearsal=settings["is_rehearsal"],
            settings=settings,
            graph=graph,
            calibrator=Calibrator(
                slopes=np.asarray(settings["calibrator"]["slopes"]),
                biases=np.asarray(settings["calibrator"]["biases"]),
                is_many=space.is_many,
            ),
            cascade=Cascade.open(folder, settings.get("cascade"), graph.vocabulary),
        )

    def tuned(self, texts: int, threads: int = 0, batch_tokens: int = 0) -> "Bundle":
        """Return the bundle with the settings that suit this machine and so many texts; `tuning.tuned` says how."""
        model_hash = self.settings["files"]["model.onnx"]
        return replace(self, graph=tuning.tuned(self.graph, model_hash, texts, threads, batch_tokens))

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Return calibrated probabilities, shape (texts, labels)."""
        return self.score(texts).probabilities

    def student_probabilities(self, texts: Sequence[str]) -> Floats:
        """Return what the student alone says, also of texts that the first stage settles; shape (texts, labels)."""
        return self._calibrated(self.graph.logits(texts))

    def score(self, texts: Sequence[str]) -> Scored:
        """Label texts: the first stage settles what it may, the student reads the rest."""
        labels = len(self.space)
        nothing = np.empty((0, labels)), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        found = [nothing, *(self._read(tokens) for tokens in self.graph.pieces_of(texts))]
        return Scored(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _read(self, tokens: Tokens) -> tuple[Floats, Integers, Bools]:
        """Return probabilities of shape (texts, labels), and windows and stage of shape (texts,), of some texts."""
        texts = len(tokens.windows)
        probabilities: Floats = np.empty((texts, len(self.space)))
        is_settled: Bools = np.zeros(texts, dtype=np.bool_)
        if self.cascade is not None:
            scores = self.cascade.first.scores(tokens)
            is_settled = self.cascade.settles(scores)
            probabilities[is_settled] = self.cascade.probabilities(scores[is_settled])
        left = np.flatnonzero(~is_settled)
        probabilities[left] = self._calibrated(self.graph.logits_of(tokens, left))
        return probabilities, tokens.windows, is_settled

    def _calibrated(self, logits: Floats) -> Floats:
        """Return probabilities, shape (texts, labels), of which what a night keeps says the same labels again.

        Where a text may have several labels it keeps all of them, as 32-bit floats.
        """
        found = self.calibrator.probabilities(logits)
        return found.astype(np.float32).astype(np.float64) if self.space.is_many else found

    def choose(self, probabilities: Floats) -> Codes:
        """Codes of the labels that texts get by the bundle's rule, as `LabelSpace` has them."""
        return self.rule.choose(probabilities)
