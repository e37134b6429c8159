"""Fit the first stage of the cascade to the student's own answers on the pool.

It settles one label: the one that the student gives most often to these texts, but for the label that is looked for.

The regression is ridge on the log-odds. A text's columns are its tokens, its pairs of neighbours and the sum of its
tokens' embeddings as the student holds them, each divided by the square root of the tokens. The sum of embeddings is
linear in the tokens, so it costs nothing when it serves: it becomes part of the tokens' own weights, and gives one to
words that the pool lacks.

Source: Hoerl and Kennard, "Ridge regression", 1970; the student as teacher of a smaller one: Hinton, Vinyals and Dean,
"Distilling the knowledge in a neural network", 2015.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy.model import cascade, student
from understudy.model.calibration import log_odds
from understudy.model.cascade import PAIRS, FirstStage
from understudy.model.engine import Bools, Floats, Tokens
from understudy.model.scoring import exported_graph
from understudy.progress import track
from understudy.stats import draw
from understudy.steps.export.config import ExportConfig
from understudy.store import codecs, tables
from understudy.task.card import Card
from understudy.task.labels import LabelSpace
from understudy.task.slices import weak_hints
from understudy.text.seen import seen_of

RIDGE = 0.5  # on log-odds; 0.2 to 1 settle the same share (docs/log.md, 2026-11-21)
EMBEDDING_SCALE = 0.5  # of embeddings whose mean square length is 1; 0.5 to 1 are best (there too)
ITERATIONS = 60
FEWEST_LEFT = 0.1  # share of a kind that can stand for all of it: what is lost counts by the heaviest text


def make(
    pool: Path, folder: Path, graphs: Path, about: Mapping[str, Any], card: Card, config: ExportConfig, most: float
) -> dict[str, Any]:
    """Fit the first stage on a part of the pool, and keep the scores of the rest, by which calibrate chooses the cut.

    Args:
        pool: unlabelled texts.
        folder: the student's.
        graphs: gets first_stage.npy and held_out.parquet.
        about: graphs.json; the graph that will serve scores the pool.
        card: names the labels and the weak rules.
        config: how many texts, and the share of them that is held out.
        most: share of all texts that may be lost; 0 for no first stage.

    Returns:
        what graphs.json says of it: `reason`, and where one was fitted its intercept and numbers of texts.
    """
    if card.is_many:  # it settles one label in place of all others
        return {"reason": "a text may have several labels"}
    texts = chosen(tables.read(pool, tables.Texts), config)
    kept = weighed(texts, learned_by(folder), card)
    is_fitted = ~texts["is_held_out"].to_numpy()
    if (reason := why_not(int(is_fitted.sum()), len(kept), most)) is not None:
        return {"reason": reason}
    space = LabelSpace.of(card)
    tokens, logits = scored(graphs, about, space, seen_of(texts).to_list())
    label = settled_label(logits[is_fitted], space)
    first = fit(tokens, -log_odds(logits, label), is_fitted, embeddings_of(folder))
    first.save(graphs)
    scores = np.concatenate([first.scores(piece) for piece in tokens])
    table = texts.select("id").with_columns(score=pl.Series(scores), logits=pl.Series(logits.tolist()))
    held_out = kept.join(table, on="id", maintain_order="left")
    (graphs / cascade.HELD_OUT_FILE).write_bytes(codecs.as_parquet(held_out))
    return {
        "reason": f"fitted on {is_fitted.sum():,} texts of the pool, {len(kept):,} more are held out for the cut",
        "intercept": first.intercept,
        "label": label,
        "fitted_texts": int(is_fitted.sum()),
        "held_out_texts": len(kept),
    }


def settled_label(logits: Floats, space: LabelSpace) -> int:
    """Column of the label that most texts get, but for the one that is looked for.

    >>> settled_label(np.array([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]]), LabelSpace(("a", "b", "c"), "b"))
    2
    """
    others = np.array(logits, dtype=np.float64)
    if space.positive_index is not None:
        others[:, space.positive_index] = -np.inf
    return int(np.bincount(others.argmax(axis=1), minlength=len(space)).argmax())


def chosen(pool: pl.DataFrame, config: ExportConfig) -> pl.DataFrame:
    """Draw whole groups by lot, as many as hold `first_stage_texts` texts, and hold a share of them out.

    Returns:
        the texts of `pool` that were drawn, with the column is_held_out.
    """
    groups = pool.select("group", size=pl.len().over("group")).unique("group", maintain_order=True)
    groups = groups.with_columns(lots("first stage", groups["group"])).sort("lot", "group")
    drawn = groups.filter(pl.col("size").cum_sum() <= config.first_stage_texts)
    is_held_out = lots("held out", drawn["group"]) < config.held_out_share
    return pool.join(drawn.select("group", is_held_out=is_held_out), on="group", maintain_order="left")


def lots(purpose: str, groups: pl.Series) -> pl.Series:
    """Draw the groups' lots in [0, 1), shape (groups,): a hash, so that a rerun draws the same.

    Args:
        purpose: what the lots are for; those of one say nothing of those of another.
        groups: their names.
    """
    return pl.Series("lot", [draw.share(purpose, group, digits=12) for group in groups], dtype=pl.Float64)


def weighed(texts: pl.DataFrame, learned: pl.Series, card: Card) -> pl.DataFrame:
    """Keep the held-out texts that the student was not trained on, each with the number of texts that it stands for.

    The student knows its own training texts by heart, so they say little of new ones. Among those, texts that the weak
    rules name a label for are over-represented: what is left of each kind stands for all of it. Where too little of a
    kind is left, its training texts stand for themselves.

    Args:
        texts: columns id, group, text and is_held_out.
        learned: ids of the student's training texts.
        card: names the weak rules.

    Returns:
        columns id, group and weight.

    Source: post-stratification; Holt and Smith, "Post stratification", 1979.
    """
    held = texts.filter("is_held_out")
    kind = pl.Series("kind", weak_hints(card, held["text"].to_list()))
    held = held.with_columns(kind, is_learned=pl.col("id").is_in(learned.implode()))
    left = (~pl.col("is_learned")).mean().over("kind")
    held = held.with_columns(size=pl.len().over("kind"), stands_for_itself=left < FEWEST_LEFT)
    kept = held.filter(~pl.col("is_learned") | pl.col("stands_for_itself"))
    return kept.select("id", "group", weight=pl.col("size") / pl.len().over("kind"))


def learned_by(folder: Path) -> pl.Series:
    """Read the ids of the texts that a student was trained on.

    Raises:
        BadArtifact: train did not write them.
    """
    path = folder / student.LEARNED_FILE
    what = "What a student was trained on"
    return codecs.read_table(path, str(path), {"id": pl.String()}, what=what, advice="Train again.")["id"]


def why_not(fitted: int, held_out: int, most: float) -> str | None:
    """Say why there can be no first stage; None when there can."""
    if most == 0:
        return "none was asked for: cascade.max_missed is 0"
    fewest = cascade.fewest_texts(most)
    if held_out < fewest or fitted < fewest:
        return (
            f"too few texts: the pool gave {fitted:,} to fit it, and {held_out:,} that the student has not seen to "
            f"choose its cut; the promise of cascade.max_missed {most:g} needs {fewest:,} of each at least"
        )
    return None


def scored(
    graphs: Path, about: Mapping[str, Any], space: LabelSpace, texts: Sequence[str]
) -> tuple[list[Tokens], Floats]:
    """Let the graph that will serve score texts: tokens, a piece at a time, and logits (texts, labels)."""
    graph = exported_graph(graphs, about, about["graph"], len(space))
    pieces: list[Tokens] = []
    logits: list[Floats] = []
    with track(len(texts), "export: texts of the pool scored") as progress:
        for tokens in graph.pieces_of(texts):
            pieces.append(tokens)
            logits.append(graph.logits_of(tokens))
            progress.advance(len(tokens.windows))
    return pieces, np.concatenate(logits)


def embeddings_of(folder: Path) -> Floats:
    """Return the student's embeddings of its tokens, shape (vocabulary, width)."""
    model, _, _ = student.open_student(folder)
    weight = model.get_input_embeddings().weight
    return np.asarray(weight.detach().double().numpy(), dtype=np.float64)


