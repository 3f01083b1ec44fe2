"""The embedded log beyond its contract: its file, group commit, a full disk."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from recsys.ports import LogUnavailable, NewRecord, Position, Record
from recsys.stores.sqlite_log import SqliteLog

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@pytest.fixture
def log(path):
    with closing(SqliteLog(path, partitions=2)) as log:
        yield log


def new(key, value=b"{}"):
    return NewRecord(key, value, 1_700_000_000_000)


def fill(log, records):
    """Append `records` records to both partitions in turn; return the positions."""
    keys = ("finn", "anna")  # of partitions 0 and 1
    return [log.append([new(keys[number % 2], str(number).encode())])[0] for number in range(records)]


@contextmanager
def write_lock(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_partitions_are_fixed_at_creation(path):
    SqliteLog(path, partitions=2).close()
    with closing(SqliteLog(path, partitions=8)) as log:
        assert log.partitions == 2


def test_a_log_of_a_newer_version_is_refused(path):
    SqliteLog(path).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE meta SET value = 3 WHERE name = 'version'")
    with pytest.raises(LogUnavailable) as caught:
        SqliteLog(path)
    assert str(caught.value) == (
        f"{path}: Expected a log of version 2 or older, got version 3: a newer Headrace wrote it"
    )


def test_another_database_is_refused_and_left_alone(path):
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE orders (id)")
    before = path.read_bytes()
    with pytest.raises(
        LogUnavailable, match="Expected a Headrace log, got a SQLite database with other tables"
    ):
        SqliteLog(path)
    assert path.read_bytes() == before


def test_another_file_is_refused(path):
    path.write_text("no database" * 1000)
    with pytest.raises(LogUnavailable, match=r"log\.db: file is not a database"):
        SqliteLog(path)


@pytest.mark.parametrize("version", [1, 2])
def test_reads_the_golden_file(path, version):
    """With a first record that was taken out; version 1 has a row a record. See `_write_golden`."""
    shutil.copy(GOLDEN / f"log_v{version}.db", path)
    with closing(SqliteLog(path)) as log, closing(log.reader()) as reader:
        assert log.partitions == 2
        assert version_of(path) == version  # who only looks leaves a file as older versions know it
        assert reader.read(10) == [
            Record(Position(0, 0), "finn", b"\x00\xff", 1_700_000_000_001),
            Record(Position(1, 1), "anna", "ü".encode(), 1_700_000_000_002),
        ]
        assert log.append([new("anna")]) == [Position(1, 2)]
        assert version_of(path) == version
        assert log.append([new("anna"), new("finn")]) == [Position(1, 3), Position(0, 1)]
    assert version_of(path) == 2


def version_of(path):
    with closing(sqlite3.connect(path)) as other:
        return dict(other.execute("SELECT name, value FROM meta"))["version"]


def _write_golden():
    log = SqliteLog(GOLDEN / "log_v2.db", partitions=2)
    log.append([NewRecord("anna", b"trimmed", 1_700_000_000_000)])
    log.append(
        [
            NewRecord("finn", b"\x00\xff", 1_700_000_000_001),
            NewRecord("anna", "ü".encode(), 1_700_000_000_002),
        ]
    )
    log.close()
    with closing(sqlite3.connect(GOLDEN / "log_v2.db")) as file, file:  # earlier versions took records out
        file.execute("DELETE FROM records WHERE seq = 0")
        file.execute("UPDATE heads SET first_offset = 1 WHERE partition = 1")


def rows_in(path):
    with closing(sqlite3.connect(path)) as other:
        return other.execute("SELECT count(*) FROM records").fetchone()[0]


def test_records_of_one_commit_share_rows(path, log):
    log.append([new("finn")])
    assert rows_in(path) == 1
    log.append([new("anna") for _ in range(401)])
    assert rows_in(path) == 1 + 3
    log.append([new("anna", b"x" * 100_000) for _ in range(5)])
    assert rows_in(path) == 1 + 3 + 3


def test_a_limit_in_the_middle_of_a_row_loses_nothing(log):
    keys = ["finn", "anna", "finn"] * 50
    positions = log.append([new(key) for key in keys]) + log.append([new("anna")])
    with closing(log.reader()) as reader:
        found = [reader.read(40) for _ in range(5)]
        assert [len(each) for each in found] == [40, 40, 40, 31, 0]
    assert [record.position for each in found for record in each] == positions


@pytest.mark.parametrize("after", [{0: 3}, {1: 2}, {0: 9, 1: 4}, {0: 19, 1: 0}])
def test_resumes_inside_a_row(log, after):
    positions = log.append([new(key) for key in ["finn", "anna", "finn"] * 10])
    with closing(log.reader(after)) as reader:
        assert [record.position for record in reader.read(100)] == [
            each for each in positions if each.offset > after.get(each.partition, -1)
        ]


def test_a_lock_held_too_long_is_named(path):
    with closing(SqliteLog(path, timeout_s=0.05)) as log:
        with write_lock(path), pytest.raises(LogUnavailable, match=r"log\.db: database is locked"):
            log.append([new("a")])
        assert log.end() == {}
        assert [position.offset for position in log.append([new("a")])] == [0]


def test_concurrent_appends_share_one_commit(log, path, monkeypatch):
    groups = []
    commit = log._commit
    monkeypatch.setattr(log, "_commit", lambda group: (groups.append(len(group)), commit(group)))
    threads = [threading.Thread(target=log.append, args=([new("a"), new("b")],)) for _ in range(9)]
    with write_lock(path):
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(log._waiting) < 8 and time.monotonic() < deadline:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert groups == [1, 8]
    assert sum(offset + 1 for offset in log.end().values()) == 18


def test_a_failing_commit_fails_every_append_in_it_and_nothing_else(log, monkeypatch):
    def full(group):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(log, "_commit", full)
        with pytest.raises(LogUnavailable, match=r"log\.db: database or disk is full"):
            log.append([new("a")])
    assert [position.offset for position in log.append([new("a")])] == [0]


def test_a_full_disk_leaves_whole_appends_only(path):
    program = """
