"""Run the step calibrate: fit calibrator, rule and first stage, and write the bundle."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from understudy.model import calibration, tokenizer_files
from understudy.model.calibration import Calibrator
from understudy.model.cascade import HELD_OUT_FILE, Cascade, FirstStage, largest_share
from understudy.model.decision import DecisionRule, chances
from understudy.model.engine import Floats, Graph
from understudy.model.scoring import exported_graph
from understudy.model.vocabulary import Vocabulary
from understudy.runtime.shell import In, Out, Result
from understudy.stats import metrics
from understudy.stats.drift import tokens
from understudy.stats.drift.summary import describe
from understudy.stats.drift.tokens import Tokens
from understudy.stats.metrics import Codes
from understudy.steps.calibrate import cut as cuts
from understudy.steps.calibrate import prior, rules
from understudy.steps.calibrate.config import CalibrateConfig
from understudy.steps.calibrate.cut import Cut, HeldOut
from understudy.steps.calibrate.pool_share import Scored
from understudy.steps.calibrate.prior import Prior
from understudy.store import codecs, hashing, tables
from understudy.store.bundles import BUNDLE_FILE, FIRST_STAGE_FILE, FORMAT, TOKENIZER_FILE, read_settings, version_of
from understudy.task.card import CARD_FILE, Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.sections import CascadeConfig
from understudy.task.settings import NO_OVERRIDES, Overrides
from understudy.text.seen import seen_of


def run(
    card: In,
    gold: In,
    graphs: In,
    bundle: Out,
    judgements: In | None = None,
    overrides: Overrides = NO_OVERRIDES,
) -> Result:
    """Calibrate the graph that will serve on the calibration split, and write the bundle.

    Fitted after quantisation, on the graph that was chosen: anything else would calibrate another model. With the
    rule known, the first stage gets its cut, or is left out when it cannot keep its promise or does not pay.

    Args:
        card: snapshot of the task card.
        gold: human labels; what is fitted is fitted on calibration alone.
        graphs: what export wrote.
        bundle: model.onnx, tokenizer.json, card.yaml, bundle.json (calibrator, rule, hashes), and first_stage.npy
            where there is one.
        judgements: the teacher's answers, which tell the pool's share of the label that is looked for where the card
            does not state it. Where they do not, the student's scores of texts of the pool that export held out do;
            where these may not be believed, the share is taken to be the calibration split's, which is said.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics ece, brier, log_loss and f1 (macro_f1 where no label is looked for) on the calibration split itself;
        threshold where the rule has one; log_loss_<form> of calibrators on texts that they were not fitted on, where
        there was a choice; settled, missed and missed_bound, shares of the held-out texts, 0 without a first stage
        (what missed_bound trusts stands in docs/decisions/0008-first-stage.md); where the prior is estimated,
        split_share, and pool_share with its interval, pool_share_low and pool_share_high, where it can be told.
        Parameters version, calibrator and first_stage.

    Raises:
        TooFewLabels: the split is smaller than the settings ask.
    """
    task = load_card(card)
    settings = task.settings(overrides)
    config, promise = settings.of(CalibrateConfig), settings.of(CascadeConfig)
    space = LabelSpace.of(task)
    split = tables.read_gold(gold, "calibration")
    truth = space.codes(split["label"])
    rules.require_labels(truth, space, task, config.min_per_label)
    about = codecs.read_document(graphs / "graphs.json", "export")
    graph, texts = exported_graph(graphs, about, about["graph"], len(space)), seen_of(split).to_list()
    logits = graph.logits(texts)
    share = prior.find(task, truth, gold, judgements, _scored(graphs / HELD_OUT_FILE, logits, truth, split, space))
    weights = rules.prior_weights(truth, space, share.value)
    form, losses = rules.choose_form(logits, truth, weights, split["group"].to_numpy())
    calibrator = calibration.fit(logits, truth, weights, form)
    student = calibrator.probabilities(logits)
    rule = rules.choose_rule(student, truth, weights, task, config)
    cut, cascade = _cascade(graphs, about, calibrator, rule, promise)
    probabilities = _served(student, cascade, graph, texts)
    reference = _reference(split, probabilities, rule, space, weights)
    reference["tokens"] = _tokens(graphs / TOKENIZER_FILE, split, weights).as_record()
    said = _settings(task, about, {"form": form.name, **_as_lists(calibrator)}, rule, reference)
    said |= _share_settings(task, share)
    said["cascade"] = _cascade_settings(cut, cascade, promise.max_missed, space)
    _write_bundle(bundle, graphs, card, said)
    figures = _figures(probabilities, truth, weights, rule, space)
    figures |= {**share.figures, "settled": cut.settled, "missed": cut.missed, "missed_bound": cut.bound}
    figures |= {f"log_loss_{name.replace(' ', '_').replace('-', '_')}": loss for name, loss in losses.items()}
    return Result(
        headline=f"{_threshold_words(rule)}{form.name}, calibration error {figures['ece']:.3f} on {len(split)} texts; "
        f"{share.words and f'{share.words}; '}first stage: {cut.reason}",
        metrics=figures,
        parameters={
            "version": read_settings(bundle)["version"],
            "calibrator": form.name,
            "first_stage": cut.reason,
        },
    )


def _cascade(
    graphs: Path, about: dict[str, Any], calibrator: Calibrator, rule: DecisionRule, promise: CascadeConfig
) -> tuple[Cut, Cascade | None]:
    """Choose the first stage's cut on the texts that export held out; no cascade when there is a reason against it."""
    fitted = about.get("first_stage", {"reason": "export did not make one"})
    is_asked_for = promise.max_missed > 0
    if not is_asked_for or "intercept" not in fitted:
        return Cut(None, fitted["reason"] if is_asked_for else "none was asked for: cascade.max_missed is 0"), None
    label = fitted["label"]
    held = _held_out(graphs / HELD_OUT_FILE, calibrator, rule, label)
    cut = cuts.choose(held, promise.max_missed, promise.min_settled)
    if cut.cut is None:
        return cut, None
    rest = cuts.rest(held, cut.cut, label)
    slope, bias = cuts.line(held, cut.cut, calibrator, label)
    first = FirstStage.open(graphs, fitted["intercept"])
    return cut, Cascade(first, cut.cut, label, slope, bias, largest_share(rule, label, rest), rest)


