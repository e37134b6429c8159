"""Define the settings of the step calibrate."""

from dataclasses import dataclass
from typing import Literal

from understudy.task.settings import require

ALSO_READS = ("cascade.max_missed", "cascade.min_settled")


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """How scores become probabilities, and where the operating point lies.

    Attributes:
        objective: what the threshold maximises on the calibration split: "f1", or "recall" at `min_precision`.
        min_precision: in (0, 1]; read only with objective "recall".
        min_per_label: fewest calibration texts of each label; below it the fit is refused. Rare ones may have fewer
            where there are more than two labels; where a text may have several, they then share a threshold.
    """

    objective: Literal["f1", "recall"] = "f1"
    min_precision: float = 0.9
    min_per_label: int = 10

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(0 < self.min_precision <= 1, f"min_precision must be above 0 and at most 1, got {self.min_precision}.")
        require(self.min_per_label >= 2, f"min_per_label must be at least 2, got {self.min_per_label}.")
