"""How records and states are written: one version byte, then msgpack.

A version adds fields behind those of the version before, so that one type reads them all.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class Versioned(Generic[T]):
    """The bytes of one kind of record. `what` names it in errors: "a profile record"."""

    def __init__(self, what: str, version: int, kind: type[T]) -> None:
        self._expected = f"Expected {what} of version {version}{' or older' if version > 1 else ''}"
        self._version = bytes((version,))
        self._read = frozenset(range(1, version + 1))
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def encode(self, record: object) -> bytes:
        """Of a record, or of a draft of one, which has the same bytes."""
        return self._version + _encode(record)

    def decode(self, data: bytes) -> T:
        """Raises ValueError for another version, msgspec.DecodeError for broken bytes."""
        if not data or data[0] not in self._read:
            raise ValueError(f"{self._expected}, got {bytes(data[:1])!r}")
        return self._decode(memoryview(data)[1:])