def fit(tokens: Sequence[Tokens], targets: Floats, is_fitted: Bools, embeddings: Floats) -> FirstStage:
    """Fit the table of weights.

    Args:
        tokens: of all texts, piece by piece.
        targets: the student's log-odds that a text has another label than the settled one, shape (texts,).
        is_fitted: which of them to learn from, shape (texts,).
        embeddings: of the tokens, shape (vocabulary, width).
    """
    from scipy import sparse
    from scipy.sparse.linalg import LinearOperator, lsqr

    vocabulary = len(embeddings)
    features = sparse.vstack([columns(piece, vocabulary) for piece in tokens]).tocsr()[is_fitted]
    centred = embeddings - embeddings.mean(axis=0)
    scaled = centred * (EMBEDDING_SCALE / np.sqrt((centred**2).sum(axis=1).mean()))
    split = vocabulary + PAIRS

    def table(weights: Floats) -> Floats:
        own = weights[:split] / np.sqrt(2)  # tokens and pairs make two columns a token
        own[:vocabulary] += scaled @ weights[split:]
        return np.asarray(own, dtype=np.float64)

    def forward(weights: Floats) -> Floats:
        found = features @ table(weights.ravel())
        return np.asarray(found - found.mean())

    def backward(residuals: Floats) -> Floats:
        found = features.T @ (residuals - residuals.mean())
        return np.concatenate([found / np.sqrt(2), scaled.T @ found[:vocabulary]])

    shape = (features.shape[0], split + scaled.shape[1])
    operator = LinearOperator(shape, matvec=forward, rmatvec=backward, dtype=np.float64)
    learned = targets[is_fitted]
    solved = lsqr(operator, learned - learned.mean(), damp=np.sqrt(RIDGE), iter_lim=ITERATIONS)[0]
    weights = table(solved)
    return FirstStage(weights.astype(np.float32), float(learned.mean() - (features @ weights).mean()))


def columns(tokens: Tokens, vocabulary: int) -> Any:
    """Count each text's tokens and pairs, over the square root of its tokens; sparse, shape (texts, columns)."""
    from scipy import sparse

    lengths = np.diff(tokens.text_starts)
    row = np.repeat(np.arange(len(lengths)), lengths)
    value = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths)
    places = np.concatenate([tokens.ids, vocabulary + cascade.pairs(tokens)])
    shape = (len(lengths), vocabulary + PAIRS)
    return sparse.csr_matrix((np.tile(value, 2), (np.tile(row, 2), places)), shape=shape)
