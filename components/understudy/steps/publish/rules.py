"""Judge whether a bundle may be published, and write down what went into it."""

from collections.abc import Mapping
from typing import Any

import understudy
from understudy.errors import BadArtifact, GateRefused
from understudy.model.architectures import STUDENTS
from understudy.store.registry import Origin
from understudy.task.card import Card
from understudy.text.numbers import few

PUBLISH = "publish"
OF_THE_BUNDLE = {"bundle", "card"}  # inputs of evaluate that are told of by their own names


def require_decision(settings: Mapping[str, Any], evaluation: Mapping[str, Any], *, is_forced: bool) -> None:
    """Let pass what the evaluation of this very bundle decided to publish, or what is forced.

    A bundle that breaks its card's contract is not even forced: it would not let itself be opened to serve.

    Args:
        settings: bundle.json.
        evaluation: evaluation.json.
        is_forced: publish whatever was decided.

    Raises:
        BadArtifact: the evaluation is of another bundle.
        GateRefused: it decided against publishing, or the card's contract is broken.
    """
    measured = evaluation["bundle"]["version"]
    if measured != settings["version"]:
        raise BadArtifact(
            f"The evaluation must be of the bundle that is published, got one of {measured} for {settings['version']} "
            "(evaluation.json). Run evaluate on this bundle."
        )
    if is_forced and (broken := [held["text"] for held in evaluation.get("must", ()) if not held["is_kept"]]):
        raise GateRefused(
            f"A bundle must keep its card's contract whatever is forced, got another label for {few(broken)} "
            f"({settings['version']}: must). Train again, or take what no student can keep out of the card's must."
        )
    if evaluation["decision"] != PUBLISH and not is_forced:
        raise GateRefused(
            f"The evaluation must decide to publish, got '{evaluation['decision']}' ({settings['version']}): "
            f"{evaluation['reason']} Mend what it names and train again, or set publish.force=true to publish it all "
            "the same."
        )


def origin(
    settings: Mapping[str, Any], card: Card, calibrated: Mapping[str, Any], evaluated: Mapping[str, Any]
) -> Origin:
    """Write down what went into a bundle: data, code, base weights, teacher and licences.

    Args:
        settings: bundle.json.
        card: that it was made by.
        calibrated: provenance of the bundle; empty where there is none.
        evaluated: provenance of the evaluation; empty where there is none.
    """
    student = settings.get("student", card.student)
    known = STUDENTS.get(student)
    asked, learned = (it.get("inputs", {}) for it in (calibrated, evaluated))
    read = {**learned, **asked}
    if "judgements" in learned and learned["judgements"] != read["judgements"]:
        read["revised"] = learned[
            "judgements"
        ]  # calibrate reads them as the teacher gave them, train as revise left them
    return {
        "version": settings["version"],
        "card": {"name": card.name, "sha256": card.hash},
        "code": {
            "publish": understudy.__version__,
            **({"evaluate": evaluated["version"]} if "version" in evaluated else {}),
            **({"calibrate": calibrated["version"]} if "version" in calibrated else {}),
        },
        "data": {name: place["sha256"] for name, place in sorted(read.items()) if name not in OF_THE_BUNDLE},
        "student": {
            "name": student,
            "weights": known.weights if known else student,
            "sha256": settings.get("weights"),
            "licence": known.license if known else None,
        },
        "teacher": {"model": card.teacher.model, "is_rehearsal": settings["is_rehearsal"]},
        "files": dict(settings["files"]),
    }
