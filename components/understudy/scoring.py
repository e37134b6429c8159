"""Open a published bundle and score texts: the one function that evaluate, predict and the nightly run share.

Needs numpy, onnxruntime and tokenizers; neither torch nor transformers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.bundles import check_files, read_settings
from understudy.errors import BadArtifact
from understudy.machine import cores
from understudy.task import Card

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

BATCH_TOKENS = 2048  # padded; 1,024 to 2,048 measured best for MiniLM and DeBERTa on two cores
PIECE_TEXTS = 4096  # texts held in memory as token ids at a time
PIECE_CHARS = 2_000_000  # and their characters: the tokens of 100,000 words take about 200 MB


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """Platt's calibrator: P(positive) = 1 / (1 + exp(-(slope * log_odds + bias)))."""

    slope: float
    bias: float

    def probability(self, log_odds: Floats) -> Floats:
        """Return calibrated probabilities, same shape as `log_odds`.

        >>> Sigmoid(slope=2.0, bias=0.0).probability(np.array([0.0]))
        array([0.5])
        """
        return 1.0 / (1.0 + np.exp(-np.clip(self.slope * log_odds + self.bias, -500, 500)))


def positive_log_odds(logits: Floats, positive_index: int) -> Floats:
    """Natural-log odds of one label against all others.

    Args:
        logits: shape (texts, labels).
        positive_index: column of the positive label.

    Returns:
        shape (texts,).

    >>> positive_log_odds(np.array([[1.0, 3.0]]), positive_index=1)
    array([2.])
    """
    others = np.delete(logits, positive_index, axis=1)
    highest = others.max(axis=1)
    total = np.exp(others - highest[:, None]).sum(axis=1)
    return np.asarray(logits[:, positive_index] - highest - np.log(total), dtype=np.float64)


def length_batches(lengths: Sequence[int], token_budget: int) -> Iterator[Integers]:
    """Cut texts into batches of like length whose padded size stays within a budget.

    Args:
        lengths: tokens of each text.
        token_budget: most tokens a batch may hold, padding included; a longer text is a batch of its own.

    Yields:
        positions of a batch's texts, shortest texts first.

    >>> [batch.tolist() for batch in length_batches([5, 1, 2, 9], token_budget=6)]
    [[1, 2], [0], [3]]
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        is_full = end == len(order) or lengths[order[end]] * (end + 1 - start) > token_budget
        if is_full:
            yield order[start:end]
            start = end


def pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts into pieces whose tokens fit into memory; a very long text is a piece of its own."""
    start = chars = 0
    for end, text in enumerate(texts):
        if end > start and (end - start == PIECE_TEXTS or chars + len(text) > PIECE_CHARS):
            yield texts[start:end]
            start, chars = end, 0
        chars += len(text)
    if start < len(texts):
        yield texts[start:]


def joined(logits: Floats, tokens: Integers, windows: Integers) -> Floats:
    """Mean of the logits of each text's windows, weighted by their tokens; a single window's are kept as they are.

    Args:
        logits: shape (all windows, labels), the windows of a text one after another.
        tokens: of each window, shape (all windows,).
        windows: of each text, shape (texts,).

    Returns:
        shape (texts, labels).

    >>> joined(np.array([[0.0, 1.0], [0.0, 4.0], [0.0, 9.0]]), np.array([2, 1, 3]), np.array([2, 1]))
    array([[0., 2.],
           [0., 9.]])
    """
    starts = np.cumsum(windows) - windows
    of_first: Floats = logits[starts]
    if windows.max() == 1:
        return of_first
    weights = np.maximum(tokens, 1)[:, None]  # a text without a token has one empty window
    total = np.add.reduceat(logits * weights, starts) / np.add.reduceat(weights, starts)
    return np.where(windows[:, None] == 1, of_first, total)


