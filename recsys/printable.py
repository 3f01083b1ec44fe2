"""Text from outside, for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text on one line: what would steer a terminal is written as its escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
