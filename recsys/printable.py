"""Text from outside, for a terminal."""

from __future__ import annotations

import re
from typing import Final

_SECRETS: Final = re.compile(
    r"(?<=://)(?P<user>[^/?@]*:)[^/?@]*(?=@)|(?P<name>[?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*",
    re.IGNORECASE,
)
"""Of a URL: what stands behind its user, and settings that are called so."""


def printable(text: str) -> str:
    """Text on one line: what would steer a terminal is written as its escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def without_secrets(url: str) -> str:
    """A URL that may be shown: passwords and the like are `...`."""
    return _SECRETS.sub(lambda found: f"{found['user'] or found['name']}...", url)
