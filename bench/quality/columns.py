"""Tables of clicks: SessionId, ItemId and Time, with or without a header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from flows.imports.source import BROKEN_ARCHIVE, RowProblem, head_of, open_rows, read_lines

COLUMNS: Final = ("SessionId", "ItemId", "Time")
_UNITS: Final = ((1e17, 1e-6), (1e14, 1e-3), (1e11, 1.0), (-np.inf, 1000.0))
"""Times from so much on are nanoseconds, microseconds, milliseconds, seconds, and how many milliseconds one
is: in the next longer unit they would lie after the year 5000."""

Wrong = Callable[[Path, int, str, str], NoReturn]


@dataclass(frozen=True, eq=False)
class Clicks:
    """`session` int64[n] is a place in `names`; `items` are n ids; `at_ms` int64[n]."""

    names: Sequence[str]
    session: npt.NDArray[np.int64]
    items: Sequence[str]
    at_ms: npt.NDArray[np.int64]

    def sorted(self) -> Clicks:
        """By session, then time; what happened at the same time keeps its order, and gets times that tell it:
        a millisecond apart, as a table of clicks says what came after what even where clocks are coarse."""
        order = np.lexsort((self.at_ms, self.session))
        session, at_ms = self.session[order], self.at_ms[order]
        starts = np.flatnonzero(np.diff(session, prepend=-1))
        of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(session)))
        place, since_ms = np.arange(len(session)) - starts[of], at_ms - at_ms[starts][of]
        apart = int(since_ms.max(initial=0)) + len(session) + 1  # so that no session reaches the next
        later = np.maximum.accumulate(since_ms - place + of * apart) - of * apart + place
        items = [self.items[index] for index in order.tolist()]
        return Clicks(self.names, session, items, at_ms[starts][of] + later)


def read_clicks(path: Path, wrong: Wrong) -> Clicks:
    """The columns of a file. What is not of this format is told by `wrong`."""
    first = head_of(path).split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    cells = first.split("\t")
    has_header = len(cells) >= len(COLUMNS) and not _is_number(cells[2])
    names = _header(path, cells, wrong) if has_header else [*COLUMNS, *map(str, range(3, len(cells)))]
    try:
        with open_rows(path) as stream:
            table: Any = csv.read_csv(
                stream,
                csv.ReadOptions(column_names=names, skip_rows=int(has_header)),
                csv.ParseOptions(delimiter="\t", quote_char=False),
                csv.ConvertOptions(
                    include_columns=list(COLUMNS),
                    column_types={"SessionId": pa.string(), "ItemId": pa.string(), "Time": pa.float64()},
                    strings_can_be_null=False,
                ),
            )
    except (pa.ArrowInvalid, *BROKEN_ARCHIVE) as error:
        _find_wrong(path, has_header, names, wrong)
        wrong(path, 1, "a table of SessionId, ItemId and Time", str(error))
    if table["Time"].null_count or not table.num_rows:
        _find_wrong(path, has_header, names, wrong)
        wrong(path, 1, "clicks", "nothing")
    session = table["SessionId"].combine_chunks().dictionary_encode()
    time = table["Time"].to_numpy()
    latest = pc.max(table["Time"]).as_py()
    unit = next(in_ms for start, in_ms in _UNITS if latest >= start)
    return Clicks(
        session.dictionary.to_pylist(),
        session.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        table["ItemId"].to_pylist(),
        np.round(time * unit).astype(np.int64),
    )


def _header(path: Path, cells: list[str], wrong: Wrong) -> list[str]:
    by_name = {name.lower(): name for name in COLUMNS}
    names = [by_name.get(cell.strip().lower(), cell) for cell in cells]
    if not set(COLUMNS) <= set(names):
        wrong(path, 1, "the columns SessionId, ItemId and Time", f"`{chr(9).join(cells)[:80]}`")
    return names


def _find_wrong(path: Path, has_header: bool, names: list[str], wrong: Wrong) -> None:
    """Say which line it is that the fast reader could not take."""
    time = names.index("Time")
    for number, line in read_lines(path):
        if isinstance(line, RowProblem):
            wrong(path, number, line.expected, line.got)
        if has_header and number == 1:
            continue
        cells = line.decode("utf-8", "replace").split("\t")
        if len(cells) != len(names):
            wrong(path, number, f"{len(names)} columns", str(len(cells)))
        if not _is_number(cells[time]):
            wrong(path, number, "a Time in epoch seconds", f"`{cells[time][:80]}`")


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
