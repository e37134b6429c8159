"""Define the settings of the step evaluate."""

from dataclasses import dataclass

from understudy.task.settings import require

ALSO_READS = (
    "ingest.max_refused_share",
    "columns",
    "sample.random_texts",
    "sample.stratified_texts",
    "sample.teacher_texts",
    "sample.teacher_usd",
)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """How a bundle is measured and judged.

    Attributes:
        strict: a goal is met only when the whole 95% interval meets it; otherwise the point estimate must.
        samples: resamples of the bootstrap.
        seed: of the bootstrap.
        min_positives: fewest positive texts of a slice, or fewest texts of it where no label is looked for, and fewest
            texts of a label; below it the report says that they are too few.
        latency_texts: most texts that are scored one at a time to measure latency.
        labels_per_hour: texts that a person labels in an hour, for the one-off cost and the weekly samples, where fewer
            than 30 of the store's labels are timed; else their median counts.
        night_waiting_s: seconds a night for which instances are paid although they score nothing, while nodes and pods
            start, list and write; take your own.
        amortise_months: months over which the one-off cost is spread.
        errors_shown: most missed texts, and most false alarms, that the report lists; where no label is looked for,
            twice as many texts with a wrong label.
    """

    strict: bool = False
    samples: int = 1000
    seed: int = 0
    min_positives: int = 10
    latency_texts: int = 200
    labels_per_hour: float = 200.0
    night_waiting_s: float = 300.0
    amortise_months: float = 12.0
    errors_shown: int = 25

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(self.seed >= 0, f"seed must be at least 0, got {self.seed}.")
        require(self.samples >= 100, f"samples must be at least 100, got {self.samples}.")
        require(self.min_positives >= 1, f"min_positives must be at least 1, got {self.min_positives}.")
        require(self.latency_texts >= 20, f"latency_texts must be at least 20, got {self.latency_texts}.")
        require(self.labels_per_hour > 0, f"labels_per_hour must be above 0, got {self.labels_per_hour}.")
        require(self.night_waiting_s >= 0, f"night_waiting_s must be at least 0, got {self.night_waiting_s}.")
        require(self.amortise_months > 0, f"amortise_months must be above 0, got {self.amortise_months}.")
        require(self.errors_shown >= 0, f"errors_shown must be at least 0, got {self.errors_shown}.")
