"""The toy step decide has no settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecideConfig:
    """None."""
