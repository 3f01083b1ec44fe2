"""CEL's values and operators over all rows at once.

CEL's answer for one item is true, false or an error (a price that is null compared with a number, a key
that a map does not have), and `&&`, `||` and `?:` pass over an error that cannot change the answer. So
a truth here is two bool arrays, `yes` and `no`; rows in neither are in error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.filters.attributes import UNKNOWN_MS, Attributes
from recsys.filters.ragged import Codes, Ragged

Bools = npt.NDArray[np.bool_]
"""bool[n], or bool[] where all rows are alike: numpy spreads it."""
States = npt.NDArray[np.uint8]

VALUE: Final = np.uint8(0)
NULL: Final = np.uint8(1)  # what True looks like as a byte, so `isnan` is a state
ERROR: Final = np.uint8(2)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A truth of three values by row: CEL's true, false, and, where neither, an error."""

    yes: Bools
    no: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """data: [n] or []: int32 codes of strings, int64 or float64 numbers, int64 ms.
    state: VALUE, NULL or ERROR uint8[n] or []; data means something only where it is VALUE.
    None stands for VALUE everywhere."""

    data: npt.NDArray[Any]
    state: States | None = None


Comparison = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Bools]


class Rows:
    """The rows of one evaluation, all of them or some (`only`, int32[k]); lives while it holds the lock of
    `attributes`."""

    def __init__(self, attributes: Attributes, only: Codes | None = None) -> None:
        self.n = attributes.n_rows if only is None else len(only)
        self._attributes = attributes
        self._only = only
        self._at: slice | Codes = slice(self.n) if only is None else only
        self._own_texts: dict[str, int] = {}

    def available(self) -> Truth:
        yes = self._attributes.available[self._at]
        return Truth(yes, ~yes)

    def strings(self, name: str) -> Column:
        return Column(self._attributes.strings[name][self._at])

    def numbers(self, name: str) -> Column:
        data = self._attributes.numbers[name][self._at]
        return Column(data, np.isnan(data).view(np.uint8))

    def published(self) -> Column:
        data = self._attributes.published_ms[self._at]
        return Column(data, (data == UNKNOWN_MS).view(np.uint8))

    def present(self) -> Bools:
        return self._attributes.present[self._at]

    def ragged(self, name: str) -> Ragged:
        whole = self._attributes.ragged[name]
        return whole if self._only is None else whole.part(self._only)

    def code(self, text: str) -> int:
        """A text of the filter that no item holds gets a code of this evaluation's own."""
        code = self._attributes.code_of(text)
        if code is not None:
            return code
        return self._own_texts.setdefault(text, len(self._attributes.texts) + len(self._own_texts))

    def by_text(
        self, codes: Codes, ask: Callable[[list[str]], Iterable[Any]], dtype: Any
    ) -> npt.NDArray[Any]:
        """The answer for each row's string; `ask` gets each distinct one once, and answers in their
        order. Rows of code -1 get any answer."""
        texts = self._attributes.texts
        if self._own_texts:
            texts = [*texts, *self._own_texts]
        used = self._table()
        used[codes] = True
        asked = np.flatnonzero(used[:-1])
        answers = np.zeros(len(used), dtype)
        distinct = list(map(texts.__getitem__, asked.tolist()))
        answers[asked] = np.fromiter(ask(distinct), dtype, len(distinct))
        spread: npt.NDArray[Any] = answers[codes]
        return spread

    def among(self, column: Column, texts: list[str]) -> Truth:
        """Whether each row's string is one of `texts`."""
        wanted = [self.code(text) for text in texts]
        held = self._table()
        held[wanted] = True
        return decided(held[column.data], column.state)

    def _table(self) -> Bools:
        """A cell for each code; the last is that of -1."""
        return np.zeros(len(self._attributes.texts) + len(self._own_texts) + 1, np.bool_)


def all_of(truths: list[Truth]) -> Truth:
    """False if one is false, else an error if one is, else true."""
    yes, no = truths[0].yes, truths[0].no
    for truth in truths[1:]:
        yes, no = yes & truth.yes, no | truth.no
    return Truth(yes, no)


def any_of(truths: list[Truth]) -> Truth:
    """True if one is true, else an error if one is, else false."""
    yes, no = truths[0].yes, truths[0].no
    for truth in truths[1:]:
        yes, no = yes | truth.yes, no & truth.no
    return Truth(yes, no)


def negation(truth: Truth) -> Truth:
    """`!a`; an error stays one."""
    return Truth(truth.no, truth.yes)


def same_truth(a: Truth, b: Truth) -> Truth:
    """`a == b` of truths; an error where either is one."""
    return Truth((a.yes & b.yes) | (a.no & b.no), (a.yes & b.no) | (a.no & b.yes))


def choice_of_truths(condition: Truth, a: Truth, b: Truth) -> Truth:
    """`condition ? a : b`; an error where the condition is one."""
    yes = (condition.yes & a.yes) | (condition.no & b.yes)
    return Truth(yes, (condition.yes & a.no) | (condition.no & b.no))


def choice_of_columns(condition: Truth, a: Column, b: Column) -> Column:
    """As `choice_of_truths`, of values."""
    data = np.where(condition.yes, a.data, b.data)
    state = np.where(condition.yes, _state(a), np.where(condition.no, _state(b), ERROR))
    return Column(data, state)


def compared(compare: Comparison, a: Column, b: Column) -> Truth:
    """An error where one of them is null or an error."""
    return decided(compare(a.data, b.data), worst(a, b))


def decided(yes: Bools, state: States | None) -> Truth:
    """A truth known where `state` is VALUE."""
    if state is None:
        return Truth(yes, ~yes)
    known = state == VALUE
    return Truth(yes & known, ~yes & known)


def same(a: Column, b: Column) -> Truth:
    """Null is the same as null and nothing else."""
    equal = a.data == b.data
    if a.state is None and b.state is None:
        return Truth(equal, ~equal)
    of_a, of_b = _state(a), _state(b)
    yes = np.where((of_a | of_b) == VALUE, equal, of_a == of_b)
    valid = (of_a != ERROR) & (of_b != ERROR)
    return Truth(yes & valid, ~yes & valid)


def worst(a: Column, b: Column) -> States | None:
    """VALUE where both have one."""
    if a.state is None or b.state is None:
        return b.state if a.state is None else a.state
    return a.state | b.state


def calculated(operator: Callable[..., npt.NDArray[Any]], *operands: Column) -> Column:
    """Numbers from numbers. An error where an operand is null or an error."""
    data = operator(*(operand.data for operand in operands))
    state = operands[0].state if len(operands) == 1 else worst(operands[0], operands[1])
    return Column(data, None if state is None else np.where(state == VALUE, VALUE, ERROR))


def entry(ragged: Ragged, key: int, n: int) -> Column:
    """The value at a place of a list, or of a key of a map; an error where there is none."""
    codes = ragged.at(key, n)
    return Column(codes, np.where(codes < 0, ERROR, VALUE))


def among(column: Column, numbers: list[float]) -> Truth:
    """Whether each row's number is one of `numbers`. Null is none."""
    yes = np.isin(column.data, np.array(numbers, np.float64))
    if column.state is None:
        return Truth(yes, ~yes)
    yes = yes & (column.state == VALUE)
    return Truth(yes, ~yes & (column.state != ERROR))


def _state(column: Column) -> States:
    return np.asarray(VALUE) if column.state is None else column.state
