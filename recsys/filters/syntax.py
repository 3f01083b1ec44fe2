"""The text of a filter as a tree with positions: the part of CEL that filters use.

CEL is the Common Expression Language (https://github.com/google/cel-spec/blob/master/doc/langdef.md).
The grammar is that document's without messages, maps, bytes, unsigned numbers and triple quotes. It is
written here, for lark, because filters come from outside: the string pattern of cel-python 0.5 takes
time exponential in the text (`"` and some thirty `\\a` without a closing quote), and the packages
around Google's own parser have no wheels for Python 3.10. The tests compare it with Google's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

MAX_CHARACTERS = 2_000
MAX_DEPTH = 32
"""Operators, calls and lists within one another; a chain of && or of || counts as one."""

_GRAMMAR = r"""
?expr: or | or QUESTION or ":" expr -> choice
?or: and | or OR and -> join
?and: relation | and AND relation -> join
?relation: addition | relation (RELATION | IN) addition -> binary
?addition: multiplication | addition (PLUS | MINUS) multiplication -> binary
?multiplication: unary | multiplication (STAR | SLASH | PERCENT) unary -> binary
?unary: member | (NOT | MINUS) unary -> unary
?member: primary
       | member "." IDENT -> select
       | member "." IDENT "(" [arguments] ")" -> method
       | member LBRACKET expr "]" -> index
?primary: "(" expr ")"
        | IDENT -> name
        | IDENT "(" [arguments] ")" -> call
        | LBRACKET [arguments] "]" -> list
        | (TRUE | FALSE | NULL | FLOAT | INT | STRING | RAW) -> literal
arguments: expr ("," expr)*

QUESTION: "?"
OR: "||"
AND: "&&"
RELATION: "<=" | ">=" | "==" | "!=" | "<" | ">"
IN: "in"
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
PERCENT: "%"
NOT: "!"
LBRACKET: "["
TRUE: "true"
FALSE: "false"
NULL: "null"
FLOAT.2: /[0-9]+\.[0-9]+([eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+([eE][+-]?[0-9]+)?/
INT: /0[xX][0-9a-fA-F]+|[0-9]+/
STRING: /"(?:[^"\\\r\n]|\\[^\r\n])*"|'(?:[^'\\\r\n]|\\[^\r\n])*'/
RAW.2: /[rR](?:"[^"\r\n]*"|'[^'\r\n]*')/
IDENT: /[_a-zA-Z][_a-zA-Z0-9]*/
%ignore /[\t\n\f\r ]+/
%ignore /\/\/[^\n]*/
"""


class FilterError(ValueError):
    """What is wrong with a filter, and where. `at` counts characters of the text from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(f"{message} - at {at}")
        self.at = at


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it is written; `at` is its place in the text, as in all nodes."""

    at: int
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute of the item."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`"""

    at: int
    operand: Node
    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """`operand[index]`"""

    at: int
    operand: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Call:
    """An operator, a function or a method (whose first argument is what stands before the dot).
    A minus sign before its operand is the function `-x`."""

    at: int
    function: str
    arguments: tuple[Node, ...]
    method: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """`[a, b]`"""

    at: int
    items: tuple[Node, ...]


Node = Literal | Name | Select | Index | Call | Items


def parse(text: str) -> Node:
    """The tree of a filter, of at most MAX_CHARACTERS. Raises FilterError: too deep, or not CEL."""
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    return _node(tree, 1)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start="expr", propagate_positions=True, maybe_placeholders=False)


def _unexpected(error: UnexpectedInput, text: str) -> FilterError:
    if isinstance(error, UnexpectedToken):
        ended = error.token.type == "$END"
        at = len(text) if ended else _start(error.token)
        got = "the end" if ended else f"`{error.token}`"
        allowed = error.expected
    else:
        assert isinstance(error, UnexpectedCharacters)
        at = error.pos_in_stream or 0
        got = f"`{text[at]}`"
        allowed = error.allowed
    if got in ('`"`', "`'`"):
        return FilterError(f"Expected a closing {got} on the same line", at)
    expected = "a value" if "NOT" in allowed else "a name" if "IDENT" in allowed else "an operator"
    return FilterError(f"Expected {expected}, got {got}", at)


