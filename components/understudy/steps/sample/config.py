"""Define the settings of the step sample."""

from dataclasses import dataclass

from understudy.task.settings import require

ALSO_READS = ("teacher", "ingest.max_refused_share")


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """How many texts people and the teacher get, and from which nights.

    Attributes:
        nights: newest nights to draw from; those that another bundle labelled are left out.
        random_texts: texts drawn by lot from all of them; only these become a test set.
        stratified_texts: further texts drawn by lot from each part of the range of probabilities, evenly.
        teacher_texts: of the random texts, how many the teacher is asked for; 0 asks nobody.
        teacher_usd: most dollars a sample may cost, within what is left of the card's budget.
        max_texts: most texts to draw from, whole segments spread over the nights.
        seed: another seed draws other texts.
    """

    nights: int = 7
    random_texts: int = 100
    stratified_texts: int = 100
    teacher_texts: int = 50
    teacher_usd: float = 0.5
    max_texts: int = 1_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rules."""
        for name in ("nights", "random_texts", "max_texts"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("stratified_texts", "teacher_texts", "teacher_usd"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0, got {getattr(self, name)}.")
