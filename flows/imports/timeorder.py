"""Rows put into the order of time, in bounded memory.

Most exports are in order already, so the file is read once to see that, and then simply passed on.
Otherwise it is an external merge sort: sorted runs in a temporary folder, merged.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path

import msgspec

from flows.imports.source import RowProblem

RUN_BYTES = 64 * 1024 * 1024
"""About how much a run holds, and so how much memory sorting takes."""
MAX_RUNS = 64
"""Runs merged at once (open files); more are merged into one first."""
_ROW_OVERHEAD_BYTES = 200


Key = tuple[int, ...]
"""Epoch microseconds, then whatever orders rows of the same microsecond; all of a file as long."""


class TimedRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row as it came, with what it is ordered by."""

    key: Key
    line: int
    content: tuple[str, ...] | bytes


_Encoded = tuple[Key, bytes]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TimedRow)


def in_time_order(
    read: Callable[[], Iterable[TimedRow | RowProblem]],
    read_keys: Callable[[], Iterable[Key]],
    run_bytes: int = RUN_BYTES,
) -> Iterator[TimedRow | RowProblem]:
    """The rows of `read()` ordered by `key`; equal keys stay as they came. `read_keys()` gives the
    keys alone, which is quicker, and is asked first."""
    if _is_ordered(read_keys()):
        yield from read()
        return
    with tempfile.TemporaryDirectory(prefix="headrace-import-") as folder:
        yield from _merge_sorted(read(), run_bytes, Path(folder))


def _is_ordered(keys: Iterable[Key]) -> bool:
    latest: Key = ()
    for key in keys:
        if key < latest:
            return False
        latest = key
    return True


def _merge_sorted(
    rows: Iterable[TimedRow | RowProblem], run_bytes: int, folder: Path
) -> Iterator[TimedRow | RowProblem]:
    spilled: list[Path] = []
    run: list[_Encoded] = []
    size = written = 0
    for row in rows:
        if isinstance(row, RowProblem):
            yield row
            continue
        encoded = _encoder.encode(row)
        run.append((row.key, encoded))
        size += len(encoded) + _ROW_OVERHEAD_BYTES
        if size < run_bytes:
            continue
        spilled.append(_spill(sorted(run, key=itemgetter(0)), folder / str(written)))
        written += 1
        run, size = [], 0
        if len(spilled) == MAX_RUNS:
            merged = _spill(_merge(spilled, []), folder / str(written))
            written += 1
            for path in spilled:
                path.unlink()
            spilled = [merged]
    for _, encoded in _merge(spilled, sorted(run, key=itemgetter(0))):
        yield _decoder.decode(encoded)


def _merge(spilled: list[Path], last: list[_Encoded]) -> Iterator[_Encoded]:
    # heapq.merge takes equal keys from the earlier run first: the order they came in.
    return heapq.merge(*(_read_run(path) for path in spilled), last, key=itemgetter(0))


def _spill(run: Iterable[_Encoded], path: Path) -> Path:
    with path.open("wb") as file:
        for _, encoded in run:
            file.write(len(encoded).to_bytes(4, "little"))
            file.write(encoded)
    return path


def _read_run(path: Path) -> Iterator[_Encoded]:
    with path.open("rb") as file:
        while prefix := file.read(4):
            encoded = file.read(int.from_bytes(prefix, "little"))
            yield _decoder.decode(encoded).key, encoded
