"""Wire the quality pipeline: draw a week's sample, take answers in, and say what they mean.

understudy run quality --card CARD --store DIR_OR_S3 [--answers FILE] [--date YYYY-MM-DD]

The month's trend and the quarter's test set come with it on their dates.
"""

from understudy.pipelines.resources import ask_teacher, call_webhook, never_cache, place
from understudy.steps.sample.component import sample
from understudy.steps.watch.component import watch


def quality(card: str, store: str, answers: str = "", date: str = "", overrides: str = "", fault: str = "") -> None:
    """Ask people and the teacher whether the model is still right.

    Args:
        card: the task card, a path or s3:// address.
        store: folder or s3:// that holds the predictions and keeps the samples.
        answers: people's answers to earlier samples, a file or s3:// address; empty for none.
        date: the day, YYYY-MM-DD; empty for today's in UTC.
        overrides: step.key=value lines that change settings for this run.
        fault: address under which a fault is put that only a person can mend; empty for none. Submit names one.
    """
    shared = {"store": store, "overrides": overrides, "fault": fault}
    sampled = sample(card=card, answers=answers, date=date, **shared)
    snapshot, day = sampled.outputs["snapshot"], sampled.outputs["Output"]
    # a night may be running beside the week's run: the newest whole one is shown in its place
    watched = watch(card=snapshot, date=day, newest_whole=True, **shared)
    never_cache(sampled, watched)
    place(sampled, watched)
    ask_teacher(sampled)
    call_webhook(watched)
