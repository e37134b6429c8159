"""Define the settings of the step label."""

from dataclasses import dataclass
from typing import Literal

from understudy.task.settings import require

ALSO_READS = ("teacher", "train.stages")


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """Which texts the teacher is asked for; how it is asked is the section `teacher`.

    Attributes:
        texts: texts to draw from the pool.
        sampler: which texts the draw is richer in. "balanced": about half are likely to have the positive label, where
            none is looked for any, spread evenly over the labels; likely by the weak rules, and on a card without any
            by the teacher's answers to a first 200, drawn at random. "uniform": every text alike. "stratified": as
            many of each third of lengths, in each slice. "boundary": about half are the fifth of the pool that is
            nearest to a label's boundary by these first answers.
        seed: another seed draws other texts; a larger `texts` with the same seed only adds to them.
        min_answers: fewest answered texts of the draw to go on with when the budget is spent.
        trial_texts: human-labelled test texts, drawn at random, that the teacher is tried on before all others; up to
            five times as many where these leave undecided what it is worth.
        stop_hopeless: end the step after the trial when the teacher agrees with people hardly more than chance, or is
            certainly worse than the card's weak rules or the commonest label; false goes on.
    """

    texts: int = 2000
    sampler: Literal["balanced", "uniform", "stratified", "boundary"] = "balanced"
    seed: int = 0
    min_answers: int = 100
    trial_texts: int = 200
    stop_hopeless: bool = True

    def __post_init__(self) -> None:
        """Check the rules."""
        for name in ("texts", "min_answers"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        require(self.trial_texts >= 50, f"trial_texts must be at least 50, got {self.trial_texts}.")
