"""Ids in the shape of a UUID, as callers' columns want them. Making one through an object of `uuid` takes
several times as long."""

from __future__ import annotations


def hyphenated(digits: str) -> str:
    """32 hexadecimal digits, as a UUID is written."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