def _node(tree: Tree[Token], depth: int) -> Node:
    at = tree.meta.start_pos
    if depth > MAX_DEPTH:
        raise FilterError(f"Expected at most {MAX_DEPTH} levels of nesting, got more", at)
    children = tree.children
    first, last = children[0], children[-1]
    if tree.data == "literal":
        assert isinstance(first, Token)
        return Literal(at, _value(first))
    if tree.data == "name":
        return Name(at, str(first))
    if tree.data == "list":
        return Items(at, _nodes(last, depth))
    if tree.data == "call":
        return Call(at, str(first), _nodes(last, depth))
    if tree.data == "unary":
        operator = "-x" if first == "-" else "!"
        return _negated(at, operator, _node(_tree(last), depth + 1))
    operand = _tree(first)
    if tree.data == "join":
        return _joined(tree, depth)
    of = _node(operand, depth + 1)
    middle = children[1]
    if tree.data == "select":
        return Select(_start(middle), of, str(middle))
    if tree.data == "method":
        return Call(_start(middle), str(middle), (of, *_nodes(last, depth)), method=True)
    if tree.data == "index":
        return Index(_start(middle), of, _node(_tree(last), depth + 1))
    others = (_node(_tree(child), depth + 1) for child in children[2:])
    return Call(_start(middle), str(middle), (of, *others))  # binary, choice


def _nodes(last: Token | Tree[Token], depth: int) -> tuple[Node, ...]:
    """The arguments; none when the last child is the name or the bracket before them."""
    if isinstance(last, Token):
        return ()
    return tuple(_node(_tree(child), depth + 1) for child in last.children)


def _joined(tree: Tree[Token], depth: int) -> Call:
    """a && b && c as one call: the chain is as long as the text, the recursion is not."""
    operator = tree.children[1]
    operands = []
    rest: Token | Tree[Token] = tree
    while isinstance(rest, Tree) and rest.data == "join" and rest.children[1] == operator:
        operands.append(_node(_tree(rest.children[2]), depth + 1))
        rest = rest.children[0]
    operands.append(_node(_tree(rest), depth + 1))
    return Call(_start(operator), str(operator), tuple(reversed(operands)))


def _negated(at: int, operator: str, operand: Node) -> Node:
    if operator == "-x" and isinstance(operand, Literal):
        value = operand.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Literal(at, -value)
    return Call(at, operator, (operand,))


def _tree(child: Token | Tree[Token]) -> Tree[Token]:
    assert isinstance(child, Tree)
    return child


def _start(child: Token | Tree[Token]) -> int:
    assert isinstance(child, Token)
    return child.start_pos or 0


def _value(token: Token) -> bool | int | float | str | None:
    if token.type in ("TRUE", "FALSE"):
        return token.type == "TRUE"
    if token.type == "NULL":
        return None
    if token.type == "FLOAT":
        return float(token)
    if token.type == "INT":
        return _whole(token)
    if token.type == "RAW":
        return str(token[2:-1])
    return _unescaped(token)


def _whole(token: Token) -> int:
    number = int(token, 16) if token[:2] in ("0x", "0X") else int(token)
    if number >= 1 << 63:
        raise FilterError(
            "Expected a whole number of at most 64 bits, got a longer one", token.start_pos or 0
        )
    return number


_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\?"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|.)"""
)
_ESCAPED = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def _unescaped(token: Token) -> str:
    start = (token.start_pos or 0) + 1

    def character(match: re.Match[str]) -> str:
        letter, x, u4, u8, octal = match.groups()
        if letter is not None:
            return _ESCAPED.get(letter, letter)
        point = int(octal, 8) if octal else int(x or u4 or u8 or "d800", 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise FilterError(
                f"Expected an escape that CEL knows, got `{match.group()}`", start + match.start()
            )
        return chr(point)

    return _ESCAPE.sub(character, token[1:-1])
