"""Limits that every adapter keeps with the same words, so that moving to another one surprises nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

from recsys.ports import LogUnavailable, NewRecord

KEY_BYTES_MAX = 400
VALUE_BYTES_MAX = 8 * 1024 * 1024
JOURNAL_KEPT = 100_000
"""Entries of a journal that are surely kept."""

_MS_MAX = 2**53


def key_bytes(key: str) -> bytes:
    """The UTF-8 of a store key; ValueError unless that is 1 to 400 bytes."""
    raw = _utf8(key)
    if not 0 < len(raw) <= KEY_BYTES_MAX:
        raise ValueError(
            f"Expected a key of 1 to {KEY_BYTES_MAX} bytes of UTF-8, got {len(raw)} - at `{key[:40]}`"
        )
    return raw


def check_value(key: str, value: bytes) -> None:
    """ValueError when a store value is longer than 8 MiB."""
    if len(value) > VALUE_BYTES_MAX:
        raise ValueError(
            f"Expected a value of at most {VALUE_BYTES_MAX} bytes, got {len(value)} - at `{key}`"
        )


def place(records: Sequence[NewRecord], partitions: int) -> list[int]:
    """The partition of each record; ValueError naming the first that no log can keep.

    This comes before a record joins a group commit, so that one caller's bad record never fails
    another caller's append.
    """
    places = []
    for index, (key, value, received_ms) in enumerate(records):
        raw = _utf8(key)
        if len(raw) > KEY_BYTES_MAX:
            expected = f"Expected a key of at most {KEY_BYTES_MAX} bytes of UTF-8"
            raise ValueError(f"{expected}, got {len(raw)} - at `[{index}].key`")
        if not isinstance(value, bytes):
            raise TypeError(f"Expected `bytes`, got `{type(value).__name__}` - at `[{index}].value`")
        if len(value) > VALUE_BYTES_MAX:
            expected = f"Expected a value of at most {VALUE_BYTES_MAX} bytes"
            raise ValueError(f"{expected}, got {len(value)} - at `[{index}].value`")
        if not 0 <= received_ms < _MS_MAX:
            raise ValueError(f"Expected epoch milliseconds, got {received_ms} - at `[{index}].received_ms`")
        places.append(crc32(raw) % partitions)  # `partition_of`, with the UTF-8 that is at hand
    return places


def check_partitions(after: Mapping[int, int], partitions: int) -> None:
    """ValueError when a reader is asked to resume in a partition that the log does not have."""
    for partition in after:
        if not 0 <= partition < partitions:
            raise ValueError(f"Expected a partition from 0 to {partitions - 1}, got {partition}")


def offset_gone(log: str, partition: int, wanted: int, first: int, end: int) -> LogUnavailable:
    """The error of a reader whose next record is not there: trimmed away, or of another log.

    `first` and `end` are the offsets kept: first included, end excluded.
    """
    kept = f"{first} to {end - 1}" if end > first else f"none before {end}"
    return LogUnavailable(f"{log}: partition {partition}: wanted offset {wanted}, available {kept}")


def _utf8(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"Expected a key of valid Unicode, got {key[:40]!a}") from None
