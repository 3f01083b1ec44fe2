"""`python -m tests.golden.make`: writes the golden files that are missing, and never touches the others.

A format that changes gets a new version, its old file stays and must stay readable. Only a format
that no release has written yet may have its file deleted and made anew.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.golden.archived import CLOSED, OPEN, write_closed, write_open
from tests.golden.formats import FORMATS


def main() -> None:
    for each in FORMATS:
        path = each.path(each.version)
        if not path.exists():
            path.write_bytes(each.encode())
            sys.stdout.write(f"wrote {path.name}\n")
    if not OPEN.exists():
        write_open(OPEN)
        sys.stdout.write(f"wrote {OPEN.name}\n")
    if not CLOSED.exists():
        with tempfile.TemporaryDirectory() as scratch:
            write_closed(CLOSED, Path(scratch))
        sys.stdout.write(f"wrote {CLOSED.name}\n")


if __name__ == "__main__":
    main()
