"""Define the settings of the step shard."""

from dataclasses import dataclass

from understudy.task.settings import require

ALSO_READS = ("columns",)


@dataclass(frozen=True, slots=True)
class ShardConfig:
    """How a night's texts are dealt to workers.

    Attributes:
        texts_per_shard: texts that a worker gets; more when 64 workers of that many do not hold the night.
    """

    texts_per_shard: int = 20_000

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(self.texts_per_shard >= 1, f"texts_per_shard must be at least 1, got {self.texts_per_shard}.")
