"""Commands of `headrace`, run in the test's own process."""

from pathlib import Path

import headrace

PROGRAM = Path(headrace.__file__)


def run(home: Path, *words: str) -> int:
    return headrace.run(["--home", str(home), *words])
