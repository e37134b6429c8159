"""Define the settings of the step revise."""

from dataclasses import dataclass
from typing import Literal

from understudy.task.settings import require

ALSO_READS = ("teacher",)


@dataclass(frozen=True, slots=True)
class ReviseConfig:
    """Which of the teacher's answers the card's editor revises; how it is asked is the section `teacher`.

    Attributes:
        mode: "targeted": those that are likely to have an error that people's labels show; "all": all of them, label by
            label; "raw": none.
        categories: most kinds of errors that are tried, the commonest first.
        min_errors: fewest human-labelled training texts on which the teacher made an error, beside those that the
            editor is shown; with fewer than six no test can tell that its revisions help.
        min_share: least share of them among all that the teacher labelled so: texts that are rarely wrong are not sent.
            Read only with mode "targeted".
        examples: most texts of each kind that the editor is shown: wrong and right ones.
        proof_texts: most human-labelled training texts on which the revisions of a kind of errors are tested.
        alpha: chance of taking revisions that help no more than they harm for good ones, by kind of errors; two-sided.
        seed: of the draws.
    """

    mode: Literal["targeted", "all", "raw"] = "targeted"
    categories: int = 8
    min_errors: int = 6
    min_share: float = 0.05
    examples: int = 4
    proof_texts: int = 200
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        for name in ("categories", "min_errors", "proof_texts"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        require(0 <= self.min_share < 1, f"min_share must be at least 0 and below 1, got {self.min_share}.")
        require(self.examples >= 0, f"examples must be at least 0, got {self.examples}.")
        require(0 < self.alpha < 1, f"alpha must be between 0 and 1, got {self.alpha}.")
        require(self.seed >= 0, f"seed must be at least 0, got {self.seed}.")