def _scored(path: Path, logits: Floats, truth: Codes, split: pl.DataFrame, space: LabelSpace) -> Scored | None:
    """Return the scores of the label that is looked for, here and on the texts of the pool that export held out."""
    own = space.positive_index
    if own is None or not path.exists():
        return None
    pool, of_pool = _read_held_out(path)
    return Scored(
        split=calibration.log_odds(logits, own),
        truth=truth == own,
        split_groups=split["group"].to_numpy(),
        pool=calibration.log_odds(of_pool, own),
        pool_groups=pool["group"].to_numpy(),
        weights=pool["weight"].to_numpy(),
    )


def _read_held_out(path: Path) -> tuple[pl.DataFrame, Floats]:
    """Read the texts of the pool that export held out, and the student's logits of them, shape (texts, labels)."""
    table = codecs.read_table(path, str(path), what="What holds the held-out texts", advice="Export again.")
    return table, np.array(table["logits"].to_list(), dtype=np.float64).reshape(len(table), -1)


def _held_out(path: Path, calibrator: Calibrator, rule: DecisionRule, label: int) -> HeldOut:
    table, logits = _read_held_out(path)
    probabilities = calibrator.probabilities(logits)
    return HeldOut(
        scores=table["score"].to_numpy(),
        logits=logits,
        probabilities=probabilities,
        is_other=rule.choose(probabilities) != label,
        groups=table["group"].to_numpy(),
        weights=table["weight"].to_numpy(),
    )


def _served(student: Floats, cascade: Cascade | None, graph: Graph, texts: list[str]) -> Floats:
    """Return the probabilities as the bundle will give them, shape (texts, labels): the first stage's where it may."""
    if cascade is None:
        return student
    scores = np.concatenate([cascade.first.scores(tokens) for tokens in graph.pieces_of(texts)])
    return np.where(cascade.settles(scores)[:, None], cascade.probabilities(scores), student)


def _cascade_settings(cut: Cut, cascade: Cascade | None, most: float, space: LabelSpace) -> dict[str, Any]:
    if cascade is None:
        return {"reason": cut.reason, "max_missed": most}
    said = {name: getattr(cascade, name) for name in ("label", "slope", "bias", "most")}
    said |= {"intercept": cascade.first.intercept, "rest": cascade.rest.tolist()}
    said["label_name"] = space.names[cascade.label]
    return {**asdict(cut), **said, "max_missed": most}


def _share_settings(card: Card, share: Prior) -> dict[str, Any]:
    """Say in the bundle by which share it is calibrated, where it is neither the card's nor the split's."""
    return {"prior": dict(share.figures)} if share.value != card.prior else {}


