"""Run the step publish: put the bundle into the registry, and let it serve."""

from pathlib import Path
from typing import Any

from understudy.reports import model_card
from understudy.runtime import provenance
from understudy.runtime.shell import In, Out, Result
from understudy.steps.publish import rules
from understudy.steps.publish.config import PublishConfig
from understudy.store import codecs, layout, registry
from understudy.store.bundles import read_settings
from understudy.store.registry import Current
from understudy.store.storage import Store, prepare_store
from understudy.task.card import load_card
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
        metrics generation; parameters version, previous (empty when there is none) and uri of the bundle.

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
        **_provenance_of(bundle),
    }
    keep = prepare_store(store)
    current = registry.publish_bundle(keep, bundle, papers, is_forced=config.force)
    about = _write_release(release, keep, current, text)
    return Result(
        headline=f"{current.version} serves, generation {current.generation} of {keep.locate(registry.CURRENT)}",
        metrics={"generation": current.generation},
        parameters={"version": current.version, "previous": current.previous or "", "uri": about["uri"]},
    )


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
