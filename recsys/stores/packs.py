"""Rows of the embedded log that hold many records: those of one commit, in order.

What SQLite and Python do for a row costs three times what a record in a pack does. An append of one
record, as a click makes it, stays a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeAlias

import msgspec

from recsys.ports import Record

PACKED = -1
"""Stands as the partition of a row that is a pack; its offset is how many records it holds."""
PACK_RECORDS = 200
PACK_BYTES = 256 * 1024
"""Of values, after which a pack is full: what a reader takes in at once, whatever it asked for."""

Row: TypeAlias = "tuple[int, int, int, str, bytes, int]"
"""seq, partition, offset, key, value, received_ms."""


class Pack(msgspec.Struct, array_like=True, frozen=True):
    """The records of one row, in the order of commit."""

    spans: dict[int, tuple[int, int]]
    """Per partition the offset of its first record in here, and the one behind its last."""
    records: list[Record]


_encode = msgspec.msgpack.Encoder().encode
unpacked = msgspec.msgpack.Decoder(Pack).decode


def rows_of(seq: int, records: Sequence[Record]) -> list[Row]:
    """The records of one commit as rows, the first with this `seq`; each counts up by its records."""
    rows = []
    for some in _chunks(records):
        rows.append(_row(seq, some))
        seq += len(some)
    return rows


def flat(rows: Sequence[Row]) -> list[int | str | bytes]:
    """Rows as the values of one statement."""
    return list(chain.from_iterable(rows))


def _chunks(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    first, size = 0, 0
    for index, record in enumerate(records):
        size += len(record.value)
        if index > first and (size > PACK_BYTES or index - first >= PACK_RECORDS):
            yield records[first:index]
            first, size = index, len(record.value)
    yield records[first:]


def _row(seq: int, records: Sequence[Record]) -> Row:
    if len(records) == 1:
        (partition, offset), key, value, received_ms = records[0]
        return seq, partition, offset, key, value, received_ms
    spans: dict[int, tuple[int, int]] = {}
    for (partition, offset), _, _, _ in records:
        spans[partition] = (spans[partition][0] if partition in spans else offset, offset + 1)
    return seq, PACKED, len(records), "", _encode(Pack(spans, list(records))), records[0].received_ms
