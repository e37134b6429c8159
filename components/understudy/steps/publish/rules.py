"""Judge whether a bundle may be published."""

from collections.abc import Mapping
from typing import Any

from understudy.errors import BadArtifact, GateRefused
from understudy.text.numbers import few

PUBLISH = "publish"


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
