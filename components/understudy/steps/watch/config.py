"""Define the settings of the step watch."""

from dataclasses import dataclass
from datetime import date

from understudy.task.settings import require


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """What change is none, how rare a false alarm must be, and what an alarm leads to.

    Attributes:
        false_alarm_nights: mean number of nights to a false alarm of all series together, at least.
        min_share_change: relative; a label's share that moves by less has not changed.
        min_score_change: in log-odds; a mean score that moves by less has not changed.
        min_length_change: relative; a mean length that moves by less has not changed.
        min_surprise_change: in bits a word; words whose mean surprise moves by less have not changed.
        min_unknown_change: as a share; a share of unknown tokens that moves by less has not changed.
        min_quality_change: as a share; a rate of errors or disagreements that moves by less has not changed.
        retrain_change: a change of content this many times the least one asks for a retraining.
        baseline_from: YYYY-MM-DD; earlier nights and the bundle's reference are left out: what changed is accepted.
        max_texts: most texts of a night that are looked at, whole segments spread over the night.
        max_refused_share: in [0, 1]; a night that refused a larger share of its texts must be looked at.
        min_test_texts: answered random texts of a quarter from which they become a new test set.
        prometheus_file: file that takes the night's figures for node_exporter's textfile collector; empty for none.
        page_nights: nights on the page.
    """

    false_alarm_nights: int = 365
    min_share_change: float = 0.05
    min_score_change: float = 0.05
    min_length_change: float = 0.02
    min_surprise_change: float = 0.03
    min_unknown_change: float = 0.01
    min_quality_change: float = 0.01
    retrain_change: float = 10.0
    baseline_from: str = ""
    max_texts: int = 500_000
    max_refused_share: float = 0.05
    min_test_texts: int = 200
    prometheus_file: str = ""
    page_nights: int = 120

    def __post_init__(self) -> None:
        """Check the rules."""
        for name in ("false_alarm_nights", "retrain_change", "max_texts", "min_test_texts", "page_nights"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("share", "score", "length", "surprise", "unknown", "quality"):
            value = getattr(self, f"min_{name}_change")
            require(value >= 0, f"min_{name}_change must be at least 0, got {value}.")
        require(0 <= self.max_refused_share <= 1, f"max_refused_share must be in [0, 1], got {self.max_refused_share}.")
        is_date = not self.baseline_from or _is_date(self.baseline_from)
        require(is_date, f"baseline_from must be a date YYYY-MM-DD, got '{self.baseline_from}'.")


def _is_date(given: str) -> bool:
    try:
        return date.fromisoformat(given).isoformat() == given
    except ValueError:
        return False
