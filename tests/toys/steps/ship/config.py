"""The toy step ship has no settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShipConfig:
    """None."""
