"""Telling the processor what will be read soon.

Items and sessions lie far apart in memory, and each that is read for the first time in a decision comes from
beyond the caches: some 100 ns, in which 300 instructions could have been done. The processor looks ahead
by itself, but no further than the next branch that it guesses wrong.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE_F4: Final = 16
"""Numbers of four bytes in a line of the cache."""
AHEAD: Final = 6
"""So many items before one is looked at, its vectors are asked for."""

_READ, _KEEP, _DATA = 0, 3, 1  # https://llvm.org/docs/LangRef.html#llvm-prefetch-intrinsic


def _fetch(_: Any, array: Any, cell: Any) -> tuple[Any, Any]:
    """Begin to fetch the line with `array.ravel()[cell]`; for kernels. There need be no such cell."""

    def written(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cells = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        address = builder.bitcast(builder.gep(cells, [place]), cgutils.voidptr_t)
        number = ir.IntType(32)
        of = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, of, "llvm.prefetch.p0i8")
        builder.call(prefetch, [address, number(_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, cell), written


fetch: Any = intrinsic(_fetch)
