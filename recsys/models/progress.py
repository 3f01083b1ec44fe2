"""How far a long computation has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called as `progress(step, fraction)`: the step's name and how much of it is done, 0.0 to 1.0."""


def silent(step: str, fraction: float) -> None:
    """The progress callback of whoever does not want to know."""
