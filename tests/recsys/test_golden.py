"""Bytes written by every released version stay readable, and a format changes only with its version."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import archive
from recsys.events import Action, Arrival
from recsys.visitor import Duplicate, VisitorState
from tests.golden.archived import CLOSED, OPEN, ROWS, rows_of, write_closed, write_open
from tests.golden.formats import FORMATS, Format
from tests.golden.records import AT_MS, an_event
from tests.golden.states import RULES

DAY = date(2025, 10, 9)
EACH = pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)


@EACH
def test_old_bytes_mean_what_they_meant(each: Format) -> None:
    for version in range(1, each.version + 1):
        assert each.decode(each.path(version).read_bytes()) == each.before.get(version, each.value)


@EACH
def test_todays_bytes_are_the_versions_bytes(each: Format) -> None:
    assert each.encode() == each.path(each.version).read_bytes()
    assert each.encode()[0] == each.version


@EACH
@pytest.mark.parametrize("first", [b"\x00", b"\x7f", b"{"])
def test_another_version_is_refused(each: Format, first: bytes) -> None:
    data = first + each.encode()[1:]
    with pytest.raises(ValueError, match="Expected") as caught:
        each.decode(data)
    assert str(caught.value) == f"Expected {each.what} of version {_versions(each)}, got {first!r}"


@EACH
def test_no_bytes_and_broken_bytes_are_refused(each: Format) -> None:
    with pytest.raises(ValueError, match="Expected") as caught:
        each.decode(b"")
    assert str(caught.value) == f"Expected {each.what} of version {_versions(each)}, got b''"
    with pytest.raises(msgspec.DecodeError):
        each.decode(each.encode()[:-1])


def _versions(each: Format) -> str:
    return f"{each.version} or older" if each.version > 1 else str(each.version)


@pytest.mark.parametrize("version", range(1, 7))
def test_a_state_goes_on_where_it_stopped(version: int) -> None:
    data = next(each for each in FORMATS if each.name == "visitor_state").path(version).read_bytes()
    state = VisitorState.decode(data, RULES)
    assert isinstance(state.take(Arrival(an_event(2, Action.CART_ADD, later_ms=70_000), b"{}"))[0], Duplicate)
    accepted, _ = state.take(Arrival(an_event(9, Action.VIEW, later_ms=142_000), b"{}"))
    assert accepted.person == "a:v1"  # the logout is remembered
    assert accepted.session_ms == AT_MS + 142_000


@pytest.mark.parametrize("golden", [OPEN, CLOSED], ids=lambda path: path.name)
def test_an_archive_file_is_read(tmp_path: Path, golden: Path) -> None:
    place = archive.open_path(tmp_path, 0, 0)
    if golden == CLOSED:
        place = archive.parquet_path(tmp_path, DAY, 0, 0)
        place.parent.mkdir(parents=True)
    shutil.copyfile(golden, place)
    assert rows_of(tmp_path) == ROWS


def test_archive_files_keep_their_schema(tmp_path: Path) -> None:
    write_open(tmp_path / "today.arrows")
    write_closed(tmp_path / "today.parquet", tmp_path)
    for today, golden in (("today.arrows", OPEN), ("today.parquet", CLOSED)):
        assert _schema(tmp_path / today).equals(_schema(golden), check_metadata=True)
        assert _schema(golden).equals(archive.SCHEMA)


def test_a_cut_off_open_file_is_read_up_to_its_last_whole_batch(tmp_path: Path) -> None:
    place = archive.open_path(tmp_path, 0, 0)
    place.write_bytes(OPEN.read_bytes()[:-7])
    assert rows_of(tmp_path) == ROWS[:1]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("metadata", "got"), [({"headrace_archive_version": "2"}, "2"), (None, "none")])
def test_an_archive_file_of_another_version_is_refused(
    tmp_path: Path, closed: bool, metadata: dict[str, str] | None, got: str
) -> None:
    schema = archive.SCHEMA.with_metadata(metadata)
    table = pa.Table.from_batches([archive.batch_of(list(zip(*ROWS, strict=True)))]).replace_schema_metadata(
        metadata
    )
    if closed:
        path = archive.parquet_path(tmp_path, DAY, 0, 0)
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
    else:
        path = archive.open_path(tmp_path, 0, 0)
        with pa.ipc.new_stream(path, schema) as stream:
            stream.write_table(table)
    with pytest.raises(ValueError, match="Expected an archive file") as caught:
        rows_of(tmp_path)
    assert str(caught.value) == f"Expected an archive file of version 1, got {got} - at `{path}`"


def _schema(path: Path) -> pa.Schema:
    if path.suffix == ".parquet":
        return pq.read_schema(path)
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        return stream.schema
