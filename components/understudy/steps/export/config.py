"""Define the settings of the step export."""

from dataclasses import dataclass

from understudy.task.settings import require

ALSO_READS = ("cascade.max_missed",)


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """Which graphs are made, and how far they may differ from the student.

    Attributes:
        max_log_odds_gap: most that the fp32 graph's log-odds may differ from the student's, on the first window
            of any validation text.
        max_quality_loss: most average precision on the validation split that a graph with integers may lose.
        int8: also make an int8 graph, and where it loses too much a mixed one.
        opset: ONNX operator set; below 20 the graphs are traced, which is slower.
        first_stage_texts: most texts of the pool that the student scores, to fit the first stage and choose its cut.
        held_out_share: of these, held out for the cut, by whole groups.
    """

    max_log_odds_gap: float = 1e-4
    max_quality_loss: float = 0.02
    int8: bool = True
    opset: int = 20
    first_stage_texts: int = 50_000
    held_out_share: float = 0.4

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(
            0 < self.max_log_odds_gap < 1, f"max_log_odds_gap must be between 0 and 1, got {self.max_log_odds_gap}."
        )
        require(0 <= self.max_quality_loss < 1, f"max_quality_loss must be 0 to 1, got {self.max_quality_loss}.")
        require(14 <= self.opset <= 21, f"opset must be 14 to 21, got {self.opset}.")
        require(self.first_stage_texts >= 0, f"first_stage_texts must be at least 0, got {self.first_stage_texts}.")
        require(0 < self.held_out_share < 1, f"held_out_share must be between 0 and 1, got {self.held_out_share}.")
