"""Many cells of a column at once. A comprehension takes 300 instructions a cell, and an answer has columns of
twenty cells by the dozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from struct import Struct
from typing import Final, TypeVar, overload

from recsys.known import Known

_Key = TypeVar("_Key")
_Cell = TypeVar("_Cell")
_MOST_COUNTS: Final = 1024


@overload
def picked(keys: Sequence[int], column: Sequence[_Cell]) -> tuple[_Cell, ...]: ...


@overload
def picked(keys: Sequence[_Key], column: Mapping[_Key, _Cell]) -> tuple[_Cell, ...]: ...


def picked(keys, column):  # type: ignore[no-untyped-def]
    """`column[key]` for each key, in order. Raises IndexError or KeyError for one that is not there."""
    if len(keys) > 1:
        return itemgetter(*keys)(column)
    return tuple([column[key] for key in keys])


def _cells_of(kind: str) -> Known[int, Struct]:
    """By how many there are, what packs numbers of a kind into bytes and unpacks them: numpy takes twice as
    long to read them one by one."""
    return Known(lambda count: Struct(f"<{count}{kind}"), _MOST_COUNTS)


INT32S: Final = _cells_of("i")
INT64S: Final = _cells_of("q")
FLOAT32S: Final = _cells_of("f")
