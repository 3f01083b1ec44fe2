"""How the kernels are compiled. All of them have explicit signatures, so that they are compiled on import and
never within a request; they release the GIL and allocate nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from multiprocessing import parent_process
from typing import Any, Final, TypeVar

import numba
import numpy.typing as npt
from numba import types

Array = npt.NDArray[Any]
njit: Any = numba.njit
_config: Any = numba.config
_LOCATOR: Final = "recsys.models.kernel_cache.BySources"
F = TypeVar("F", bound=Callable[..., Any])

i4, i8, u1, f4, f8, boolean, void = (
    types.int32,
    types.int64,
    types.uint8,
    types.float32,
    types.float64,
    types.boolean,
    types.void,
)


def read_only(dtype: Any, dimensions: int = 1) -> Any:
    """The type of an input array. One compiled version takes arrays in memory (writable) and arrays
    mapped from a bundle (read-only)."""
    return types.Array(dtype, dimensions, "C", readonly=True)


def kernel(signature: object, fastmath: bool = False) -> Callable[[F], F]:
    """Compile with numba, cached on disk where the installation or the user's cache is writable.

    In a container with a read-only file system and no home numba finds no place for its cache and
    raises; the kernel is then compiled at every start, which costs seconds but works. Setting
    NUMBA_CACHE_DIR gives it a place. What is on disk is used until a file changes that the kernel was
    compiled from (`kernel_cache`), so kernels may call those of other files.
    """

    def compile_kernel(function: F) -> F:
        options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
        usual, _config.CACHE_LOCATOR_CLASSES = _config.CACHE_LOCATOR_CLASSES, _LOCATOR
        try:
            compiled = njit(signature, cache=True, **options)(function)
            if compiled.stats.cache_misses:
                _say_once()
            return compiled  # type: ignore[no-any-return]
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return njit(signature, **options)(function)  # type: ignore[no-any-return]
        finally:
            _config.CACHE_LOCATOR_CLASSES = usual

    return compile_kernel


@lru_cache(maxsize=1)
def _say_once() -> None:
    if parent_process() is None:  # `precompile` tells how far its processes are
        sys.stderr.write("headrace: compiling the kernels for this machine, once: a minute or so\n")
