"""Reads what a strict decoder refuses: field by field, so that one wrong field does not cost the event.

What stands in a field of another type is read by plain rules where they leave no doubt, else left out.
Either is told as a `Flaw`: nothing is mended silently.

- A text is wanted and a number came: its digits, and 1042.0 is 1042.
- A number is wanted and a text came: `number_in`.
- A time is wanted and a text that is no ISO 8601 came: epoch seconds or milliseconds, in digits.
- Half of a surrogate pair stands in a text: U+FFFD takes its place.
- Everything else (a list for a name, null among the products) is left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec

from recsys.events import Flaw
from recsys.refusal import Refused, refusal_of

MAX_NUMBER_CHARS = 40
"""Longer texts are no number."""

T = TypeVar("T", bound=msgspec.Struct)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec's decoders raise: wrong types and broken JSON, bytes that are no UTF-8, endless nesting."""

_SIGN = r"[+-]?"
_WHOLE = re.compile(rf"{_SIGN}[0-9]*\.?[0-9]+")
_BY_COMMA = re.compile(rf"{_SIGN}[1-9][0-9]{{0,2}}(?:,[0-9]{{3}})+(?:\.[0-9]+)?")
_BY_POINT = re.compile(rf"{_SIGN}[1-9][0-9]{{0,2}}(?:(?:\.[0-9]{{3}})+,[0-9]+|(?:\.[0-9]{{3}}){{2,}})")
_BY_BLANK = re.compile(rf"{_SIGN}[1-9][0-9]{{0,2}}(?:[ '\u2019\u00a0\u202f][0-9]{{3}})+(?:[.,][0-9]+)?")
_DECIMAL_COMMA = re.compile(rf"{_SIGN}[0-9]*,[0-9]+")
_BLANKS = re.compile(r"[ '\u2019\u00a0\u202f]")
_CODE = re.compile(r"[A-Z]{3}(?=[^A-Za-z])|(?<=[^A-Za-z])[A-Z]{3}$")


def number_in(text: str) -> float | None:
    """The number a text tells without doubt, None where it tells none.

    Blanks around it, and a currency (`$`, `EUR`) before or behind, do not matter. A comma, a point, a
    blank or an apostrophe between groups of three digits parts thousands, and the other of comma and
    point starts the decimals: 1,234.50 and 1.234,50 and 1 234,50. One comma with three digits behind it
    parts thousands (1,234), any other one starts decimals (12,5). A lone point always starts decimals.
    """
    bare = _without_currency(text.strip())
    if len(bare) > MAX_NUMBER_CHARS:
        return None
    if _WHOLE.fullmatch(bare):
        return float(bare)
    if _BY_COMMA.fullmatch(bare):
        return float(bare.replace(",", ""))
    if _BY_POINT.fullmatch(bare):
        return float(bare.replace(".", "").replace(",", "."))
    if _BY_BLANK.fullmatch(bare) or _DECIMAL_COMMA.fullmatch(bare):
        return float(_BLANKS.sub("", bare).replace(",", "."))
    return None


def _without_currency(text: str) -> str:
    if text and unicodedata.category(text[0]) == "Sc":
        return text[1:].lstrip()
    if text and unicodedata.category(text[-1]) == "Sc":
        return text[:-1].rstrip()
    return _CODE.sub("", text, count=1).strip()


def mended(data: bytes, shape: type[T], path: str, *, strict: bool = True) -> tuple[T, list[Flaw]]:
    """An object read as `shape`, and what was wrong with it.

    `path`: where it stands. `strict`: as msgspec takes it. Raises Refused for what is no object, or no
    JSON where a field of `shape` stands.
    """
    flaws: list[Flaw] = []
    found = _object(data, shape, path, strict, flaws)
    if isinstance(found, Refused):
        raise found
    return found, flaws


