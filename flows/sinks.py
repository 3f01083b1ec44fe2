"""The sinks. Each may be fed the same again after a crash and ends up the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from bytewax.outputs import DynamicSink, FixedPartitionedSink, StatefulSinkPartition, StatelessSinkPartition

from flows.dead_letters import DeadLetters
from flows.steps import Claim, Records
from recsys import archive
from recsys.events import DeadLetter
from recsys.keys import COUNTER_PREFIX, ITEM_PREFIX, ITEMS_JOURNAL
from recsys.ports import ProfileStore, StoreUnavailable


class StateSink(DynamicSink[Any]):
    """Upserts whole records; the newest of a key in a batch wins. What changed of items is named
    in the journal that servers follow."""

    def __init__(self, open_store: Callable[[], ProfileStore], decision_ttl_s: int) -> None:
        self._open_store = open_store
        self._decision_ttl_s = decision_ttl_s

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatePartition:
        return StatePartition(self._open_store(), self._decision_ttl_s)


class Aside:
    """One slow call at a time beside the flow: a wait for the disk must not keep a click waiting."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def start(self, call: Callable[[], None]) -> None:
        """Waits for the call before, and raises what it raised."""
        self.wait()
        self._running = self._executor.submit(call)

    def wait(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None


class StatePartition(StatelessSinkPartition[Any]):
    """One worker's writes to the state. Raises StoreUnavailable."""

    SYNC_S = 10.0
    """What a power failure may take from the state; the flow's recovery writes it again."""

    def __init__(self, store: ProfileStore, decision_ttl_s: int) -> None:
        self._store = store
        self._decision_ttl_s = decision_ttl_s
        self._aside = Aside()
        self._synced_s = time.monotonic()
        self._is_down = False

    def write_batch(self, items: list[Records | Claim]) -> None:
        try:
            self._write(items)
        except StoreUnavailable:
            self._is_down = True
            raise

    def _write(self, items: list[Records | Claim]) -> None:
        records: Records = {}
        for item in items:
            if isinstance(item, Claim):
                self._store.claim(item.key, item.value, self._decision_ttl_s)
            else:
                records.update(item)
        if records:
            self._store.put_many(records)
            changed = [key for key in records if key.startswith((ITEM_PREFIX, COUNTER_PREFIX))]
            if changed:
                self._store.journal(ITEMS_JOURNAL, changed)
        if time.monotonic() - self._synced_s >= self.SYNC_S and not self._aside.is_busy:
            self._synced_s = time.monotonic()
            self._aside.start(self._store.sync)

    def close(self) -> None:
        # The engine aborts the process where its own unwinding from a failure meets another one.
        if not self._is_down:
            self._aside.wait()
            self._store.sync()
        self._store.close()


class DeadLetterSink(DynamicSink[DeadLetter]):
    """Keyed by place in the log, so that a replay writes the same letters again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def build(self, step_id: str, worker_index: int, worker_count: int) -> DeadLetterPartition:
        return DeadLetterPartition(DeadLetters(self._path))


class DeadLetterPartition(StatelessSinkPartition[DeadLetter]):
    """One worker's dead letters."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def write_batch(self, items: list[DeadLetter]) -> None:
        self._letters.add(items)

    def close(self) -> None:
        self._letters.close()


ArchiveState = tuple[int, int, int]
"""Sequence number of the open file, its length in bytes, and how many rows it has."""


class ArchiveSink(FixedPartitionedSink[Any, ArchiveState]):
    """Exactly once: after a crash the open file is cut back to the snapshot, and files of a later
    sequence number are deleted."""

    def __init__(self, directory: Path, roll_rows: int, roll_s: float) -> None:
        self._directory = directory
        self._roll_rows = roll_rows
        self._roll_s = roll_s

    def list_parts(self) -> list[str]:
        return ["0"]

    def build_part(self, step_id: str, for_part: str, resume_state: ArchiveState | None) -> ArchivePartition:
        return ArchivePartition(self._directory, int(for_part), resume_state, self._roll_rows, self._roll_s)


class ArchivePartition(StatefulSinkPartition[Any, ArchiveState]):
    """The archive's one writer: an open file that grows, and closed ones that become Parquet."""

    BUFFER_ROWS = 20_000
    """Rows held in memory before they are written to the open file."""
    KEPT_SNAPSHOTS = 3
    """A closed file's open form stays for so many: a crash may go back to a snapshot before it."""

    def __init__(
        self, directory: Path, part: int, resume: ArchiveState | None, roll_rows: int, roll_s: float
    ) -> None:
        self._directory, self._part = directory, part
        self._roll_rows, self._roll_s = roll_rows, roll_s
        self._seq, self._length, self._rows = resume if resume is not None else (0, 0, 0)
        self._buffer: archive.Columns = [[] for _ in archive.SCHEMA]
        self._snapshots = 0
        # Sequence number and snapshot at which it was closed; a crash may have left some behind.
        self._closed = [(seq, 0) for seq in archive.open_seqs(directory, part) if seq < self._seq]
        directory.mkdir(parents=True, exist_ok=True)
        mine = archive.open_path(directory, part, self._seq)
        for path in archive.files_from(directory, part, self._seq):
            if path != mine:
                path.unlink()
        self._aside = Aside()
        self._aside.start(self._convert_left)
        self._file = self._open()

    def _convert_left(self) -> None:
        for seq, _ in tuple(self._closed):
            archive.close_file(self._directory, self._part, seq)

    def _open(self) -> BinaryIO:
        path = archive.open_path(self._directory, self._part, self._seq)
        size = path.stat().st_size if path.exists() else 0
        if size < self._length:  # only a power failure does that; the log still has the events
            raise ValueError(
                f"Expected an archive file of at least {self._length} bytes, got {size} - at `{path}`;"
                " remove the folders of archive, recovery and state, and the flow rebuilds them from the log"
            )
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(self._length)
        file.seek(self._length)
        if self._length == 0:
            file.write(archive.SCHEMA.serialize())
        self._opened_s = time.monotonic()
        return file

    def write_batch(self, values: list[archive.Columns]) -> None:
        for columns in values:
            for held, more in zip(self._buffer, columns, strict=True):
                held.extend(more)
        if len(self._buffer[0]) >= self.BUFFER_ROWS:
            self._write()

    def _write(self) -> None:
        if self._buffer[0]:
            self._file.write(archive.batch_of(self._buffer).serialize())
            self._rows += len(self._buffer[0])
            for held in self._buffer:
                held.clear()

    def snapshot(self) -> ArchiveState:
        self._write()
        self._file.flush()
        # Waits for the conversion before: a file goes only once its Parquet files are there.
        self._aside.wait()
        # Once newer snapshots are committed nothing goes back to before a file was closed.
        self._snapshots += 1
        while self._closed and self._closed[0][1] <= self._snapshots - self.KEPT_SNAPSHOTS:
            seq, _ = self._closed.pop(0)
            archive.open_path(self._directory, self._part, seq).unlink(missing_ok=True)
        if self._rows and (
            self._rows >= self._roll_rows or time.monotonic() - self._opened_s >= self._roll_s
        ):
            self._roll()
        else:
            self._aside.start(partial(os.fsync, self._file.fileno()))
        self._length = self._file.tell()
        return self._seq, self._length, self._rows

    def _roll(self) -> None:
        """Go on in a new file; the full one becomes Parquet beside the flow, which takes seconds.
        Until then, and after a crash, it is read as it is."""
        self._aside.start(partial(_close, self._file, self._directory, self._part, self._seq))
        self._closed.append((self._seq, self._snapshots))
        self._seq, self._length, self._rows = self._seq + 1, 0, 0
        self._file = self._open()
        self._file.flush()

    def close(self) -> None:
        self._aside.wait()
        self._file.close()


def _close(file: BinaryIO, directory: Path, part: int, seq: int) -> None:
    os.fsync(file.fileno())
    file.close()
    archive.close_file(directory, part, seq)
