"""Define the settings of the step publish."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """What publish lets pass.

    Attributes:
        force: publish against the evaluation's decision, or a rehearsal over bought answers; current.json and the model
            card say so.
    """

    force: bool = False
