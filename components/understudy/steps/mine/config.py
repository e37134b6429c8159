"""Define the settings of the step mine."""

from dataclasses import dataclass
from typing import Literal

from understudy.task.settings import require

ALSO_READS = ("teacher", "train.stages")
Strategy = Literal["disagreement", "uncertainty", "diversity", "slices", "random", "mixed"]


@dataclass(frozen=True, slots=True)
class MineConfig:
    """Which texts are compared, what counts as a disagreement, and how many of them people get.

    Attributes:
        strategy: by which the queue is chosen: "disagreement" of student and teacher; "uncertainty" of the student,
            "diversity" (a cover of the student's own vectors) and "random", which ask no teacher; "slices" in which the
            audit found the teacher biased; "mixed" takes these in turns, and random_share of the queue by lot. With
            train.stages "people", and no oracle on the card, "disagreement" and "mixed" are "uncertainty".
        texts: unlabelled texts to draw from the pool at random.
        teacher_usd: most dollars that the teacher's answers to a draw may cost, those that the store has of it
            included, within what is left of the card's budget.
        min_disagreement: in [0, 1); a text is queued when the total variation distance of
            student and teacher (with two labels, the difference of either one's probability) is more; where a text may
            have several labels, the difference of the one on which they differ most.
        queue_size: most texts in the queue.
        per_group: most texts of one group (review, thread) in the queue.
        random_share: in [0, 1]; share of the texts asked for that is drawn by lot, not for being near another label;
            where the strategy is "mixed" also that share of the queue.
        near_duplicate: in (0, 1]; Jaccard similarity from which two queued texts are folded into one.
        show_answers: put what student and teacher said of a text into the files for people too, who then tend to agree
            with it; queue.parquet has it anyway.
        seed: another seed draws other texts; a larger `texts` with the same seed only adds to them.
    """

    strategy: Strategy = "disagreement"
    texts: int = 10_000
    teacher_usd: float = 2.0
    min_disagreement: float = 0.3
    queue_size: int = 500
    per_group: int = 3
    random_share: float = 0.1
    near_duplicate: float = 0.8
    show_answers: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rules."""
        for name in ("texts", "queue_size", "per_group"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        require(self.teacher_usd >= 0, f"teacher_usd must be at least 0, got {self.teacher_usd}.")
        require(0 <= self.min_disagreement < 1, f"min_disagreement must be in [0, 1), got {self.min_disagreement}.")
        require(0 <= self.random_share <= 1, f"random_share must be in [0, 1], got {self.random_share}.")
        require(0 < self.near_duplicate <= 1, f"near_duplicate must be in (0, 1], got {self.near_duplicate}.")
