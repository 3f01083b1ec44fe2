"""What is wrong with a setting, in words for who wrote the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

KEYS_PATH: Final = "server.keys"
OWN_NAMES: Final = frozenset(("placements", "banners", "touchpoints"))
"""Sections whose keys a reader names."""


def wrong(value: object, kind: Any, path: str) -> str | None:
    """The first thing that keeps `value` from being a `kind`, in words; None: nothing does.

    msgspec's own words say neither what would have been right nor, in a table, which key it is.
    """
    at = f" - at `{path}`" if path else ""
    if (unnamed := _unnamed(value, kind)) is not None:
        names, got = unnamed
        return f"Expected one of {', '.join(names)}, got `{got}`{at}{_unquoted(value, path, got)}"
    for part in _parts(value, kind, path):
        if found := wrong(*part):
            return found
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        text = _TYPE.sub(_in_words, str(error).partition(" - at `")[0])
        return f"{text}{at}" if "got" in text or "missing" in text else f"{text}, got {value}{at}"
    return None


_TYPE: Final = re.compile(r"`(int|float|str|bool|object|array|null)( \| null)?`")
_WORDS: Final = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false",
    "object": "a section", "array": "a list", "null": "nothing",
}  # fmt: skip


def _in_words(named: re.Match[str]) -> str:
    """A reader of a file need not know what Python calls a text."""
    return _WORDS[named[1]] + (" or nothing" if named[2] else "")


def _unquoted(value: object, path: str, got: str) -> str:
    """A name with a dot is one key in quotes only; without them it is a section in a section."""
    section, _, name = path.partition(".")
    if section not in OWN_NAMES or not isinstance(value, dict) or not isinstance(value[got], dict):
        return ""
    return f': quote the name, `[{section}."{name.strip(chr(34))}.{got}"]`'


def _unnamed(value: object, kind: Any) -> tuple[Sequence[str], str] | None:
    """Where a name must be one of a few and is not: those few, and the name."""
    names: Sequence[str] = ()
    if isinstance(value, str):
        names, given = _names(kind), [value]
    elif isinstance(value, dict):
        names, given = _names(get_args(kind)[0] if get_origin(kind) is dict else kind), list(value)
    odd = [name for name in given if name not in names] if names else []
    return (names, odd[0]) if odd else None


def _names(kind: Any) -> Sequence[str]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return kind.__struct_fields__ if is_struct else ()


def _parts(value: object, kind: Any, path: str) -> Iterator[tuple[object, Any, str]]:
    """What a section, table or list is made of: each value, its type and its path."""
    if isinstance(value, list) and get_origin(kind) is tuple:
        yield from ((each, get_args(kind)[0], f"{path}[{index}]") for index, each in enumerate(value))
    elif isinstance(value, dict) and get_origin(kind) is dict:
        for key, each in value.items():
            # A key of the server is a secret, and errors end up in logs.
            yield each, get_args(kind)[1], path + ("[...]" if path == KEYS_PATH else f'."{key}"')
    elif isinstance(value, dict) and _names(kind):
        kinds = {field.name: field.type for field in msgspec.structs.fields(kind)}
        yield from ((each, kinds[key], f"{path}.{key}".lstrip(".")) for key, each in value.items())
