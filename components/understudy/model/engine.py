"""Run an ONNX classifier over texts in length-sorted batches, as fast as this machine can.

    texts -> pieces that fit into memory -> Tokens -> batches of like length -> logits, in the order of the texts

One session of one thread is called by several Python threads at once: `run` releases Python's lock and may be called
from many threads, so the weights lie in memory once. Needs numpy, onnxruntime and tokenizers; neither torch nor
transformers.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from understudy.errors import BadArtifact
from understudy.model import tokenizer_files
from understudy.model.onnx import files
from understudy.runtime.machine import cores

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Ids = np.ndarray[tuple[int, ...], np.dtype[np.int32]]
Given = TypeVar("Given")
Made = TypeVar("Made")

BATCH_TOKENS = 512  # padded; for one core the best of 128 to 2,048 on every model, or as good (docs/log.md)
TYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}
INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
PIECE_TEXTS = 8192  # texts held in memory as token ids at a time; like lengths are sought among them
PIECE_CHARS = 2_000_000  # and their characters: the tokens of 100,000 words take about 200 MB


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of texts; a text of more tokens than the model takes at once is several windows, one after another.

    Attributes:
        ids: of all windows, shape (tokens,).
        starts: where each window begins in `ids`, and where the last one ends, shape (all windows + 1,).
        windows: of each text, shape (texts,); at least 1.
    """

    ids: Ids
    starts: Integers
    windows: Integers

    @property
    def lengths(self) -> Integers:
        """Tokens of each window, shape (all windows,)."""
        return np.diff(self.starts)

    @property
    def first_windows(self) -> Integers:
        """Each text's first window, and the end of the last text's, shape (texts + 1,)."""
        return np.concatenate([[0], np.cumsum(self.windows)])

    @property
    def text_starts(self) -> Integers:
        """Where each text begins in `ids`, and where the last one ends, shape (texts + 1,)."""
        return np.asarray(self.starts[self.first_windows])

    def windows_of(self, positions: Integers) -> Integers:
        """Return the windows of some texts, a text's one after another, shape (their windows,).

        >>> Tokens(np.arange(9, dtype=np.int32), np.array([0, 4, 8, 9]), np.array([2, 1])).windows_of(np.array([1, 0]))
        array([2, 0, 1])
        """
        counts = self.windows[positions]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.asarray(np.repeat(self.first_windows[positions], counts) + within)


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
    sorted_lengths = np.asarray(lengths)[order].tolist()
    start = 0
    for end in range(1, len(order) + 1):
        is_full = end == len(order) or sorted_lengths[end] * (end + 1 - start) > token_budget
        if is_full:
            yield order[start:end]
            start = end


