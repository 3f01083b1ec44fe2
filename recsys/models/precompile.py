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

from numba.core.dispatcher import Dispatcher

_PACKAGES = Path(__file__).parents[2]


def kernel_modules() -> list[str]:
    """Names of the modules that have kernels, those with the most of them first."""
    files = {path: path.read_text(encoding="utf-8").count("\n@kernel(") for path in _sources()}
    having = sorted((path for path, kernels in files.items() if kernels), key=lambda path: -files[path])
    return [".".join(path.relative_to(_PACKAGES).with_suffix("").parts) for path in having]


def precompile(modules: Sequence[str]) -> None:
    """Import each of them in one of several processes, and say how far it is where something was compiled."""
    began_s = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        compiling = [processes.submit(_compile, module) for module in modules]
        for done, one in enumerate(as_completed(compiling), 1):
            took_s, (module, is_new) = time.monotonic() - began_s, one.result()
            if is_new:
                sys.stdout.write(f"headrace:   {module}, {done} of {len(modules)}, {took_s:.0f} s\n")
                sys.stdout.flush()


def _sources() -> list[Path]:
    return sorted((_PACKAGES / "recsys").rglob("*.py"))


def _compile(module: str) -> tuple[str, bool]:
    """The module, and whether any kernel of it was compiled: those on disk are only read."""
    # Kernels have explicit signatures: they are compiled on import.
    found = vars(importlib.import_module(module)).values()
    return module, any(kernel.stats.cache_misses for kernel in found if isinstance(kernel, Dispatcher))


if __name__ == "__main__":
    precompile(kernel_modules())
