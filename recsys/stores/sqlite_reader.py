"""Reading the embedded log in its order of commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from recsys.ports import Position, Record
from recsys.sqlite_files import connect
from recsys.stores.limits import check_partitions, offset_gone
from recsys.stores.packs import PACKED, Pack, unpacked
from recsys.stores.sqlite_file import blaming, kept, transaction

READ_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of values after which one `read` returns, whatever its limit."""


class SqliteReader:
    """A LogReader over the order of commit. A poll that finds nothing new costs one pragma."""

    def __init__(self, path: Path, timeout_s: float, after: Mapping[int, int]) -> None:
        self._path = path
        self._connection = connect(path, timeout_s)
        self._data_version = -1
        self._at_end = False
        self._held: list[Record] = []
        """Records behind the limit of the last read: of the pack that it met there."""
        try:
            with transaction(self._connection, timeout_s, begin="BEGIN"):
                self._wanted, self._next_seq = _resume(self._connection, path, after)
        except BaseException:
            self._connection.close()
            raise

    def read(self, limit: int) -> list[Record]:
        """See LogReader; at most 16 MiB of values at once."""
        with blaming(self._path):
            # The version is read before the rows: a commit between the two is then read
            # twice over, never missed.
            data_version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            held = self._held  # what is read before something fails stays here
            if len(held) < limit and not (self._at_end and data_version == self._data_version):
                self._data_version = data_version
                self._read_rows(limit, held)
            records, self._held = (held, []) if len(held) <= limit else (held[:limit], held[limit:])
            return records

    def passed(self) -> Mapping[int, int]:
        """See LogReader: every offset has a record."""
        return {}

    def _read_rows(self, limit: int, records: list[Record]) -> None:
        """Add the records of the next rows that are wanted, up to the end or a little beyond the limit."""
        wanted, size = self._wanted, 0
        new_tuple = tuple.__new__  # what the classes do by way of a Python function, at three times the cost
        rows = self._connection.execute(
            "SELECT * FROM records WHERE seq >= ? ORDER BY seq", (self._next_seq,)
        )
        self._at_end = False
        try:
            for seq, partition, offset, key, value, received_ms in rows:
                if partition == PACKED:
                    records += self._wanted_of(unpacked(value))
                    self._next_seq = seq + offset
                else:
                    self._next_seq = seq + 1
                    if offset < wanted[partition]:
                        continue
                    wanted[partition] = offset + 1
                    position = new_tuple(Position, (partition, offset))
                    records.append(new_tuple(Record, (position, key, value, received_ms)))
                size += len(value)
                if len(records) >= limit or size > READ_BYTES_MAX:
                    return
        finally:
            rows.close()  # an open statement would hold back the checkpoint, and the WAL would grow
        self._at_end = True

    def _wanted_of(self, pack: Pack) -> list[Record]:
        """The records of a pack that were not read before; they count as read."""
        wanted, records, spans = self._wanted, pack.records, pack.spans
        if any(first < wanted[partition] for partition, (first, _) in spans.items()):
            records = [one for one in records if one.position.offset >= wanted[one.position.partition]]
        wanted.update({each: max(wanted[each], end) for each, (_, end) in spans.items()})
        return records

    def close(self) -> None:
        """See LogReader."""
        self._connection.close()


def _resume(
    connection: sqlite3.Connection, path: Path, after: Mapping[int, int]
) -> tuple[dict[int, int], int]:
    """The next offset wanted of each partition, and the `seq` of a row before which none of them is."""
    here = kept(connection)
    check_partitions(after, len(here))
    wanted = {partition: first for partition, (first, _) in here.items()}
    wanted.update({partition: offset + 1 for partition, offset in after.items()})
    seqs = [connection.execute("SELECT sum(next_offset) FROM heads").fetchone()[0]]
    for partition, (first, end) in here.items():
        if not first <= wanted[partition] <= end:
            raise offset_gone(str(path), partition, wanted[partition], first, end)
        if wanted[partition] < end:
            mark = connection.execute(
                'SELECT seq FROM marks WHERE partition = ? AND "offset" <= ? '
                'ORDER BY "offset" DESC, seq DESC LIMIT 1',
                (partition, wanted[partition]),
            ).fetchone()
            seqs.append(mark[0] if mark else 0)
    return wanted, min(seqs)
