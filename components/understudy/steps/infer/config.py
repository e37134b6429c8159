"""Define the settings of the step infer."""

from dataclasses import dataclass

from understudy.task.settings import require

ALSO_READS = ("cascade.checked_share", "shard.texts_per_shard", "columns")


@dataclass(frozen=True, slots=True)
class InferConfig:
    """How much a worker holds in memory, and what it refuses.

    Attributes:
        texts_per_segment: texts of a segment, the unit that a killed worker loses at most.
        chars_per_segment: characters of a segment, which ends before its next text when that would pass them.
        max_chars: longest text, in characters; a longer one is refused.
        remembered_texts: how many of the texts last scored by the same bundle are not scored again; 40 bytes each.
            Where a text may have several labels it takes 20, and 4 for each label, and fewer are for the same memory.
        threads: that score batches at the same time; 0 for the fastest number on this machine.
        batch_tokens: most tokens of a batch, padding included; 0 for the fastest number on this machine.
    """

    texts_per_segment: int = 5_000
    chars_per_segment: int = 10_000_000
    max_chars: int = 2_000_000
    remembered_texts: int = 2_000_000
    threads: int = 0
    batch_tokens: int = 0

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        for name in ("texts_per_segment", "chars_per_segment", "max_chars"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("remembered_texts", "threads", "batch_tokens"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0, got {getattr(self, name)}.")
