"""Dead letters: every event that could not be taken, whole, with the reason, in SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from recsys.events import DeadLetter
from recsys.ports import Position
from recsys.printable import printable
from recsys.sqlite_files import connect, patiently

MAX_LETTERS = 1_000_000
"""The oldest are dropped beyond; the tally goes on counting."""

MAX_RAW_CHARS = 2000
"""A listing shows so much of an event's bytes."""

OPEN_S = 30.0
"""How long another one that has the file open may be waited for."""

_CREATE = """
CREATE TABLE IF NOT EXISTS dead_letter (
    partition INTEGER, offset INTEGER, event INTEGER,
    kind TEXT, path TEXT, expected TEXT, got TEXT, raw BLOB, received_ms INTEGER,
    PRIMARY KEY (partition, offset, event)
)
"""


class DeadLetters:
    """Keyed by place in the log, so that a replay writes none twice."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, OPEN_S)
        # Workers open it at once, and here SQLite itself does not wait for another one.
        patiently(lambda: self._db.execute("PRAGMA journal_mode=WAL"), OPEN_S)
        self._db.execute(_CREATE)
        self._added = 0

    def add(self, letters: Iterable[DeadLetter]) -> None:
        rows = [
            (
                *letter.position,
                letter.index,
                letter.kind,
                letter.path,
                letter.expected,
                letter.got,
                letter.raw,
                letter.received_ms,
            )
            for letter in letters
        ]
        if not rows:
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR IGNORE INTO dead_letter VALUES (?,?,?,?,?,?,?,?,?)", rows)
        self._db.execute("COMMIT")
        self._added += len(rows)
        if self._added >= 10_000:
            self._added = 0
            self._db.execute(
                "DELETE FROM dead_letter WHERE rowid <= (SELECT max(rowid) FROM dead_letter) - ?",
                (MAX_LETTERS,),
            )

    def newest(self, limit: int) -> Iterator[DeadLetter]:
        rows = self._db.execute(
            "SELECT partition, offset, event, kind, path, expected, got, raw, received_ms"
            " FROM dead_letter ORDER BY rowid DESC LIMIT ?",
            (limit,),
        )
        for partition, offset, event, kind, path, expected, got, raw, received_ms in rows:
            yield DeadLetter(kind, path, expected, got, raw, Position(partition, offset), event, received_ms)

    def count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM dead_letter").fetchone()[0])

    def close(self) -> None:
        self._db.close()


def newest_letters(path: Path, limit: int) -> tuple[list[DeadLetter], int]:
    """The newest letters, newest first, and how many are kept. Creates nothing."""
    if not path.exists():
        return [], 0
    with closing(DeadLetters(path)) as letters:
        return list(letters.newest(limit)), letters.count()


def told(letter: DeadLetter) -> tuple[str, str]:
    """Where and why, and the event itself, each as one line for a terminal."""
    at = datetime.fromtimestamp(letter.received_ms / 1000, timezone.utc)
    place = f"{letter.position.partition}:{letter.position.offset}"
    place += f" event {letter.index}" if letter.index else ""
    raw = printable(letter.raw[: MAX_RAW_CHARS * 4].decode("utf-8", "backslashreplace"))
    if len(raw) > MAX_RAW_CHARS or len(letter.raw) > MAX_RAW_CHARS * 4:
        raw = f"{raw[:MAX_RAW_CHARS]}... ({len(letter.raw):,} bytes)"
    return printable(f"{place} received {at:%Y-%m-%d %H:%M:%S} UTC, {letter}"), raw
