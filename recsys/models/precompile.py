"""Compiles every kernel for this machine and keeps it on disk, as many files at a time as there are cores.

`make setup` runs it (`python -m recsys.models.precompile`). Without it the first command of a new
installation compiles what it needs, one kernel after another.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

_PACKAGES = Path(__file__).parents[2]


def kernel_modules() -> list[str]:
    """Names of the modules that have kernels, those with the most of them first."""
    files = {path: path.read_text(encoding="utf-8").count("\n@kernel(") for path in _sources()}
    having = sorted((path for path, kernels in files.items() if kernels), key=lambda path: -files[path])
    return [".".join(path.relative_to(_PACKAGES).with_suffix("").parts) for path in having]


def precompile(modules: Sequence[str]) -> None:
    """Import each of them in one of several processes, and say how far it is."""
    began_s = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        compiling = [processes.submit(_compile, module) for module in modules]
        for done, one in enumerate(as_completed(compiling), 1):
            took_s = time.monotonic() - began_s
            sys.stdout.write(f"headrace:   {one.result()}, {done} of {len(modules)}, {took_s:.0f} s\n")
            sys.stdout.flush()


def _sources() -> list[Path]:
    return sorted((_PACKAGES / "recsys").rglob("*.py"))


def _compile(module: str) -> str:
    importlib.import_module(module)  # kernels have explicit signatures: they are compiled on import
    return module


if __name__ == "__main__":
    precompile(kernel_modules())
