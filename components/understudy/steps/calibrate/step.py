"""The step calibrate: files in, files out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy import metrics, provenance, records
from understudy.bundles import BUNDLE_FILE, FORMAT, read_settings, version_of
from understudy.documents import read_json, write_json
from understudy.drift.summary import describe
from understudy.engine import Bools, Floats
from understudy.scoring import Sigmoid, exported_log_odds
from understudy.shell import In, Out, Result
from understudy.steps.calibrate import core
from understudy.steps.calibrate.config import CalibrateConfig
from understudy.task import CARD_FILE, Card, load_card, load_config
from understudy.text import word_counts


def run(card: In, gold: In, graphs: In, bundle: Out, overrides: str = "") -> Result:
    """Calibrate the graph that will serve on the calibration split, and write the bundle.

    Fitted after quantisation, on the graph that was chosen: anything else would calibrate another model.

    Args:
        card: snapshot of the task card.
        gold: human labels; calibration alone is looked at.
        graphs: what export wrote.
        bundle: model.onnx, tokenizer.json, card.yaml and bundle.json (calibrator, threshold, hashes).
        overrides: key=value lines that change settings for this run.

    Returns:
        metrics slope, bias, threshold, ece, brier, log_loss and f1 on the calibration split itself.

    Raises:
        TooFewLabels: the split is smaller than the settings ask.
    """
    task = load_card(card)
    config: CalibrateConfig = load_config("calibrate", task, overrides)
    split = records.read_gold(gold, "calibration")
    is_positive = (split["label"] == task.positive_label).to_numpy()
    core.require_labels(is_positive, task.positive_label, config.min_per_label)
    about = read_json(graphs / "graphs.json", "export")
    log_odds = exported_log_odds(graphs, about, about["graph"], task, split["text"].to_list())
    weights = core.prior_weights(is_positive, task.prior)
    calibrator = core.fit_sigmoid(log_odds, is_positive, weights)
    probability = calibrator.probability(log_odds)
    threshold = core.choose_threshold(probability, is_positive, weights, config)
    reference = _reference(split, log_odds, probability, threshold, weights)
    settings = _settings(task, about, calibrator, threshold, reference)
    _write_bundle(bundle, graphs, card, settings)
    figures = _figures(probability, is_positive, weights, threshold)
    return Result(
        headline=f"threshold {threshold:.3f}, calibration error {figures['ece']:.3f} on {len(split)} texts",
        metrics={"slope": calibrator.slope, "bias": calibrator.bias, "threshold": threshold, **figures},
        parameters={"version": read_settings(bundle)["version"]},
    )


def _reference(
    split: pl.DataFrame, log_odds: Floats, probability: Floats, threshold: float, weights: Floats
) -> dict[str, Any]:
    """Describe scores and texts of the calibration split, for the nightly watch to compare with.

    Texts count by their weights, so that the reference has the true share of positives where the card states it.
    """
    words = word_counts(split["text"])
    at = np.linspace(0, 1, 21)
    table = split.select("group", "text", pl.Series("probability", probability))
    return {
        "texts": len(split),
        "flagged_share": float((probability >= threshold).mean()),
        "log_odds_quantiles": np.quantile(log_odds, at).round(6).tolist(),
        "words_quantiles": np.quantile(words, at).tolist(),
        **describe(table, probability >= threshold, weights).as_record(),
    }


def _settings(
    task: Card, about: dict[str, Any], calibrator: Sigmoid, threshold: float, reference: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "labels": list(task.label_names),
        "positive_label": task.positive_label,
        "calibrator": {"slope": calibrator.slope, "bias": calibrator.bias},
        "threshold": threshold,
        "reference": reference,
        "trained_texts": about.get("texts"),
        **{key: about[key] for key in ("student", "graph", "max_length", "pad_id", "is_rehearsal")},
    }


def _write_bundle(bundle: Path, graphs: Path, card: Path, settings: dict[str, Any]) -> None:
    """Copy the files, then write bundle.json with their hashes; the version names all of it."""
    bundle.mkdir(parents=True)
    shutil.copyfile(graphs / settings["graph"] / "model.onnx", bundle / "model.onnx")
    shutil.copyfile(graphs / "tokenizer.json", bundle / "tokenizer.json")
    shutil.copyfile(card / CARD_FILE, bundle / CARD_FILE)
    files = {path.name: provenance.hash_file(path) for path in sorted(bundle.iterdir())}
    content = {**settings, "files": files}
    content["version"] = version_of(load_card(card).name, content)
    write_json(bundle / BUNDLE_FILE, content)


def _figures(probability: Floats, is_positive: Bools, weights: Floats, threshold: float) -> dict[str, float]:
    return {
        "ece": metrics.ece(probability, is_positive, weights),
        "brier": metrics.brier(probability, is_positive, weights),
        "log_loss": metrics.log_loss(probability, is_positive, weights),
        "f1": metrics.f1(is_positive, probability >= threshold, weights),
    }
