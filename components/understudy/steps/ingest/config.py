"""Define the settings of the step ingest."""

import re
from dataclasses import dataclass
from typing import Literal

from understudy.task.settings import require

ALSO_READS = ("calibrate.min_per_label", "columns")


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What is refused, and how human labels are divided.

    Attributes:
        validation_share: share of the labelled groups that early stopping and the choice of graph look at.
        calibration_share: share of the labelled groups that calibrator and threshold are fitted on.
        test_share: share of the labelled groups kept for the last exam; what the three shares leave is for training.
        min_per_label: fewest human labels of each label in each of validation, calibration and test;
            in calibration also calibrate.min_per_label, which the step calibrate will ask for.
        max_refused_share: largest share of faulty rows in the texts, or in the labels, with which the run goes on.
        max_chars: longest text, in characters.
        split: "sentences" makes a text of each sentence, with the text as its group, here and in nights; "none" takes
            texts whole.
        language: of the texts, by whose rules sentences end; a code such as "en" or "de".
        near_duplicate: Jaccard similarity of character shingles from which two texts count as near-duplicates.
        fold_near_duplicates: also keep only one of each family of near-duplicates in the pool.
        seed: of the assignment of groups to splits.
    """

    validation_share: float = 0.2
    calibration_share: float = 0.2
    test_share: float = 0.35
    min_per_label: int = 5
    max_refused_share: float = 0.05
    max_chars: int = 100_000
    split: Literal["none", "sentences"] = "none"
    language: str = "en"
    near_duplicate: float = 0.8
    fold_near_duplicates: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        shares = {name: getattr(self, f"{name}_share") for name in ("validation", "calibration", "test")}
        for name, share in shares.items():
            require(0 < share < 1, f"{name}_share must be between 0 and 1, got {share}.")
        total = round(sum(shares.values()), 9)
        require(total < 1, f"validation_share, calibration_share and test_share must sum to less than 1, got {total}.")
        require(self.min_per_label >= 1, f"min_per_label must be at least 1, got {self.min_per_label}.")
        require(
            0 <= self.max_refused_share <= 1,
            f"max_refused_share must be between 0 and 1, got {self.max_refused_share}.",
        )
        require(self.max_chars >= 1, f"max_chars must be at least 1, got {self.max_chars}.")
        require(
            re.fullmatch(r"[a-z]{2,3}(-[a-z]+)*", self.language) is not None,
            f"language must be a code such as 'en', got '{self.language}'.",
        )
        require(
            0 < self.near_duplicate <= 1, f"near_duplicate must be above 0 and at most 1, got {self.near_duplicate}."
        )
