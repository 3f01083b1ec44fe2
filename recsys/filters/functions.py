"""What each operator and function of a filter takes, gives and costs."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.filters import evaluate
from recsys.filters.checker import COST_OF_LISTS, Checker, Expression, Function, Type
from recsys.filters.evaluate import Column, Rows, Truth
from recsys.filters.ragged import Ragged
from recsys.filters.syntax import Call, FilterError, Items, Node, Select

_ORDERINGS: Final[dict[str, evaluate.Comparison]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_TEXT_TESTS: Final[dict[str, Callable[[str, str], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}
_NUMERIC: Final[tuple[Type, ...]] = ("int", "double")


def _logic(checker: Checker, node: Call) -> Expression:
    runs = [checker.truth(argument) for argument in node.arguments]
    join = evaluate.all_of if node.function == "&&" else evaluate.any_of
    return Expression("bool", node.at, lambda rows: join([run(rows) for run in runs]))


def _not(checker: Checker, node: Call) -> Expression:
    run = checker.truth(node.arguments[0])
    return Expression("bool", node.at, lambda rows: evaluate.negation(run(rows)))


def _choice(checker: Checker, node: Call) -> Expression:
    condition = checker.truth(node.arguments[0])
    a = checker.of_type(node.arguments[1], "bool", "string", "timestamp", *_NUMERIC)
    b = checker.of_type(node.arguments[2], a.type)
    choose: Callable[..., Any] = evaluate.choice_of_truths if a.type == "bool" else evaluate.choice_of_columns
    return Expression(
        a.type,
        node.at,
        lambda rows: choose(condition(rows), a.run(rows), b.run(rows)),
        nullable=a.nullable or b.nullable,
        greatest=max(a.greatest, b.greatest),
        asking=max(a.asking, b.asking),
    )


def _equality(checker: Checker, node: Call) -> Expression:
    a, b = (checker.check(argument) for argument in node.arguments)
    for one, other in ((a, b), (b, a)):
        if one.type in ("list", "map"):
            raise FilterError(f"Expected a value to compare, got `{one.type}`", one.at)
        if not (one.type == other.type or _both_numeric(one, other) or _null_asked(one, other)):
            raise FilterError(f"Expected `{one.type}`, got `{other.type}`", other.at)
    same: Callable[..., Truth] = evaluate.same_truth if a.type == "bool" else evaluate.same
    if node.function == "==":
        return Expression("bool", node.at, lambda rows: same(a.run(rows), b.run(rows)))
    return Expression("bool", node.at, lambda rows: evaluate.negation(same(a.run(rows), b.run(rows))))


def _ordering(checker: Checker, node: Call) -> Expression:
    a = checker.of_type(node.arguments[0], "string", "timestamp", *_NUMERIC)
    b = checker.of_type(node.arguments[1], *(_NUMERIC if a.type in _NUMERIC else (a.type,)))
    if a.type == "string":
        return _text_ordering(checker, node, a, b)
    compare = _ORDERINGS[node.function]
    return Expression("bool", node.at, lambda rows: evaluate.compared(compare, a.run(rows), b.run(rows)))


def _text_ordering(checker: Checker, node: Call, a: Expression, b: Expression) -> Expression:
    if isinstance(b.constant, str):
        return _text_test(checker, node, a, node.function, b.constant)
    return _text_test(checker, node, b, _MIRRORED[node.function], _literal_text(a))


def _text_test(checker: Checker, node: Node, texts: Expression, name: str, other: str) -> Expression:
    checker.pay(texts.asking, node)
    test = _TEXT_TESTS[name]

    def run(rows: Rows) -> Truth:
        column = texts.run(rows)
        yes = rows.by_text(column.data, lambda distinct: map(test, distinct, repeat(other)), np.bool_)
        return evaluate.decided(yes, column.state)

    return Expression("bool", node.at, run)


def _text_method(checker: Checker, node: Call) -> Expression:
    texts = checker.of_type(node.arguments[0], "string")
    part = _literal_text(checker.of_type(node.arguments[1], "string"))
    return _text_test(checker, node, texts, node.function, part)


def _arithmetic(checker: Checker, node: Call) -> Expression:
    types = ("double",) if node.function == "/" else _NUMERIC
    a = checker.of_type(node.arguments[0], *types)
    b = checker.of_type(node.arguments[1], a.type)
    greatest = a.greatest * b.greatest if node.function == "*" else a.greatest + b.greatest
    if greatest >= 1 << 63:
        raise FilterError("Expected a result of at most 64 bits, got one that may be longer", node.at)
    apply = _ARITHMETIC[node.function]
    return Expression(
        a.type,
        node.at,
        lambda rows: evaluate.calculated(apply, a.run(rows), b.run(rows)),
        greatest=greatest,
    )


def _minus(checker: Checker, node: Call) -> Expression:
    a = checker.of_type(node.arguments[0], *_NUMERIC)
    return Expression(
        a.type, node.at, lambda rows: evaluate.calculated(np.negative, a.run(rows)), greatest=a.greatest
    )


def _in(checker: Checker, node: Call) -> Expression:
    needle, within = node.arguments
    if isinstance(within, Items):
        return _in_constants(checker, node, needle, within)
    a = checker.of_type(needle, "string")
    b = checker.of_type(within, "list", "map")
    checker.pay(COST_OF_LISTS, node)
    look = Ragged.having if b.type == "map" else Ragged.holding

    def run(rows: Rows) -> Truth:
        column = a.run(rows)
        return evaluate.decided(look(b.run(rows), column.data, rows.n), column.state)

    return Expression("bool", node.at, run)


def _in_constants(checker: Checker, node: Call, needle: Node, within: Items) -> Expression:
    a = checker.of_type(needle, "string", *_NUMERIC)
    constants: list[Any] = []
    for item in within.items:
        expression = checker.of_type(item, *(_NUMERIC if a.type in _NUMERIC else (a.type,)))
        if expression.constant is None:
            raise FilterError(f"Expected a literal, got `{expression.type}`", item.at)
        constants.append(expression.constant)
    if a.type == "string":
        return Expression("bool", node.at, lambda rows: rows.among(a.run(rows), constants))
    return Expression("bool", node.at, lambda rows: evaluate.among(a.run(rows), constants))


def _has(checker: Checker, node: Call) -> Expression:
    selected = node.arguments[0]
    if not isinstance(selected, Select):
        raise FilterError("Expected `has(attributes.name)`, got something else in it", selected.at)
    of = checker.of_type(selected.operand, "map")
    checker.pay(COST_OF_LISTS, node)

    def run(rows: Rows) -> Truth:
        return evaluate.decided(of.run(rows).having(rows.code(selected.field), rows.n), None)

    return Expression("bool", node.at, run)


def _size(checker: Checker, node: Call) -> Expression:
    of = checker.of_type(node.arguments[0], "string", "list", "map")
    if of.type != "string":
        return Expression("int", node.at, lambda rows: Column(of.run(rows).count[: rows.n]), greatest=1 << 31)
    checker.pay(of.asking, node)

    def run(rows: Rows) -> Column:
        column = of.run(rows)
        return Column(rows.by_text(column.data, lambda distinct: map(len, distinct), np.int64), column.state)

    return Expression("int", node.at, run, greatest=1 << 31)


def _double(checker: Checker, node: Call) -> Expression:
    of = checker.of_type(node.arguments[0], "string", *_NUMERIC)
    if of.type != "string":
        return Expression("double", node.at, lambda rows: evaluate.calculated(_as_double, of.run(rows)))
    checker.pay(of.asking, node)

    def run(rows: Rows) -> Column:
        column = of.run(rows)
        numbers = rows.by_text(column.data, lambda distinct: map(_number, distinct), np.float64)
        state = np.where(np.isnan(numbers), evaluate.ERROR, evaluate.VALUE)
        return Column(numbers, state if column.state is None else state | column.state)

    return Expression("double", node.at, run)


def _timestamp(checker: Checker, node: Call) -> Expression:
    text = _literal_text(checker.of_type(node.arguments[0], "string"))
    at_ms = np.asarray(_rfc3339_ms(text, node.arguments[0].at))
    return Expression("timestamp", node.at, lambda _: Column(at_ms))


def _both_numeric(a: Expression, b: Expression) -> bool:
    return a.type in _NUMERIC and b.type in _NUMERIC


def _null_asked(a: Expression, b: Expression) -> bool:
    return (
        {a.type, b.type} == {"null"} or (a.nullable and b.type == "null") or (b.nullable and a.type == "null")
    )


def _literal_text(expression: Expression) -> str:
    if not isinstance(expression.constant, str):
        raise FilterError("Expected a literal string, got an expression", expression.at)
    return expression.constant


_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _as_double(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return numbers.astype(np.float64)


def _number(text: str) -> float:
    """The number that a text is; NaN for one that is none."""
    return float(text) if _NUMBER.fullmatch(text) else np.nan


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,3}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _rfc3339_ms(text: str, at: int) -> int:
    match = _RFC3339.fullmatch(text)
    seconds, fraction, zone = match.groups() if match is not None else ("", None, "")
    try:
        moment = datetime.fromisoformat(seconds + (zone if zone != "Z" else "+00:00"))
    except ValueError:
        raise FilterError(
            f"Expected a time like `2026-01-31T12:00:00Z`, to the millisecond, got `{text}`", at
        ) from None
    return (moment - _EPOCH) // timedelta(milliseconds=1) + int((fraction or "").ljust(3, "0"))


FUNCTIONS: Final[dict[str, Function]] = {
    "&&": Function(_logic, None),
    "||": Function(_logic, None),
    "!": Function(_not, 1),
    "?": Function(_choice, 3),
    "==": Function(_equality, 2),
    "!=": Function(_equality, 2),
    **dict.fromkeys(_ORDERINGS, Function(_ordering, 2)),
    **dict.fromkeys(_ARITHMETIC, Function(_arithmetic, 2)),
    "-x": Function(_minus, 1),
    "in": Function(_in, 2),
    "has": Function(_has, 1),
    "size": Function(_size, 1, method=None),
    "double": Function(_double, 1),
    "timestamp": Function(_timestamp, 1),
    **dict.fromkeys(("startsWith", "endsWith", "contains"), Function(_text_method, 2, method=True)),
}
