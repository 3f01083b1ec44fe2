"""Closing a file of the archive: by day, in groups of rows, with nothing lost or twice."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recsys import archive
from tests.recsys.worlds import T0, event

DAY_S = 86_400


def opened(folder: Path, *batches: list[float]) -> None:
    """An open file with events at these seconds after T0, batch by batch."""
    with archive.open_path(folder, 0, 0).open("wb") as file:
        file.write(archive.SCHEMA.serialize())
        for batch in batches:
            events = [event(at_s, offset=int(at_s)) for at_s in batch]
            columns = archive.columns_of(
                events, [b"{}"] * len(events), ["a:v1"] * len(events), [T0] * len(events)
            )
            file.write(archive.batch_of(columns).serialize())


def test_every_row_is_in_the_file_of_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "GROUP_ROWS", 3)
    opened(tmp_path, [0, 1, DAY_S], [2], [3, 4, 2 * DAY_S], [5, 1.5 * DAY_S])
    written = archive.close_file(tmp_path, 0, 0)
    days = {date.fromisoformat(path.parent.name[4:]): pq.ParquetFile(path) for path in written}
    assert [file.metadata.num_rows for file in days.values()] == [6, 2, 1]
    assert [file.metadata.num_row_groups for file in days.values()] == [2, 1, 1]
    for day, file in days.items():
        for at_ms in file.read(["at_ms"])["at_ms"].to_pylist():
            assert datetime.fromtimestamp(at_ms // 1000, timezone.utc).date() == day


def test_a_file_that_was_never_written_to_is_closed_as_nothing(tmp_path: Path) -> None:
    archive.open_path(tmp_path, 0, 0).touch()
    assert archive.close_file(tmp_path, 0, 0) == []
    opened(tmp_path)
    assert archive.close_file(tmp_path, 0, 0) == []
