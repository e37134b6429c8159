"""Run the step calibrate: fit calibrator, threshold and first stage, and write the bundle."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy.model.calibration import Sigmoid, fit_sigmoid, positive_log_odds
from understudy.model.cascade import HELD_OUT_FILE, Cascade, FirstStage
from understudy.model.engine import Bools, Floats, Graph
from understudy.model.scoring import exported_graph, settled_probability
from understudy.runtime.shell import In, Out, Result
from understudy.stats import metrics
from understudy.stats.drift.summary import describe
from understudy.steps.calibrate import cut as cuts
from understudy.steps.calibrate import rules
from understudy.steps.calibrate.config import CalibrateConfig
from understudy.steps.calibrate.cut import Cut, HeldOut
from understudy.store import codecs, hashing, tables
from understudy.store.bundles import BUNDLE_FILE, FIRST_STAGE_FILE, FORMAT, read_settings, version_of
from understudy.task.card import CARD_FILE, Card, load_card
from understudy.task.sections import CascadeConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.text.normalise import word_counts


def run(card: In, gold: In, graphs: In, bundle: Out, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Calibrate the graph that will serve on the calibration split, and write the bundle.

    Fitted after quantisation, on the graph that was chosen: anything else would calibrate another model. With the
    threshold known, the first stage gets its cut, or is left out when it cannot keep its promise or does not pay.

    Args:
        card: snapshot of the task card.
        gold: human labels; calibration alone is looked at.
        graphs: what export wrote.
        bundle: model.onnx, tokenizer.json, card.yaml, bundle.json (calibrator, threshold, hashes), and first_stage.npy
            where there is one.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics slope, bias, threshold, ece, brier, log_loss and f1 on the calibration split itself; settled, missed and
        missed_bound, shares of the held-out texts, 0 without a first stage (what missed_bound trusts stands in
        docs/decisions/0008-first-stage.md). Parameters version and first_stage.

    Raises:
        TooFewLabels: the split is smaller than the settings ask.
    """
    task = load_card(card)
    settings = task.settings(overrides)
    config, promise = settings.of(CalibrateConfig), settings.of(CascadeConfig)
    split = tables.read_gold(gold, "calibration")
    is_positive = (split["label"] == task.positive_label).to_numpy()
    rules.require_labels(is_positive, task.positive_label, config.min_per_label)
    about = codecs.read_document(graphs / "graphs.json", "export")
    graph, texts = exported_graph(graphs, about, about["graph"]), split["text"].to_list()
    log_odds = positive_log_odds(graph.logits(texts), task.positive_index)
    weights = rules.prior_weights(is_positive, task.prior)
    calibrator = fit_sigmoid(log_odds, is_positive, weights)
    student = calibrator.probability(log_odds)
    threshold = rules.choose_threshold(student, is_positive, weights, config)
    cut, cascade = _cascade(graphs, about, calibrator, threshold, promise)
    probability = _served(student, cascade, graph, texts, calibrator, threshold)
    reference = _reference(split, log_odds, probability, threshold, weights)
    said = _settings(task, about, calibrator, threshold, reference)
    said["cascade"] = _cascade_settings(cut, cascade, promise.max_missed)
    _write_bundle(bundle, graphs, card, said)
    figures = _figures(probability, is_positive, weights, threshold)
    figures |= {"settled": cut.settled, "missed": cut.missed, "missed_bound": cut.bound}
    return Result(
        headline=f"threshold {threshold:.3f}, calibration error {figures['ece']:.3f} on {len(split)} texts; "
        f"first stage: {cut.reason}",
        metrics={"slope": calibrator.slope, "bias": calibrator.bias, "threshold": threshold, **figures},
        parameters={"version": read_settings(bundle)["version"], "first_stage": cut.reason},
    )


def _cascade(
    graphs: Path, about: dict[str, Any], calibrator: Sigmoid, threshold: float, promise: CascadeConfig
) -> tuple[Cut, Cascade | None]:
    """Choose the first stage's cut on the texts that export held out; no cascade when there is a reason against it."""
    fitted = about.get("first_stage", {"reason": "export did not make one"})
    is_asked_for = promise.max_missed > 0
    if not is_asked_for or "intercept" not in fitted:
        return Cut(None, fitted["reason"] if is_asked_for else "none was asked for: cascade.max_missed is 0"), None
    held = _held_out(graphs / HELD_OUT_FILE, calibrator, threshold)
    cut = cuts.choose(held, promise.max_missed, promise.min_settled)
    if cut.cut is None:
        return cut, None
    first = FirstStage.open(graphs, fitted["intercept"])
    return cut, Cascade(first, cut.cut, cuts.shift(held, cut.cut, calibrator))


def _held_out(path: Path, calibrator: Sigmoid, threshold: float) -> HeldOut:
    table = codecs.read_table(path, str(path), what="What holds the held-out texts", advice="Export again.")
    log_odds = table["log_odds"].to_numpy()
    return HeldOut(
        scores=table["score"].to_numpy(),
        log_odds=log_odds,
        is_positive=calibrator.probability(log_odds) >= threshold,
        groups=table["group"].to_numpy(),
        weights=table["weight"].to_numpy(),
    )


def _served(
    student: Floats, cascade: Cascade | None, graph: Graph, texts: list[str], calibrator: Sigmoid, threshold: float
) -> Floats:
    """Return the probabilities as the bundle will give them, shape (texts,): the first stage's where it settles."""
    if cascade is None:
        return student
    scores = np.concatenate([cascade.first.scores(tokens) for tokens in graph.pieces_of(texts)])
    settled = settled_probability(cascade, scores, calibrator, threshold)
    return np.where(cascade.settles(scores), settled, student)


def _cascade_settings(cut: Cut, cascade: Cascade | None, most: float) -> dict[str, Any]:
    if cascade is None:
        return {"reason": cut.reason, "max_missed": most}
    return {**asdict(cut), "intercept": cascade.first.intercept, "shift": cascade.shift, "max_missed": most}


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
        "graph_reason": "; ".join(filter(None, (about.get("reason"), about.get("plain_reason")))),
        **{key: about[key] for key in ("student", "graph", "max_length", "pad_id", "is_rehearsal")},
    }


def _write_bundle(bundle: Path, graphs: Path, card: Path, settings: dict[str, Any]) -> None:
    """Copy the files, then write bundle.json with their hashes; the version names all of it."""
    bundle.mkdir(parents=True)
    shutil.copyfile(graphs / settings["graph"] / "model.onnx", bundle / "model.onnx")
    shutil.copyfile(graphs / "tokenizer.json", bundle / "tokenizer.json")
    shutil.copyfile(card / CARD_FILE, bundle / CARD_FILE)
    if settings["cascade"].get("cut") is not None:
        shutil.copyfile(graphs / FIRST_STAGE_FILE, bundle / FIRST_STAGE_FILE)
    files = {path.name: hashing.hash_file(path) for path in sorted(bundle.iterdir())}
    content = {**settings, "files": files}
    content["version"] = version_of(load_card(card).name, content)
    codecs.write_document(bundle / BUNDLE_FILE, content)


def _figures(probability: Floats, is_positive: Bools, weights: Floats, threshold: float) -> dict[str, float]:
    return {
        "ece": metrics.ece(probability, is_positive, weights),
        "brier": metrics.brier(probability, is_positive, weights),
        "log_loss": metrics.log_loss(probability, is_positive, weights),
        "f1": metrics.f1(is_positive, probability >= threshold, weights),
    }
