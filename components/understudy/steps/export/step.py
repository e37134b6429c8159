"""The step export: files in, files out."""

from pathlib import Path
from typing import Any

from understudy import metrics, records
from understudy.documents import write_json
from understudy.engine import Floats
from understudy.scoring import exported_log_odds, positive_log_odds
from understudy.shell import In, Out, Result
from understudy.steps.export import core, first_stage
from understudy.steps.export.config import ExportConfig
from understudy.task import Card, load_card, load_config

GRAPHS_FILE = "graphs.json"


def run(card: In, pool: In, gold: In, student: In, graphs: Out, overrides: str = "") -> Result:
    """Export the student to ONNX in fp32 and int8, and choose the graph that will serve.

    The fp32 graph is refused when its scores or its label order differ from the student's; int8 is chosen unless it
    ranks the validation split worse than the card allows.

    Args:
        card: snapshot of the task card.
        pool: unlabelled texts, by which the first stage learns to settle the obvious negatives.
        gold: human labels; validation alone is looked at.
        student: what train wrote.
        graphs: fp32/model.onnx, int8/model.onnx, tokenizer.json, graphs.json; first_stage.npy and held_out.parquet
            where the pool is large enough.
        overrides: key=value lines that change settings for this run.

    Returns:
        metrics log_odds_gap, average_precision_fp32, average_precision_int8; parameters graph, reason.

    Raises:
        NotTheSame: the fp32 graph is not the classifier that was trained.
    """
    task = load_card(card)
    config: ExportConfig = load_config("export", task, overrides)
    validation = records.read_gold(gold, "validation")
    texts = validation["text"].to_list()
    trained, about = _export(student, graphs, task, texts, config)
    scores = {name: exported_log_odds(graphs, about, name, task, texts) for name in about["graphs"]}
    core.require_parity(trained, scores["fp32"], config)
    is_positive = (validation["label"] == task.positive_label).to_numpy()
    choice = core.choose(scores, is_positive, config)
    settings = {**about, "graph": choice.graph, "reason": choice.reason}
    most = load_config("infer", task, overrides).max_missed
    settings["first_stage"] = first_stage.make(pool, student, graphs, settings, task, config, most)
    write_json(graphs / GRAPHS_FILE, settings)
    quality = {
        f"average_precision_{name}": metrics.average_precision(score, is_positive) for name, score in scores.items()
    }
    return Result(
        headline=f"{choice.graph} will serve: {choice.reason}",
        metrics={"log_odds_gap": core.largest_gap(trained, scores["fp32"]), **quality},
        parameters={"graph": choice.graph, "reason": choice.reason},
    )


def _export(
    folder: Path, graphs: Path, task: Card, texts: list[str], config: ExportConfig
) -> tuple[Floats, dict[str, Any]]:
    """Write the graphs; return the student's own log-odds of `texts`, and what a reader of the graphs must know."""
    from understudy import student
    from understudy.steps.export import onnx

    model, tokenizer, about = student.open_student(folder)
    core.require_label_order(task.label_names, model.config.id2label)
    tokens = student.tokens_of(tokenizer, texts, about["max_length"])
    trained = positive_log_odds(student.logits(model, tokens, tokenizer.pad_token_id), task.positive_index)
    fp32 = onnx.export_fp32(model, graphs / "fp32", config.opset, about["max_length"])
    if config.int8:
        onnx.export_int8(fp32, graphs / "int8")
    tokenizer.backend_tokenizer.save(str(graphs / "tokenizer.json"))
    made = ["fp32", "int8"] if config.int8 else ["fp32"]
    return trained, {**about, "pad_id": tokenizer.pad_token_id, "graphs": made}
