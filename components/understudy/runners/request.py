"""Parse what a person or a CronJob asks a pipeline to do, and check it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from understudy.errors import BadInput
from understudy.runners import checks
from understudy.store.names import night_of
from understudy.task.card import Card

OWN = {  # what a pipeline takes beside card, store and overrides
    "training": ("texts", "labels"),
    "nightly": ("texts", "date"),
    "quality": ("answers", "date"),
}
NEEDED = {"texts": "texts", "labels": "human labels"}
Runner = Literal["direct", "kfp"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for.

    Attributes:
        pipeline: name of the pipeline.
        card: path or s3:// address of the task card.
        store: folder or s3://bucket/prefix.
        texts: file, folder or s3:// address; for training and nightly.
        labels: file, folder or s3:// address; for training.
        answers: people's answers to a sample, file or s3:// address; for quality.
        date: the night or day, YYYY-MM-DD; for nightly and quality, today's in UTC when empty.
        overrides: step.key=value lines.
        runner: "direct" calls the steps in this process, "kfp" has KFP's local runner start a process for each.
        work: folder of the runs.
        name: of the run; None makes one of the card's name, the time and chance.
        resume: go on with an unfinished run.
        dry_run: only say what a training would cost.
    """

    pipeline: str
    card: str
    store: str
    texts: str = ""
    labels: str = ""
    answers: str = ""
    date: str = ""
    overrides: str = ""
    runner: Runner = "direct"
    work: Path = Path("build/runs")
    name: str | None = None
    resume: bool = False
    dry_run: bool = False


def check_own(request: Request, card: Card | None) -> None:
    """Check what one pipeline takes and another does not.

    Raises:
        BadInput: something is missing or out of place.
    """
    own = OWN[request.pipeline]
    given = [name for name in ("texts", "labels", "answers", "date") if getattr(request, name)]
    if strange := [name for name in given if name not in own]:
        raise BadInput(f"{request.pipeline} must be given what it takes, got --{strange[0]}. Leave it out.")
    if missing := [name for name in own if name in NEEDED and name not in given]:
        raise BadInput(f"{request.pipeline} must be given {NEEDED[missing[0]]}, got none (--{missing[0]}).")
    if "labels" in given:
        called = checks.called_columns(request.overrides, card, request.card)
        checks.check_source(request.labels, "--labels", ("id", "label"), called)


def check_texts(request: Request, card: Card | None) -> None:
    """Check that there are texts to read, where the pipeline takes any.

    Raises:
        BadInput: there are none, or they lack a column.
    """
    if request.texts:
        texts = request.texts.replace("{date}", night_of(request.date))
        called = checks.called_columns(request.overrides, card, request.card)
        checks.check_source(texts, "--texts", ("id", "text"), called)