class Graph:
    """An ONNX classifier with its tokenizer.

    A text of more tokens than the model takes at once is read in windows of that length, one after another and without
    overlap; its logits are the mean of theirs, weighted by their tokens.

    Args:
        model_path: the ONNX file; inputs among input_ids, attention_mask, token_type_ids; first output the logits.
        tokenizer_path: `tokenizer.json` of the tokenizers library.
        max_length: tokens of a window.
        pad_id: token that fills a batch.
        threads: of one session; 0 for all cores.
    """

    def __init__(
        self, model_path: Path, tokenizer_path: Path, max_length: int, pad_id: int = 0, threads: int = 0
    ) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_file(str(tokenizer_path))
        except Exception as error:  # both libraries raise bare Exceptions of their own for a corrupt file
            raise BadArtifact(f"A graph must be a readable ONNX model with its tokenizer, got {error}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._pad_id = pad_id
        self._inputs = [node.name for node in self._session.get_inputs()]

    def logits(self, texts: Sequence[str]) -> Floats:
        """Score texts, in batches of like length.

        Returns:
            raw logits, shape (texts, labels), in the order of `texts`.
        """
        return self.logits_and_windows(texts)[0]

    def logits_and_windows(self, texts: Sequence[str]) -> tuple[Floats, Integers]:
        """Score texts; also return how many windows each was read in, shape (texts,)."""
        scored = [self._piece(piece) for piece in pieces(texts)]
        if not scored:
            return np.empty((0, 2)), np.empty(0, dtype=np.int64)
        return np.concatenate([logits for logits, _ in scored]), np.concatenate([windows for _, windows in scored])

    def _piece(self, texts: Sequence[str]) -> tuple[Floats, Integers]:
        rows, windows = self._windows(texts)
        lengths = [len(row) for row in rows]
        logits: Floats | None = None
        for batch in length_batches(lengths, BATCH_TOKENS):
            scored = self._run([rows[position] for position in batch])
            logits = np.empty((len(rows), scored.shape[1])) if logits is None else logits
            logits[batch] = scored
        assert logits is not None  # noqa: S101 - there is at least one text, so at least one batch
        return joined(logits, np.asarray(lengths), windows), windows

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], Integers]:
        """Return the token ids of every window, a text's one after another, and how many each text has."""
        rows: list[list[int]] = []
        windows = np.ones(len(texts), dtype=np.int64)
        for index, encoding in enumerate(self._tokenizer.encode_batch([encodable(text) for text in texts])):
            more = encoding.overflowing
            rows.append(encoding.ids)
            rows.extend(window.ids for window in more)
            windows[index] += len(more)
        return rows, windows

    def _run(self, rows: list[list[int]]) -> Floats:
        width = max(map(len, rows))
        ids = np.full((len(rows), width), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        outputs = self._session.run(None, {name: feeds[name] for name in self._inputs})
        return np.asarray(outputs[0], dtype=np.float64)


def exported_log_odds(graphs: Path, about: Mapping[str, Any], name: str, card: Card, texts: Sequence[str]) -> Floats:
    """Score texts with one of the graphs that export wrote.

    Args:
        graphs: export's folder.
        about: its graphs.json.
        name: "fp32" or "int8".
        card: names the positive label.
        texts: what to score.

    Returns:
        log-odds of the positive label, shape (texts,).
    """
    graph = Graph(graphs / name / "model.onnx", graphs / "tokenizer.json", about["max_length"], about["pad_id"])
    return positive_log_odds(graph.logits(texts), card.positive_index)


def encodable(text: str) -> str:
    """Return the text with lone surrogates replaced, which no tokenizer can read."""
    return text.encode("utf-8", "replace").decode("utf-8")


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

    @classmethod
    def open(cls, folder: Path, threads: int = 0) -> "Bundle":
        """Open a bundle after checking the hash of each of its files.

        Raises:
            BadArtifact: a file is missing, altered or unreadable, or the format is of another version.
        """
        settings = read_settings(folder)
        check_files(folder, settings["files"])
        return cls(
            folder=folder,
            version=settings["version"],
            labels=tuple(settings["labels"]),
            positive_label=settings["positive_label"],
            threshold=settings["threshold"],
            is_rehearsal=settings["is_rehearsal"],
            settings=settings,
            graph=Graph(
                folder / "model.onnx", folder / "tokenizer.json", settings["max_length"], settings["pad_id"], threads
            ),
            calibrator=Sigmoid(**settings["calibrator"]),
        )

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

    def score(self, texts: Sequence[str]) -> tuple[Floats, Integers]:
        """Return calibrated probabilities, shape (texts, labels), and how many windows each text was read in."""
        logits, windows = self.graph.logits_and_windows(texts)
        positive = self.calibrator.probability(positive_log_odds(logits, self.positive_index))
        return self.columns(positive), windows

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