def _reference(
    split: pl.DataFrame, probabilities: Floats, rule: DecisionRule, space: LabelSpace, weights: Floats
) -> dict[str, Any]:
    """Describe scores and texts of the calibration split, for the nightly watch to compare with.

    Texts count by their weights, so that the reference has the true shares of the labels where the card states them.
    """
    given = rule.choose(probabilities)
    table = split.select(
        "group",
        "text",
        pl.Series("label", space.named(given)),
        pl.Series("probability", chances(probabilities, given)),
    )
    return {"texts": len(split), **describe(table, space, probabilities, weights).as_record()}


def _tokens(tokenizer: Path, split: pl.DataFrame, weights: Floats) -> Tokens:
    """Count the tokens of the calibration split, and those that the student's vocabulary does not know."""
    vocabulary = Vocabulary.opened(codecs.read_file(tokenizer, tokenizer_files.MOST_BYTES), str(tokenizer))
    counted = vocabulary.token_counts(split["text"].to_list())
    return tokens.count(split["group"].to_numpy(), *counted, weights if weights.ndim == 1 else None)


def _threshold_words(rule: DecisionRule) -> str:
    if rule.thresholds is not None:
        return f"thresholds {rule.thresholds.min():.3f} to {rule.thresholds.max():.3f}, "
    return f"threshold {rule.threshold:.3f}, " if rule.threshold is not None else ""


def _as_lists(calibrator: Calibrator) -> dict[str, list[float]]:
    return {"slopes": calibrator.slopes.tolist(), "biases": calibrator.biases.tolist()}


def _settings(
    task: Card, about: dict[str, Any], calibrator: dict[str, Any], rule: DecisionRule, reference: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "labels": list(task.label_names),
        "positive_label": task.positive_label,
        **({"labels_per_text": task.labels_per_text} if task.is_many else {}),  # others keep the hash that they had
        "calibrator": calibrator,
        "decision": rule.as_record(),
        "reference": reference,
        "trained_texts": about.get("texts"),
        "graph_reason": "; ".join(filter(None, (about.get("reason"), about.get("plain_reason")))),
        **{key: about[key] for key in ("student", "graph", "max_length", "pad_id", "is_rehearsal")},
    }


def _write_bundle(bundle: Path, graphs: Path, card: Path, settings: dict[str, Any]) -> None:
    """Copy the files, then write bundle.json with their hashes; the version names all of it."""
    bundle.mkdir(parents=True)
    shutil.copyfile(graphs / settings["graph"] / "model.onnx", bundle / "model.onnx")
    shutil.copyfile(graphs / TOKENIZER_FILE, bundle / TOKENIZER_FILE)
    shutil.copyfile(card / CARD_FILE, bundle / CARD_FILE)
    if settings["cascade"].get("cut") is not None:
        shutil.copyfile(graphs / FIRST_STAGE_FILE, bundle / FIRST_STAGE_FILE)
    files = {path.name: hashing.hash_file(path) for path in sorted(bundle.iterdir())}
    content = {**settings, "files": files}
    content["version"] = version_of(load_card(card).name, content)
    codecs.write_document(bundle / BUNDLE_FILE, content)


def _figures(
    probabilities: Floats, truth: Codes, weights: Floats, rule: DecisionRule, space: LabelSpace
) -> dict[str, float]:
    """Measure the split itself: f1 and ece of the label looked for, else macro_f1 and ece of the label given.

    Where a text may have several labels ece is of each label of each text.
    """
    given, own = rule.choose(probabilities), space.positive_index
    if space.is_many:
        by_label = [metrics.f1(*columns) for columns in zip(truth.T, given.T, weights.T, strict=True)]
        found = {"macro_f1": float(np.nanmean(by_label))}
        found["ece"] = metrics.ece(probabilities.ravel(), truth.ravel(), weights.ravel())
    elif own is None:
        found = {"macro_f1": metrics.macro_f1(truth, given, weights, labels=len(space))}
        found["ece"] = metrics.ece(chances(probabilities, given), given == truth, weights)
    else:
        found = {"f1": metrics.f1(truth == own, given == own, weights)}
        found["ece"] = metrics.ece(probabilities[:, own], truth == own, weights)
    if rule.threshold is not None:
        found["threshold"] = rule.threshold
    found["brier"] = rules.weighted(metrics.brier, probabilities, truth, weights)
    return {**found, "log_loss": rules.weighted(metrics.log_loss, probabilities, truth, weights)}
