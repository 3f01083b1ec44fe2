"""Ids in the shape of a UUID, as callers' columns want them. Making one through an object of `uuid` takes
several times as long."""

from __future__ import annotations

from binascii import hexlify
from struct import Struct
from typing import Final

_groups: Final = Struct("8s4s4s4s12s").unpack
_unmarked: Final = Struct("8s4sx3sc3s12s").unpack
"""As `_groups`, without the digit of the version; that of the variant stands apart."""
_VARIANTS: Final = {b"%x" % digit: b"89ab"[digit % 4 : digit % 4 + 1] for digit in range(16)}
_VERSIONS: Final = {4: b"-4", 5: b"-5"}


def hyphenated(octets: bytes) -> str:
    """16 bytes, as a UUID is written."""
    return b"-".join(_groups(hexlify(octets))).decode()


def versioned(octets: bytes, version: int) -> str:
    """As `hyphenated`, marked as a UUID of this version (4: drawn by chance, 5: a name's digest)."""
    low, middle, high, variant, clock, node = _unmarked(hexlify(octets))
    marked = (low, b"-", middle, _VERSIONS[version], high, b"-", _VARIANTS[variant], clock, b"-", node)
    return b"".join(marked).decode()
