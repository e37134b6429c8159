"""Wire the nightly pipeline: label every text that has arrived, index it, and watch; every rule is inside the steps.

understudy run nightly --card CARD --texts SOURCE --store DIR_OR_S3 [--date YYYY-MM-DD]
"""

from kfp import dsl

from understudy.pipelines.resources import call_webhook, never_cache, place, use_elasticsearch
from understudy.steps.index.component import index
from understudy.steps.infer.component import infer
from understudy.steps.shard.component import shard
from understudy.steps.watch.component import watch
from understudy.store.manifests import MOST_SHARDS


def nightly(card: str, texts: str, store: str, date: str = "", overrides: str = "", fault: str = "") -> None:
    """Label the texts that have arrived, index them, and watch the model.

    Args:
        card: the task card, a path or s3:// address.
        texts: texts to label, a file, folder or s3:// address; "{date}" in it stands for the night.
        store: folder or s3:// that holds the published bundle and keeps the predictions.
        date: the night, YYYY-MM-DD; empty for today's in UTC.
        overrides: step.key=value lines that change settings for this run.
        fault: address under which a fault is put that only a person can mend; empty for none. Submit names one.
    """
    shared = {"store": store, "overrides": overrides, "fault": fault}
    sharded = shard(card=card, texts=texts, date=date, **shared)
    snapshot, night = sharded.outputs["snapshot"], sharded.outputs["date"]
    with dsl.ParallelFor(sharded.outputs["Output"], name="shards", parallelism=MOST_SHARDS) as name:
        labelled = infer(card=snapshot, shard=name, source=texts, **shared)
    indexed = index(card=snapshot, date=night, **shared).after(labelled)
    watched = watch(card=snapshot, date=night, **shared).after(indexed)
    never_cache(sharded, labelled, indexed, watched)
    place(sharded, labelled, indexed, watched)
    use_elasticsearch(indexed)
    call_webhook(watched)
