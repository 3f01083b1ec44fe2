"""`python -m bench.quality`: the same as `headrace bench quality`."""

from __future__ import annotations

import sys

from bench.quality import main

sys.exit(main(sys.argv[1:]))
