"""Judge whether a bundle may be published."""

from collections.abc import Mapping
from typing import Any

from understudy.errors import BadArtifact, GateRefused

PUBLISH = "publish"


def require_decision(settings: Mapping[str, Any], evaluation: Mapping[str, Any], *, is_forced: bool) -> None:
    """Let pass what the evaluation of this very bundle decided to publish, or what is forced.

    Args:
        settings: bundle.json.
        evaluation: evaluation.json.
        is_forced: publish whatever was decided.

    Raises:
        BadArtifact: the evaluation is of another bundle.
        GateRefused: it decided against publishing.
    """
    measured = evaluation["bundle"]["version"]
    if measured != settings["version"]:
        raise BadArtifact(
            f"The evaluation must be of the bundle that is published, got one of {measured} for {settings['version']} "
            "(evaluation.json). Run evaluate on this bundle."
        )
    if evaluation["decision"] != PUBLISH and not is_forced:
        raise GateRefused(
            f"The evaluation must decide to publish, got '{evaluation['decision']}' ({settings['version']}): "
            f"{evaluation['reason']} Mend what it names and train again, or set publish.force=true to publish it all "
            "the same."
        )