def even_budget(lengths: Integers, threads: int) -> int:
    """Padded tokens of a batch with which few texts still give each thread one.

    >>> even_budget(np.array([6, 7, 8, 7]), threads=2)
    22
    """
    return int(lengths.sum() // threads + lengths.max(initial=0))


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


def padded(tokens: Tokens, windows: Integers, pad_id: int) -> tuple[Ids, Bools]:
    """Lay windows beside one another, filled up to the longest one's length.

    Args:
        tokens: of texts.
        windows: which ones, shape (rows,).
        pad_id: what the shorter ones are filled with.

    Returns:
        token ids and which of them are tokens of the text, both of shape (rows, longest).
    """
    starts, ends = tokens.starts[windows, None], tokens.starts[windows + 1, None]
    places = starts + np.arange((ends - starts).max())
    is_token = places < ends
    ids = np.where(is_token, tokens.ids.take(places, mode="clip"), np.int32(pad_id))
    return ids, is_token


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
    if windows.max(initial=1) == 1:
        return of_first
    weights = np.maximum(tokens, 1)[:, None]  # a text without a token has one empty window
    total = np.add.reduceat(logits * weights, starts) / np.add.reduceat(weights, starts)
    return np.where(windows[:, None] == 1, of_first, total)


def encodable(text: str) -> str:
    """Return the text with lone surrogates replaced, which no tokenizer can read."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Graph:
    """An ONNX classifier with its tokenizer.

    A text of more tokens than the model takes at once is read in windows of that length, one after another and without
    overlap; its logits are the mean of theirs, weighted by their tokens.

    Args:
        model_path: the ONNX file; inputs among input_ids, attention_mask, token_type_ids; first output the logits.
        tokenizer_path: `tokenizer.json` of the tokenizers library.
        max_length: tokens of a window.
        pad_id: token that fills a batch.
        threads: that score batches at the same time; 0 for all cores.
        batch_tokens: most tokens of a batch, padding included; a longer window is a batch of its own.
        labels: how many the graph must score; None for as many as it has.

    Raises:
        BadArtifact: graph or tokenizer are damaged, do not fit together, or would take more than their share of memory.
    """

    def __init__(
        self,
        model_path: Path,
        tokenizer_path: Path,
        max_length: int,
        pad_id: int = 0,
        threads: int = 0,
        batch_tokens: int = BATCH_TOKENS,
        labels: int | None = None,
    ) -> None:
        self.max_length, self.pad_id = max_length, pad_id
        self.threads, self.batch_tokens = threads or cores(), batch_tokens
        self._where = str(model_path)
        self._tokenizer = _tokenizer(tokenizer_path, max_length)
        size = _size(model_path)
        files.require_sound(model_path)
        import onnxruntime  # noqa: F401 - before memory is counted

        with files.within_memory(size):
            self._session = _session(model_path)
            self._inputs = {node.name: TYPES.get(node.type) for node in self._session.get_inputs()}
            self._labels = self._label_count(labels)
            self._run(
                Tokens(np.zeros(1, np.int32), np.array([0, 1]), np.ones(1, np.int64)), np.zeros(1, np.int64), math.inf
            )

    def _label_count(self, wanted: int | None) -> int:
        """Return how many labels the graph scores."""
        shape = self._session.get_outputs()[0].shape
        if not {"input_ids"} <= set(self._inputs) <= INPUTS or None in self._inputs.values():
            given = ", ".join(sorted(self._inputs))[:80]
            raise BadArtifact(f"A graph must take token ids as integers, got the inputs {given} ({self._where}).")
        if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] != (wanted or max(2, shape[1])):
            raise BadArtifact(
                f"A graph must give logits of shape (texts, {wanted or 'labels'}), got {str(shape)[:80]} "
                f"({self._where}). Export it again."
            )
        return shape[1]

    @property
    def vocabulary(self) -> int:
        """One more than the highest token id that the tokenizer gives."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    def suited(self, threads: int, batch_tokens: int) -> "Graph":
        """Return the same graph with other settings; both share one session."""
        changed = copy.copy(self)
        changed.threads, changed.batch_tokens = threads, batch_tokens
        return changed

    def logits(self, texts: Sequence[str]) -> Floats:
        """Score texts.

        Returns:
            raw logits, shape (texts, labels), in the order of `texts`.
        """
        scored = [self.logits_of(tokens) for tokens in self.pieces_of(texts)]
        return np.concatenate([np.empty((0, self._labels)), *scored])

    def pieces_of(self, texts: Sequence[str]) -> Iterator[Tokens]:
        """Yield the tokens of as many texts as memory may hold, in order."""
        return map(self.tokens, pieces(texts))

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Turn texts into token ids, all at once: mind the memory, or take `pieces_of`."""
        rows: list[list[int]] = []
        windows = np.ones(len(texts), dtype=np.int64)
        share = -(-len(texts) // self.threads) or 1  # the tokenizer's own threads may be off (TOKENIZERS_PARALLELISM)
        shares = [[encodable(text) for text in texts[at : at + share]] for at in range(0, len(texts), share)]
        try:
            encoded = on_threads(self._tokenizer.encode_batch_fast, shares, self.threads)
        except Exception as error:  # tokenizers raises bare Exceptions
            raise BadArtifact(f"A tokenizer must read every text, got {error!s:.200} ({self._where}).") from error
        for index, encoding in enumerate(chain.from_iterable(encoded)):
            more = encoding.overflowing
            rows.append(encoding.ids)
            rows.extend(window.ids for window in more)
            windows[index] += len(more)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        return Tokens(np.fromiter(chain.from_iterable(rows), np.int32, int(starts[-1])), starts, windows)

    def logits_of(self, tokens: Tokens, positions: Integers | None = None, until_s: float = math.inf) -> Floats:
        """Score texts from their tokens, in batches of like length.

        Args:
            tokens: of texts.
            positions: of the texts to score, shape (some texts,); None for all.
            until_s: time of `time.perf_counter` from which on no batch is begun.

        Returns:
            raw logits, shape (some texts, labels), in the order of `positions`.

        Raises:
            TimeoutError: batches were left at `until_s`.
        """
        positions = np.arange(len(tokens.windows)) if positions is None else positions
        windows = tokens.windows_of(positions)
        lengths = tokens.lengths[windows]
        budget = min(self.batch_tokens, even_budget(lengths, self.threads))
        batches = list(length_batches(lengths.tolist(), budget))[::-1]  # the slowest first: an even end
        scored = on_threads(lambda batch: self._run(tokens, windows[batch], until_s), batches, self.threads)
        logits = np.empty((len(windows), self._labels))
        for batch, found in zip(batches, scored, strict=True):
            logits[batch] = found
        return joined(logits, lengths, tokens.windows[positions])

    def _run(self, tokens: Tokens, windows: Integers, until_s: float) -> Floats:
        if time.perf_counter() > until_s:
            raise TimeoutError
        ids, is_token = padded(tokens, windows, self.pad_id)
        feeds = {"input_ids": ids, "attention_mask": is_token, "token_type_ids": np.zeros_like(ids)}
        typed = {name: feeds[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        try:
            logits = np.asarray(self._session.run(None, typed)[0], dtype=np.float64)
        except Exception as error:  # onnxruntime raises kinds of its own, which have no name that lasts
            raise BadArtifact(f"A graph must read every token id, got {error!s:.200} ({self._where}).") from error
        if logits.shape != (len(windows), self._labels) or not np.isfinite(logits).all():
            found = f"shape {logits.shape}" if logits.shape != (len(windows), self._labels) else "one that is not"
            raise BadArtifact(
                f"A graph must give finite logits of shape ({len(windows)}, {self._labels}), got {found} "
                f"({self._where}). Export it again."
            )
        return logits


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise BadArtifact(f"A graph must be a readable ONNX model with its tokenizer, got {error}.") from error


def _session(path: Path) -> Any:
    """Open an ONNX file that was looked into before."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises bare Exceptions of its own for a corrupt file
        raise BadArtifact(f"A graph must be a readable ONNX model with its tokenizer, got {error}.") from error


def _tokenizer(path: Path, max_length: int) -> Any:
    """Open a tokenizer that was looked into before."""
    from tokenizers import Tokenizer

    tokenizer_files.require_sound(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
    except Exception as error:  # it raises bare Exceptions of its own for a corrupt file
        raise BadArtifact(f"A graph must be a readable ONNX model with its tokenizer, got {error}.") from error
    return tokenizer


def on_threads(function: Callable[[Given], Made], items: Sequence[Given], threads: int) -> list[Made]:
    """Apply a function to items on so many threads at once; in this one when that is enough. Keeps the order."""
    workers = min(threads, len(items))
    if workers <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))
