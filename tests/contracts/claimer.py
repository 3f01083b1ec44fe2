"""A process that claims keys once told to, and prints what is stored under each.

python -m tests.contracts.claimer URL VALUE COUNT
"""

from __future__ import annotations

import sys

from recsys.open import open_store


def main(url: str, value: str, keys: int) -> None:
    store = open_store(url)
    print("ready", flush=True)  # noqa: T201 (read by the test)
    sys.stdin.readline()
    for number in range(keys):
        print(store.claim(f"c:{number}", value.encode(), 60).decode())  # noqa: T201 (read by the test)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
