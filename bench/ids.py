"""Who the people of the serving benchmark are, by number."""

from __future__ import annotations

KNOWN_SHARE = 5
"""Every fifth visitor is a customer, whose profile takes a second look-up."""


def visitor_id(number: int) -> str:
    return f"web-{number:08d}"


def user_id(number: int) -> str | None:
    """None for a visitor nobody is known behind."""
    return f"user-{number:08d}" if number % KNOWN_SHARE == 0 else None
