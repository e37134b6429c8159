"""Run the step publish: put the bundle into the registry, and let it serve."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.progress import say
from understudy.reports import model_card
from understudy.runtime import provenance
from understudy.runtime.shell import In, Out, Result
from understudy.steps.publish import model_registry, rules
from understudy.steps.publish.config import PublishConfig
from understudy.store import codecs, layout, registry
from understudy.store.bundles import read_settings
from understudy.store.registry import Current
from understudy.store.storage import Store, prepare_store
from understudy.task.card import Card, load_card
from understudy.task.settings import NO_OVERRIDES, Overrides

EVALUATION, MODEL_CARD, RELEASE = "evaluation.json", "MODEL_CARD.md", "release.json"


def run(bundle: In, evaluation: In, page: In, store: str, release: Out, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Put a bundle with its report and model card into the registry, and let the store's current.json name it.

    Only what evaluate decided to publish. Publishing the same version again changes nothing.
    To go back to the version before: `understudy publish --rollback --store STORE [--to VERSION]`.

    Args:
        bundle: what calibrate wrote.
        evaluation: what evaluate measured of this bundle.
        page: its report.
        store: folder or s3://bucket/prefix that holds the registry.
        release: release.json (version, previous, generation, uri) and the model card.
        overrides: settings that this run changes, by section and name.

    Returns:
        metrics generation, and registered (1, or 0 where it failed) where the card names a registry; parameters
        version, previous (empty when there is none) and uri of the bundle.

    Raises:
        GateRefused: evaluate decided against publishing.
        BadArtifact: the evaluation is of another bundle, or the bundle was altered.
        BadInput: the store serves another card, or what is learned from bought answers where this is a rehearsal.
    """
    card = load_card(bundle)
    config = card.settings(overrides).of(PublishConfig)
    settings, found = read_settings(bundle), codecs.read_document(evaluation / EVALUATION, "evaluate")
    rules.require_decision(settings, found, is_forced=config.force)
    text = model_card.page(settings, card, found, is_forced=config.force)
    papers = {
        registry.REPORT: page.read_bytes(),
        EVALUATION: (evaluation / EVALUATION).read_bytes(),
        MODEL_CARD: text.encode(),
        registry.ORIGIN: codecs.as_json(rules.origin(settings, card, _provenance(bundle), _provenance(evaluation))),
        **_provenance_of(bundle),
    }
    keep = prepare_store(store)
    current = registry.publish_bundle(keep, bundle, papers, is_forced=config.force)
    about = _write_release(release, keep, current, text)
    told = _register(card, found, current, str(about["uri"]))
    return Result(
        headline=f"{current.version} serves, generation {current.generation} of {keep.locate(registry.CURRENT)}"
        f"{told.words and f'; {told.words}'}",
        metrics={"generation": current.generation, **told.metrics},
        parameters={"version": current.version, "previous": current.previous or "", "uri": about["uri"]},
    )


@dataclass(frozen=True, slots=True)
class Told:
    """Whether a model registry was told, in words and as a figure; nothing where the card names none."""

    words: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def _register(card: Card, evaluation: Mapping[str, Any], current: Current, uri: str) -> Told:
    """Tell the card's model registry; the version serves whatever becomes of it, and running publish again tells it."""
    if card.registry is None:
        return Told()
    try:
        model_registry.register(card.registry, model_registry.entry(card, evaluation, current.version, uri))
    except UnderstudyError as error:
        say(f"publish: {error}. The version serves all the same; run publish again to tell the registry.")
        return Told(str(error), {"registered": 0})
    return Told(f"registered as {card.name} in {card.registry}", {"registered": 1})


def _provenance(artifact: Path) -> dict[str, Any]:
    return provenance.read(artifact) if provenance.file_of(artifact).is_file() else {}


def _provenance_of(bundle: Path) -> dict[str, bytes]:
    path = bundle / provenance.FILE
    return {provenance.FILE: path.read_bytes()} if path.is_file() else {}


def _write_release(folder: Path, store: Store, current: Current, text: str) -> dict[str, Any]:
    about = {
        "version": current.version,
        "previous": current.previous,
        "generation": current.generation,
        "uri": store.locate(layout.BUNDLES.prefix(version=current.version).rstrip("/")),
        "report": store.locate(current.report),
        "is_rehearsal": current.is_rehearsal,
        "is_forced": current.is_forced,
    }
    folder.mkdir(parents=True)
    codecs.write_document(folder / RELEASE, about)
    (folder / MODEL_CARD).write_text(text, encoding="utf-8")
    return about
