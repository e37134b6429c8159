"""Run the step export: turn a student into ONNX graphs."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from understudy.model.calibration import odds_of
from understudy.model.engine import Floats
from understudy.model.scoring import exported_graph
from understudy.runtime.shell import In, Out, Result
from understudy.stats import metrics
from understudy.stats.metrics import Codes
from understudy.steps.export import first_stage, precision, rules
from understudy.steps.export.config import ExportConfig
from understudy.store import codecs, tables
from understudy.task.card import Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.sections import CascadeConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.text.seen import seen_of

GRAPHS_FILE = "graphs.json"
MORE_TEXTS = 512  # of the pool, to see which values activations take


def run(card: In, pool: In, gold: In, student: In, graphs: Out, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Export the student to ONNX in fp32 and int8, and choose the graph that will serve.

    The fp32 graph is refused when its scores differ from the student's on what a student reads of a text, its first
    window, or when its label order does. The fastest graph serves of those that rank the validation split as well;
    where int8 does not, one with its most sensitive weights in fp32 is tried.

    Args:
        card: snapshot of the task card.
        pool: unlabelled texts, by which the first stage learns to settle obvious texts.
        gold: human labels; validation alone is looked at.
        student: what train wrote.
        graphs: fp32/model.onnx, int8/model.onnx, mixed/model.onnx where int8 loses too much, tokenizer.json,
            graphs.json; first_stage.npy and held_out.parquet where the pool is large enough.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics log_odds_gap, batch_gap, and average_precision and texts_per_second of each graph; parameters graph,
        reason, plain_reason (why the graph is not the fast one; empty when it is).

    Raises:
        NotTheSame: the fp32 graph is not the classifier that was trained.
    """
    task = load_card(card)
    settings = task.settings(overrides)
    config, most = settings.of(ExportConfig), settings.of(CascadeConfig).max_missed
    validation = tables.read_gold(gold, "validation")
    texts = seen_of(validation).to_list()
    trained, about = _export(student, graphs, task, texts, config)
    space = LabelSpace.of(task)
    truth = space.codes(validation["label"])
    tried = {"fp32": _trial(graphs, about, "fp32", space, texts, truth)}
    exported = odds_of(precision.first_window_logits(tried["fp32"].graph, texts), space)
    rules.require_parity(trained, exported, config)
    if config.int8:
        trial = partial(_trial, graphs, about, space=space, texts=texts, truth=truth)
        more = drawn(seen_of(tables.read(pool, tables.Texts)))
        tried |= precision.integer_graphs(graphs, tried["fp32"], (texts, more), trial, config, is_many=space.is_many)
    quality = {name: one.quality for name, one in tried.items()}
    speed = precision.speeds({name: one.graph for name, one in tried.items()}, texts)
    choice = rules.choose(quality, speed, config)
    gap = precision.batch_gap(tried[choice.graph].graph, texts, space)
    record = {**about, "graphs": list(tried), "graph": choice.graph, "reason": choice.reason, "quality": quality}
    record["batch_gap"] = round(gap, 6)
    record["first_stage"] = first_stage.make(pool, student, graphs, record, task, config, most)
    codecs.write_document(graphs / GRAPHS_FILE, record)
    return Result(
        headline=f"{choice.graph} will serve: {choice.reason}",
        metrics={
            "log_odds_gap": rules.largest_gap(trained, exported),
            "batch_gap": gap,
            **{f"average_precision_{name}": value for name, value in quality.items()},
            **{f"texts_per_second_{name}": value for name, value in speed.items()},
        },
        parameters={"graph": choice.graph, "reason": choice.reason, "plain_reason": about["plain_reason"]},
    )


def drawn(pool: pl.Series) -> list[str]:
    """Draw up to MORE_TEXTS texts of the pool, whose order means something: files, dates, languages."""
    return pool.sample(min(MORE_TEXTS, len(pool)), seed=0).to_list()


def _export(
    folder: Path, graphs: Path, task: Card, texts: list[str], config: ExportConfig
) -> tuple[Floats, dict[str, Any]]:
    """Write the fp32 graph; return the student's own log-odds of `texts`, and what a reader of the graphs must know."""
    from understudy.model import student
    from understudy.model.onnx import export

    model, tokenizer, about = student.open_student(folder)
    rules.require_labels(task, model.config.id2label, about.get("labels_per_text", "one"))
    tokens = student.tokens_of(tokenizer, texts, about["max_length"])
    trained = odds_of(student.logits(model, tokens, tokenizer.pad_token_id), LabelSpace.of(task))
    export.export_fp32(model, graphs / "fp32", config.opset, about["max_length"])
    tokenizer.backend_tokenizer.save(str(graphs / "tokenizer.json"))
    plain_reason = export.why_plain(model, config.opset) or ""
    return trained, {**about, "pad_id": tokenizer.pad_token_id, "plain_reason": plain_reason}


def _trial(
    graphs: Path, about: Mapping[str, Any], name: str, space: LabelSpace, texts: list[str], truth: Codes
) -> precision.Tried:
    graph = exported_graph(graphs, about, name, len(space))
    log_odds = odds_of(graph.logits(texts), space)
    return precision.Tried(graph, log_odds, metrics.mean_average_precision(log_odds, truth, space.sides))
