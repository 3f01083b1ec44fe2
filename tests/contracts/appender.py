"""A process that appends one record after the other and prints each position once acknowledged.

    python -m tests.contracts.appender URL NAME COUNT

COUNT 0 is without end, to be killed.
"""

from __future__ import annotations

import sys
from itertools import count, islice

from recsys.open import open_log
from recsys.ports import NewRecord


def main(url: str, name: str, records: int) -> None:
    log = open_log(url)
    for number in islice(count(), records or None):
        record = NewRecord(f"{name}-{number % 7}", f"{name}:{number}".encode(), 1_700_000_000_000 + number)
        print(log.append([record])[0], record.value.decode(), flush=True)  # noqa: T201 (read by the test)
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