import resource, signal, sys
from pathlib import Path
from recsys.ports import LogUnavailable, NewRecord
from recsys.stores.sqlite_log import SqliteLog
log = SqliteLog(Path(sys.argv[1]), partitions=2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
appended = 0
try:
    while True:
        log.append([NewRecord(str(n), b"x" * 1000, 1) for n in range(10)])
        appended += 10
except LogUnavailable as error:
    print(appended, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    appended, _, error = done.stdout.partition(" ")
    assert str(path) in error
    assert int(appended) > 0
    with closing(SqliteLog(path)) as log, closing(log.reader()) as reader:
        assert len(reader.read(100_000)) == int(appended)
        assert sum(offset + 1 for offset in log.end().values()) == int(appended)
        assert len(log.append([new("a")])) == 1


def test_resumes_anywhere_in_a_long_log(path):
    with closing(SqliteLog(path, partitions=3)) as log:
        # Uneven partitions, and commits larger than the distance of two marks.
        positions = [
            position
            for batch in range(40)
            for position in log.append([new(f"{number % 7}", b"x") for number in range(batch * 9)])
        ]
        for cut in range(0, len(positions), 397):
            after = dict(positions[:cut])
            with closing(log.reader(after)) as reader:
                rest = []
                while records := reader.read(1000):
                    rest += [record.position for record in records]
            assert rest == positions[cut:]


def test_a_read_is_bounded_in_bytes(log):
    log.append([new("a", b"x" * 5_000_000) for _ in range(9)])
    with closing(log.reader()) as reader:
        assert [len(reader.read(100)) for _ in range(4)] == [4, 4, 1, 0]
