"""`python -m bench.quality.globo SRC TRAIN TEST`: clicks on a news site as two `tsv` files.

The sessions that begin on the last day are the test. What is clicked in them on the way to later
sessions is seen by those as it happens. Streams the file twice, so that its size does not matter.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from flows.imports.source import open_rows

DAY_MS: Final = 86_400_000


class Click(NamedTuple):
    session: str
    session_ms: int
    item: str
    at_ms: int


def clicks_of(path: Path) -> Iterator[Click]:
    """The clicks in the order of the file. Raises ValueError naming the line."""
    lines = count(2)
    with open_rows(path) as stream, io.TextIOWrapper(stream, "utf-8", newline="") as text:
        try:
            for row in csv.DictReader(text):
                next(lines)
                yield Click(
                    row["session_id"],
                    int(row["session_start"]),
                    row["click_article_id"],
                    int(row["click_timestamp"]),
                )
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"Expected a click, got {error} - in `{path}` line {next(lines) - 1}") from None


def convert(source: Path, train: Path, test: Path) -> tuple[int, int]:
    """Write both files; how many clicks each got."""
    last_ms = max((click.session_ms for click in clicks_of(source)), default=0)
    split_ms = last_ms // DAY_MS * DAY_MS
    counts = [0, 0]
    with _opened(train) as before, _opened(test) as after:
        for file in (before, after):
            file.write("SessionId\tItemId\tTime\n")
        for click in clicks_of(source):
            is_test = click.session_ms >= split_ms
            row = f"{click.session}\t{click.item}\t{click.at_ms / 1000:.3f}\n"
            (after if is_test else before).write(row)
            counts[is_test] += 1
    return counts[0], counts[1]


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "wt", compresslevel=1) if path.suffix == ".gz" else path.open("w")


def main(argv: list[str]) -> int:
    if len(argv) != 3:
        print("usage: python -m bench.quality.globo SRC TRAIN TEST", file=sys.stderr)
        return 2
    try:
        before, after = convert(*map(Path, argv))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{before:,} clicks before the last day, {after:,} on it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
