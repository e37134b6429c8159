"""Wire the training pipeline: from texts, human labels and a teacher to a published classifier.

understudy run training --card CARD --texts FILE --labels FILE --store DIR_OR_S3
"""

from collections.abc import Callable

from kfp import dsl

from understudy.pipelines.resources import (
    Accelerator,
    accelerate,
    ask_role,
    ask_teacher,
    never_cache,
    place,
    publish_as,
)
from understudy.steps.audit.component import audit
from understudy.steps.calibrate.component import calibrate
from understudy.steps.evaluate.component import evaluate
from understudy.steps.export.component import export
from understudy.steps.ingest.component import ingest
from understudy.steps.label.component import label
from understudy.steps.mine.component import mine
from understudy.steps.publish.component import publish
from understudy.steps.revise.component import revise
from understudy.steps.train.component import train


def training_on(accelerator: Accelerator | None) -> Callable[..., None]:
    """Return the function that wires the pipeline; None trains on CPUs."""

    def training(
        card: str, texts: str, labels: str, store: str, record: str = "", overrides: str = "", fault: str = ""
    ) -> None:
        """Learn a task from a teacher and a few human labels, and publish it.

        Args:
            card: the task card, a path or s3:// address.
            texts: texts to learn from, a file, folder or s3:// address.
            labels: human labels, a file, folder or s3:// address.
            store: folder or s3:// that keeps what outlives the run.
            record: address under which evaluate's decision is put too; empty for none. Submit names one.
            overrides: step.key=value lines that change settings for this run.
            fault: address under which a fault is put that only a person can mend; empty for none. Submit names one.
        """
        shared = {"overrides": overrides, "fault": fault}
        ingested = ingest(card=card, texts=texts, labels=labels, store=store, **shared)
        data = ingested.outputs
        snapshot, pool, gold, test = data["snapshot"], data["pool"], data["gold"], data["test"]

        labelled = label(card=snapshot, pool=pool, gold=gold, test=test, store=store, **shared)
        judgements, test_judgements = labelled.outputs["judgements"], labelled.outputs["test_judgements"]
        audited = audit(card=snapshot, pool=pool, gold=gold, judgements=judgements, **shared)
        found = audited.outputs["audit"]
        revised = revise(card=snapshot, pool=pool, gold=gold, judgements=judgements, audit=found, store=store, **shared)

        trained = train(
            card=snapshot,
            pool=pool,
            gold=gold,
            judgements=revised.outputs["revised"],
            audit=found,
            store=store,
            **shared,
        )
        exported = export(card=snapshot, pool=pool, gold=gold, student=trained.outputs["student"], **shared)
        graphs = exported.outputs["graphs"]
        calibrated = calibrate(card=snapshot, gold=gold, graphs=graphs, judgements=judgements, **shared)
        bundle = calibrated.outputs["bundle"]

        evaluated = evaluate(
            bundle=bundle,
            test=test,
            card=snapshot,
            test_judgements=test_judgements,
            pool=pool,
            gold=gold,
            judgements=revised.outputs["revised"],
            store=store,
            record=record,
            training_s=trained.outputs["Output"],
            **shared,
        )
        with dsl.If(evaluated.outputs["Output"] == "publish", name="decided"):
            evaluation, page = evaluated.outputs["evaluation"], evaluated.outputs["page"]
            published = publish(bundle=bundle, evaluation=evaluation, page=page, store=store, **shared)
        mined = mine(
            card=snapshot,
            pool=pool,
            gold=gold,
            judgements=judgements,
            bundle=bundle,
            audit=audited.outputs["audit"],
            store=store,
            decision=evaluated.outputs["Output"],
            **shared,
        )

        place(ingested, labelled, audited, revised, trained, exported, calibrated, evaluated, published, mined)
        never_cache(ingested, audited, revised, trained, exported, calibrated, evaluated, published, mined)
        ask_teacher(labelled, revised, mined)
        ask_role("editor", revised)
        ask_role("oracle", mined)
        publish_as(published)
        accelerate(trained, accelerator)

    return training


training = training_on(None)
