"""The toy step gather has no settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatherConfig:
    """None."""
