"""A filter's tree, checked against the attributes and made into steps over their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from recsys.filters import evaluate
from recsys.filters.attributes import ATTRIBUTES, AttributeType
from recsys.filters.evaluate import Column, Rows, Truth
from recsys.filters.syntax import Call, FilterError, Index, Items, Name, Node, Select
from recsys.filters.syntax import Literal as Constant

MAX_COST: Final = 2_000
"""In passes over a column, each some 10 to 20 us at 50,000 rows. An operator, a name and a literal take
one, a look into lists or `attributes` 30, a question about each distinct string 40, and 400 where
nearly every item has a string of its own."""

Type = AttributeType | Literal["int", "null"]

COST_OF_LISTS: Final = 30
_COST_OF_TEXTS, _COST_OF_OWN_TEXTS = 40, 400
_OWN_TEXTS = frozenset({"id", "title", "group"})


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked part of a filter. Of what type it is, and how to compute it: `run` gives a Truth for
    a bool, a Ragged for a list or a map, a Column for all else."""

    type: Type
    at: int
    run: Callable[[Rows], Any]
    constant: str | int | float | None = None
    """The value of a literal."""
    nullable: bool = False
    greatest: int = 0
    """Of an int: its greatest absolute value. CEL calls an overflow an error; here none can happen."""
    asking: int = 0
    """Of a string: what a question about each distinct one costs."""


class Function(NamedTuple):
    """An operator, function or method that filters may use."""

    check: Callable[[Checker, Call], Expression]
    n_arguments: int | None
    """None for any number. What stands before the dot of a method is one."""
    method: bool | None = False
    """True for `x.f()`, False for `f(x)`, None for either."""


class Checker:
    """Checks one filter. `cost` is what its steps take, in passes over a column."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.cost = 0
        self._functions = functions

    def check(self, node: Node) -> Expression:
        """Raises FilterError."""
        self.pay(1, node)
        if isinstance(node, Constant):
            return _constant(node)
        if isinstance(node, Name):
            return _attribute(node)
        if isinstance(node, Select):
            return self._key(node, node.field)
        if isinstance(node, Index):
            return self._index(node)
        if isinstance(node, Items):
            raise FilterError("Expected a list of literals only after `in`, got one", node.at)
        return self._call(node)

    def truth(self, node: Node) -> Callable[[Rows], Truth]:
        return self.of_type(node, "bool").run

    def pay(self, passes: int, node: Node) -> None:
        self.cost += passes
        if self.cost > MAX_COST:
            raise FilterError(f"Expected a filter that costs at most {MAX_COST}, got a costlier one", node.at)

    def of_type(self, node: Node, *types: Type) -> Expression:
        expression = self.check(node)
        if expression.type not in types:
            raise FilterError(f"Expected {_either(types)}, got `{expression.type}`", node.at)
        return expression

    def _call(self, node: Call) -> Expression:
        name, n = node.function, len(node.arguments)
        function = self._functions.get(name)
        if function is None or function.method not in (node.method, None):
            raise FilterError(f"Expected a known function or operator, got `{name}`", node.at)
        if function.n_arguments not in (n, None):
            takes = function.n_arguments - node.method
            raise FilterError(
                f"Expected {takes} argument{'s' * (takes != 1)} for `{name}`, got {n - node.method}", node.at
            )
        return function.check(self, node)

    def _index(self, node: Index) -> Expression:
        within = self.of_type(node.operand, "list", "map")
        index = self.of_type(node.index, "int" if within.type == "list" else "string")
        if index.constant is None:
            raise FilterError(f"Expected a literal, got `{index.type}`", node.index.at)
        if isinstance(index.constant, str):
            return self._key(node, index.constant)
        place = int(index.constant)
        self.pay(COST_OF_LISTS, node)
        # Holes in a Ragged are keys below 0, and no list has a place as far out as this one.
        place = place if 0 <= place < 1 << 31 else (1 << 31) - 1
        return Expression(
            "string",
            node.at,
            lambda rows: evaluate.entry(within.run(rows), place, rows.n),
            asking=_COST_OF_TEXTS,
        )

    def _key(self, node: Select | Index, key: str) -> Expression:
        within = self.of_type(node.operand, "map")
        self.pay(COST_OF_LISTS, node)
        return Expression(
            "string",
            node.at,
            lambda rows: evaluate.entry(within.run(rows), rows.code(key), rows.n),
            asking=_COST_OF_TEXTS,
        )


def _constant(node: Constant) -> Expression:
    value, at = node.value, node.at
    if isinstance(value, bool):
        truth = Truth(np.asarray(value), np.asarray(not value))
        return Expression("bool", at, lambda _: truth)
    if value is None:
        null = Column(np.asarray(0), np.asarray(evaluate.NULL))
        return Expression("null", at, lambda _: null)
    if isinstance(value, str):
        return Expression("string", at, lambda rows: Column(np.asarray(rows.code(value))), constant=value)
    number = Column(np.asarray(value))
    if isinstance(value, int):
        return Expression("int", at, lambda _: number, constant=value, greatest=abs(value))
    return Expression("double", at, lambda _: number, constant=value)


def _attribute(node: Name) -> Expression:
    name, at = node.name, node.at
    type_ = ATTRIBUTES.get(name)
    if type_ is None:
        raise FilterError(f"Expected a known attribute ({', '.join(ATTRIBUTES)}), got `{name}`", at)
    if type_ == "bool":
        return Expression(type_, at, Rows.available)
    if type_ == "string":
        asking = _COST_OF_OWN_TEXTS if name in _OWN_TEXTS else _COST_OF_TEXTS
        return Expression(type_, at, lambda rows: rows.strings(name), asking=asking)
    if type_ == "double":
        return Expression(type_, at, lambda rows: rows.numbers(name), nullable=True)
    if type_ == "timestamp":
        return Expression(type_, at, Rows.published, nullable=True)
    return Expression(type_, at, lambda rows: rows.ragged(name))


def _either(types: tuple[Type, ...]) -> str:
    names = [f"`{name}`" for name in types]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