def _object(data: bytes, shape: type[T], path: str, strict: bool, flaws: list[Flaw]) -> T | Refused:
    """The object, or why it is none."""
    try:
        given = _fields.decode(data)
    except UNREADABLE as error:
        return _wrong(error, path)
    values: dict[str, Any] = {}
    for name, (attribute, kind, decode) in _shape(shape, strict).items():
        if name not in given:
            continue
        raw, where = bytes(given[name]), f"{path}.{name}"
        try:
            values[attribute] = decode(raw)
        except UNREADABLE as error:
            wrong = _wrong(error, where)
            value = _mended_value(raw, kind, where, strict, flaws, wrong)
            if value is not None:
                values[attribute] = value
    return shape(**values)


def _mended_value(raw: bytes, kind: Any, path: str, strict: bool, flaws: list[Flaw], wrong: Refused) -> Any:
    """What a field may be taken for, None to leave it out; either is told."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and raw.startswith(b"{"):
        inner = _object(raw, kind, path, strict, flaws)
        return None if isinstance(inner, Refused) else inner
    if isinstance(kind, list) and raw.startswith(b"["):
        return _list(raw, kind[0], path, strict, flaws)
    value = _REPAIRS[kind](_plain(raw, path)) if kind in (str, float, datetime) else None
    flaws.append(Flaw(wrong.kind, path, wrong.expected, wrong.got, is_repaired=value is not None))
    return value


def _list(raw: bytes, kind: type[T], path: str, strict: bool, flaws: list[Flaw]) -> list[T]:
    """Every element, so that a list does not become an empty one: what is none is one of no fields."""
    found = []
    for index, each in enumerate(_elements.decode(raw)):
        where = f"{path}[{index}]"
        element = _object(bytes(each), kind, where, strict, flaws)
        if isinstance(element, Refused):
            flaws.append(Flaw(element.kind, where, element.expected, element.got))
            element = kind()
        found.append(element)
    return found


def _wrong(error: Exception, path: str) -> Refused:
    """What msgspec says of one field. Raises it where that is no JSON: then all of it is not."""
    refused = refusal_of(error, path)
    if refused.kind != "wrong_type":
        raise refused from None
    refused.path = path
    return refused


def _text_of_number(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)


def _number_of_text(value: object) -> float | None:
    return number_in(value) if isinstance(value, str) else None


def _time_of_text(value: object) -> float | None:
    is_number = isinstance(value, str) and len(value) <= MAX_NUMBER_CHARS and _WHOLE.fullmatch(value)
    return float(str(value)) if is_number else None


def _plain(raw: bytes, path: str) -> object:
    """A number or a text, None for anything else. Raises Refused for bytes that are no UTF-8: where a
    number or a time is wanted, the strict decoder has not come to look at them."""
    try:
        value: object = _number_or_text.decode(raw)
    except msgspec.ValidationError:  # beyond what a float holds, too
        return None
    except UNREADABLE as error:
        raise refusal_of(error, path) from None
    return value


_REPAIRS: dict[Any, Callable[[object], Any]] = {
    str: _text_of_number,
    float: _number_of_text,
    datetime: _time_of_text,
}


def without_halves(data: bytes) -> bytes:
    """JSON with U+FFFD in the place of each escaped half of a surrogate pair, which is no text: what
    JavaScript writes where it has cut an emoji in two."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], data)


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
HALF = Flaw("invalid_json", "$", "whole characters", "half of a surrogate pair", is_repaired=True)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number_or_text = msgspec.json.Decoder(str | int | float | bool | None)
_elements = msgspec.json.Decoder(list[msgspec.Raw])


@cache
def _shape(shape: type[msgspec.Struct], strict: bool) -> dict[str, tuple[str, Any, Callable[[bytes], Any]]]:
    """By its name in JSON: a field's own name, what kind it is of, and how it is read."""
    return {
        field.encode_name: (
            field.name,
            _kind(field.type),
            msgspec.json.Decoder(field.type, strict=strict).decode,
        )
        for field in msgspec.structs.fields(shape)
    }


def _kind(declared: Any) -> Any:
    """What a field is mended as: an object's type, [that] for a list of it, str, float or datetime; None
    for what is only ever left out (ids, and what is kept as bytes)."""
    options = [option for option in get_args(declared) if option is not type(None)]
    if datetime in options:
        return datetime
    if len(options) != 1:
        return None
    (option,) = options
    return [*get_args(option)] if get_args(option) else option
