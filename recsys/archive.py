"""The archive: every accepted event, by day, for training and questions.

Layout: `<archive>/day=2026-11-21/<part>-<seq>.parquet` for closed files and
`<archive>/open-<part>-<seq>.arrows` (Arrow IPC stream without its end mark, so that it can be
appended to and cut back to a byte length) for the newest events of each part (a flow worker).
A Parquet file replaces the open file of the same part and sequence number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.events import Event

ARCHIVE_VERSION = "1"
DAY_MS = 86_400_000
GROUP_ROWS = 65_536
"""Of a Parquet file: rows that are read, and were held, at once."""
SCHEMA = pa.schema(
    [
        ("at_ms", pa.int64()),
        ("received_ms", pa.int64()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("index", pa.int32()),
        ("message_id", pa.string()),
        ("action", pa.int8()),
        ("name", pa.string()),
        ("touchpoint", pa.string()),
        ("visitor", pa.string()),
        ("person", pa.string()),
        ("session_ms", pa.int64()),
        ("items", pa.list_(pa.string())),
        ("quantities", pa.list_(pa.float32())),
        ("query", pa.string()),
        ("value", pa.float64()),
        ("raw", pa.binary()),
    ],
    metadata={"headrace_archive_version": ARCHIVE_VERSION},
)
_REPEATING = (
    *("name", "touchpoint", "visitor", "person", "action", "partition", "query"),
    *("items.list.element", "quantities.list.element"),
)
_WRITTEN = {"compression": "zstd", "use_dictionary": list(_REPEATING), "write_statistics": ["at_ms"]}
"""Dictionaries of what hardly comes twice, and the least and greatest of what nobody asks by, cost a tenth of
closing a file and make it larger."""
_PARQUET = re.compile(r"^(?P<part>\d+)-(?P<seq>\d+)\.parquet$")
_OPEN = re.compile(r"^open-(?P<part>\d+)-(?P<seq>\d+)\.arrows$")


Columns = list[list[Any]]
"""Events as the archive keeps them: a list for each field of SCHEMA, in its order."""


def columns_of(
    events: Sequence[Event], raws: list[bytes], persons: list[str], session_ms: list[int]
) -> Columns:
    """`persons`: whose event each was when it happened; `session_ms`: the start of the visitor's
    session. A list at a time: a row at a time costs three times as much."""
    positions = [event.position for event in events]
    lines = [event.lines for event in events]
    return [
        [event.at_ms for event in events],
        [event.received_ms for event in events],
        [position[0] for position in positions],
        [position[1] for position in positions],
        [event.index for event in events],
        [event.message_id for event in events],
        [event.action for event in events],
        [event.name for event in events],
        [event.touchpoint for event in events],
        [event.visitor for event in events],
        persons,
        session_ms,
        # An inner comprehension costs as much as five columns, and most events name one item.
        [each and ([each[0].item] if len(each) == 1 else [line.item for line in each]) for each in lines],
        [
            each and ([each[0].quantity] if len(each) == 1 else [line.quantity for line in each])
            for each in lines
        ],
        [event.query for event in events],
        [event.value for event in events],
        raws,
    ]


def batch_of(columns: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Columns in the order of SCHEMA -> one record batch."""
    arrays = [_array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    # By way of numpy, and flattened: several times faster than Arrow's own look at each value.
    if pa.types.is_list(kind):
        offsets = np.zeros(len(column) + 1, np.int32)
        np.cumsum(np.fromiter(map(len, column), np.int32, len(column)), out=offsets[1:])
        return pa.ListArray.from_arrays(offsets, _array(list(chain.from_iterable(column)), kind.value_type))
    if pa.types.is_float32(kind):
        return pa.array(np.fromiter(column, np.float32, len(column)))
    if pa.types.is_int8(kind):  # actions, which are small, and dear to look at as the enum that they are
        return pa.array(np.frombuffer(bytes(column), np.int8))
    if pa.types.is_integer(kind):
        return pa.array(np.fromiter(column, kind.to_pandas_dtype(), len(column)))
    return pa.array(column, kind)


def parquet_path(archive: Path, day: date, part: int, seq: int) -> Path:
    """Where a closed file's events of one day (UTC) lie."""
    return archive / f"day={day.isoformat()}" / f"{part}-{seq:08d}.parquet"


def open_path(archive: Path, part: int, seq: int) -> Path:
    """Where a file lies that is being written."""
    return archive / f"open-{part}-{seq:08d}.arrows"


def files_from(archive: Path, part: int, seq: int) -> list[Path]:
    """Files of a part with this sequence number or a later one."""
    found = []
    for path in (*archive.glob("day=*/*.parquet"), *archive.glob("open-*.arrows")):
        name = _PARQUET.match(path.name) or _OPEN.match(path.name)
        if name is not None and int(name["part"]) == part and int(name["seq"]) >= seq:
            found.append(path)
    return found


def open_seqs(archive: Path, part: int) -> list[int]:
    """Sequence numbers of a part's files in open form, oldest first."""
    names = (_OPEN.match(path.name) for path in archive.glob(f"open-{part}-*.arrows"))
    return sorted(int(name["seq"]) for name in names if name is not None)


def close_file(archive: Path, part: int, seq: int) -> list[Path]:
    """Rewrite an open file as Parquet, one file a day; the open one stays until it is deleted.
    Returns the Parquet files. Each appears whole or not at all. Nobody may write to the open file
    meanwhile: it is mapped, and no more of it than a row group is held in memory. Raises ValueError for
    a file of another version."""
    path = open_path(archive, part, seq)
    written = []
    with pa.memory_map(str(path)) as mapped:
        batches = list(_batches(mapped, path))
        days = [batch["at_ms"].to_numpy() // DAY_MS for batch in batches]
        for number in np.unique(np.concatenate(days)) if days else ():
            day = datetime.fromtimestamp(int(number) * 86_400, timezone.utc).date()
            target = parquet_path(archive, day, part, seq)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_suffix(".tmp")
            with pq.ParquetWriter(temporary, SCHEMA, **_WRITTEN) as writer:
                for group in _row_groups(batches, [each == number for each in days]):
                    writer.write_table(group)
            temporary.replace(target)
            written.append(target)
    return written


def _row_groups(batches: Sequence[pa.RecordBatch], wanted: Sequence[NDArray[np.bool_]]) -> Iterator[pa.Table]:
    """The rows that are wanted of each batch, many at a time: a batch may be a handful."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch, mask in zip(batches, wanted, strict=True):
        if mask.any():
            held.append(batch.filter(pa.array(mask)))
            rows += held[-1].num_rows
        if rows >= GROUP_ROWS:
            yield pa.Table.from_batches(held)
            held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held)


def read(
    archive: Path | str, columns: Sequence[str], since_ms: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Every archived event at or after `since_ms`, in no stated order, a file at a time.

    Safe beside a running flow: what is being written now may be missing, nothing comes twice.
    Raises ValueError naming the file when one cannot be read.
    """
    root = Path(archive)
    if not root.is_dir():
        return
    # Open files first: one closed meanwhile is then known by its Parquet files and skipped there.
    opened = {}
    for path in sorted(root.glob("open-*.arrows")):
        name = _OPEN.match(path.name)
        if name is not None:
            opened[name["part"], int(name["seq"])] = list(_read_open(path, columns))
    closed = set()
    first_day = None if since_ms is None else datetime.fromtimestamp(since_ms / 1000, timezone.utc).date()
    for path in sorted(root.glob("day=*/*.parquet")):
        name = _PARQUET.match(path.name)
        if name is None:
            continue
        closed.add((name["part"], int(name["seq"])))
        if (name["part"], int(name["seq"])) in opened:
            continue
        if first_day is not None and date.fromisoformat(path.parent.name[4:]) < first_day:
            continue
        try:
            file = pq.ParquetFile(path)
            _check_version(file.schema_arrow, path)
            for batch in file.iter_batches(65_536, columns=list({*columns, "at_ms"})):
                yield from _since(batch, columns, since_ms)
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"Expected a Parquet file of events, got {error} - at `{path}`") from error
    for batches in opened.values():
        for batch in batches:
            yield from _since(batch, columns, since_ms)


def count_closed(archive: Path | str) -> int:
    """How many events the Parquet files hold, as these say themselves; what is unreadable counts as none."""
    found = 0
    for path in Path(archive).glob("day=*/*.parquet"):
        with suppress(OSError, pa.ArrowInvalid):
            found += pq.read_metadata(path).num_rows
    return found


def _since(batch: pa.RecordBatch, columns: Sequence[str], since_ms: int | None) -> Iterator[pa.RecordBatch]:
    if since_ms is not None:
        batch = batch.filter(pc.greater_equal(batch["at_ms"], since_ms))
    if batch.num_rows:
        yield batch.select(list(columns))


def _read_open(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The whole record batches of an open file; one being written at its end is left out."""
    # Read, not mapped: a flow that starts again after a crash cuts the file, under whoever maps it.
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # closed and deleted meanwhile
        return
    for batch in _batches(data, path):
        yield batch.select(list({*columns, "at_ms"}))


def _batches(source: bytes | pa.MemoryMappedFile, path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pa.ipc.open_stream(source) as stream:
            _check_version(stream.schema, path)
            yield from stream
    except (pa.ArrowInvalid, OSError, EOFError):
        return


def _check_version(schema: pa.Schema, path: Path) -> None:
    version = (schema.metadata or {}).get(b"headrace_archive_version", b"none").decode()
    if version != ARCHIVE_VERSION:
        raise ValueError(
            f"Expected an archive file of version {ARCHIVE_VERSION}, got {version} - at `{path}`"
        )
