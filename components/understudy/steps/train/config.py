"""Define the settings of the step train."""

from dataclasses import dataclass
from typing import Literal

from understudy.task.settings import require

Stages = Literal["mixed then people", "mixed", "people", "teacher then people", "teacher then mixed then people"]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the student learns.

    Attributes:
        pairs: "session" begins with a stage that learns which of two texts of a session (the column group: a dialogue,
            a review, a thread) the teacher scores higher, before the stages below learn its labels. A teacher that is
            generous in one session and strict in the next errs alike in both texts. "none" leaves this stage out.
        pair_epochs: passes over the texts of that stage.
        pair_difference: least difference of the teacher's probabilities of a label that makes a pair.
        stages: whose labels it learns, one stage after the other: the teacher's alone, mixed with people's, which stand
            above the teacher's, or people's alone. With "people" no step of the training asks a teacher, so
            none is compared with; mine asks an oracle where the card names one.
        epochs: most passes over the texts of a stage.
        people_epochs: the same for the stage on people's labels alone, which are fewer. The mean of a stage's epochs is
            what validation looks at and what is kept; of 300 labels 8 epochs gave a better one than 4 (docs/log.md).
        learning_rate: peak of the linear schedule; none takes the one that suits the student.
        warmup_share: share of all updates over which the rate rises to its peak.
        batch_tokens: most tokens a batch holds, padding included.
        max_length: tokens a text is cut to here; in production a longer one is read in windows of so many.
            At most what the student can take.
        weight_decay: of AdamW.
        human_weight: how many teacher labels one human label counts for.
        train_embeddings: also train the word embeddings, which are half of a small model's weights.
        patience: epochs without a better validation split after which a stage ends.
        checkpoint_s: seconds between checkpoints in the store.
        seed: of the head, of dropout and of the order of the texts.
        device: where it trains: "gpu" or "cpu"; "auto" takes a GPU where there is one. A pod that was given an
            accelerator must find it, whatever "auto" would do.
        told_unread_share: share of the texts' letters and signs that the student's vocabulary does not know or breaks
            up, above which this is said with an example. Of a few plain sentences, MiniLM's does so with 0% of English
            and French, and with 9% of German, of which a student still learns.
        max_unread_share: such a share above which training is refused, for what is left of the texts says little:
            with MiniLM it is 72% of Chinese, 83% of Russian, 40% of Hindi. 1 goes on in any case.
        told_emoji_share: share of the texts that lose an emoji, above which this is said with an example.
    """

    pairs: Literal["none", "session"] = "none"
    pair_epochs: int = 3
    pair_difference: float = 0.2
    stages: Stages = "mixed then people"
    epochs: int = 4
    people_epochs: int = 8
    learning_rate: float | None = None
    warmup_share: float = 0.1
    batch_tokens: int = 1024
    max_length: int = 256
    weight_decay: float = 0.01
    human_weight: float = 3.0
    train_embeddings: bool = False
    patience: int = 2
    checkpoint_s: float = 120.0
    seed: int = 13
    device: Literal["auto", "cpu", "gpu"] = "auto"
    told_unread_share: float = 0.05
    max_unread_share: float = 0.25
    told_emoji_share: float = 0.01

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(1 <= self.epochs <= 100, f"epochs must be 1 to 100, got {self.epochs}.")
        require(1 <= self.pair_epochs <= 100, f"pair_epochs must be 1 to 100, got {self.pair_epochs}.")
        difference = self.pair_difference
        require(0 < difference < 1, f"pair_difference must be between 0 and 1, got {difference}.")
        has_teacher = self.pairs == "none" or self.learns_from_teacher
        require(
            has_teacher, "pairs must be none where stages is 'people', got session: pairs are of the teacher's scores."
        )
        require(1 <= self.people_epochs <= 100, f"people_epochs must be 1 to 100, got {self.people_epochs}.")
        rate = self.learning_rate
        require(rate is None or 0 < rate < 1, f"learning_rate must be between 0 and 1, got {rate}.")
        require(0 <= self.warmup_share < 1, f"warmup_share must be at least 0 and below 1, got {self.warmup_share}.")
        require(self.batch_tokens >= 64, f"batch_tokens must be at least 64, got {self.batch_tokens}.")
        require(8 <= self.max_length <= 8192, f"max_length must be 8 to 8192, got {self.max_length}.")
        require(self.weight_decay >= 0, f"weight_decay must be at least 0, got {self.weight_decay}.")
        require(self.human_weight > 0, f"human_weight must be above 0, got {self.human_weight}.")
        require(self.patience >= 1, f"patience must be at least 1, got {self.patience}.")
        require(self.seed >= 0, f"seed must be at least 0, got {self.seed}.")
        require(self.checkpoint_s >= 0, f"checkpoint_s must be at least 0, got {self.checkpoint_s}.")
        for name in ("told_unread_share", "max_unread_share", "told_emoji_share"):
            require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1], got {getattr(self, name)}.")

    @property
    def learns_from_teacher(self) -> bool:
        """Whether a stage learns the teacher's labels."""
        return self.stages != "people"
