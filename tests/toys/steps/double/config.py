"""Settings of the toy step double."""

from dataclasses import dataclass

from understudy.task.settings import require


@dataclass(frozen=True, slots=True)
class DoubleConfig:
    """A toy's settings.

    Attributes:
        factor: what to multiply with.
    """

    factor: int = 2

    def __post_init__(self):
        require(self.factor > 0, f"factor must be above 0, got {self.factor}.")
