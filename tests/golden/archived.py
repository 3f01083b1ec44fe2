"""The archive's files: the open one as the flow writes it, and the closed one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from recsys import archive
from recsys.events import Action
from tests.golden.formats import FOLDER
from tests.golden.records import an_event

OPEN = FOLDER / "archive_open_v1.arrows"
CLOSED = FOLDER / "archive_v1.parquet"

BATCHES = [
    archive.columns_of([event], [raw], [person], [1_760_000_000_000])
    for event, raw, person in (
        (an_event(1, Action.VIEW), b'{"type":"track"}', "a:v1"),
        (an_event(2, Action.ORDER, "anna", 5000), b"\xff", "u:anna"),
    )
]
ROWS = [row for batch in BATCHES for row in zip(*batch, strict=True)]


def write_open(path: Path) -> None:
    """Two batches, as the flow appends them; no end mark."""
    with path.open("wb") as file:
        file.write(archive.SCHEMA.serialize())
        for batch in BATCHES:
            file.write(archive.batch_of(batch).serialize())


def write_closed(path: Path, scratch: Path) -> None:
    write_open(archive.open_path(scratch, 0, 0))
    (written,) = archive.close_file(scratch, 0, 0)
    shutil.copyfile(written, path)


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    """Every row of an archive, in the order of its columns."""
    names = archive.SCHEMA.names
    return [
        tuple(row[name] for name in names)
        for batch in archive.read(folder, names)
        for row in batch.to_pylist()
    ]
