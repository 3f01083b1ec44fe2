"""The message ids of a visitor: a message that comes again is known by its id and its body."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias

from recsys.events import Event

MAX_MESSAGE_IDS = 1000
MESSAGE_ID_MS = 48 * 3_600_000
"""The same id is the same message if it is received within so long of the first, before or behind; the
newest 1,000 of a visitor are known."""
MAX_PLAIN_CHARS = 64
"""Longer ids are kept by their hash, which keeps the state small. Of short ones the hash would cost the flow
a thirtieth of its work."""

Entry: TypeAlias = "tuple[str | int, int, int]"
"""A message id or its hash, the body's CRC-32, and when it was received."""


class Seen:
    """The newest ids of one visitor, the newest last. Not shared between threads."""

    __slots__ = ("_entries", "_hashed")

    def __init__(self) -> None:
        self._entries: dict[str | int, Entry] = {}
        self._hashed = False
        """Whether there are hashes among them: of long ids, or of any in states of older versions."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Seen:
        """As they were kept."""
        seen = cls()
        seen._entries = {entry[0]: entry for entry in entries}
        seen._hashed = any(type(key) is int for key in seen._entries)
        return seen

    def add(self, event: Event) -> int | None:
        """The CRC of the body that came before under this id; None where it is a new one, which is then
        known."""
        entries, given = self._entries, event.message_id
        key: str | int = given
        if self._hashed or len(given) > MAX_PLAIN_CHARS or not given.isascii():
            key = self._key(given)
        before = entries.get(key)
        if before is not None:
            # By when the messages were received, not by how far the log is: a history that is imported
            # again comes behind all that was received since.
            if abs(event.received_ms - before[2]) <= MESSAGE_ID_MS:
                return before[1]
            del entries[key]  # the newest id stands last, so that the oldest is dropped first
        entries[key] = (key, event.body_crc, event.received_ms)
        if len(entries) > MAX_MESSAGE_IDS:
            del entries[next(iter(entries))]
        return None

    def entries(self) -> list[Entry]:
        """As they are kept."""
        return list(self._entries.values())

    def _key(self, message_id: str) -> str | int:
        hashed = hash_of(message_id)
        plain = len(message_id) <= MAX_PLAIN_CHARS and message_id.isascii()
        if plain and hashed not in self._entries:
            return message_id
        self._hashed = True
        return hashed


def hash_of(text: str) -> int:
    """63 bits that stand for a text. Python's own hash differs between processes."""
    encoded = text.encode() if text.isascii() else text.encode("utf-8", "surrogatepass")
    number: int
    (number,) = _unpack(blake2b(encoded, digest_size=8).digest())
    return number >> 1


_unpack = struct.Struct(">Q").unpack
