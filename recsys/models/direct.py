"""Kernels as a decision calls them: without numba's look at every argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
_config: Any = numba.config
_KEPT: Final[list[object]] = []
"""What was compiled is unloaded with the kernel that it belongs to."""


def direct(kernel: F) -> F:
    """The compiled loop itself. A kernel called from Python asks each argument for its type, to find the
    version that was compiled for these: 4,000 instructions for a struct, 200 for an array, 700 for the call,
    and there is one version only.

    An argument of another type is not refused here: an array of other numbers, or one that is not contiguous,
    would be read as if it was the right one. So it is for calls whose arguments have their types by
    construction; with `make bounds` numba looks at each all the same.
    """
    if _config.BOUNDSCHECK or _config.DISABLE_JIT:
        return kernel
    _KEPT.append(kernel)
    (compiled,) = cast(Any, kernel).overloads.values()
    return cast(F, compiled.entry_point)
