"""Settings as a table: every one with its value, its default and where it came from; and as TOML."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.table import Table
from rich.text import Text

from recsys.settings import ENV_PREFIX, Settings, load_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
KEYS_PATH = "server.keys"


class SettingRow(NamedTuple):
    path: str
    """As errors name it: `server.port`."""
    value: object
    default: object
    origin: str
    """`default`, the file's path, or the environment variable's name."""


def setting_rows(home: Path, config: Path | None, environ: Mapping[str, str]) -> list[SettingRow]:
    """Every setting, in the order of the code. Raises SettingsError."""
    file = config if config is not None else home / "headrace.toml"
    values = dict(_leaves(_plain(load_settings(home, config, environ), home)))
    filed = dict(_leaves(tomllib.loads(file.read_text("utf-8")))) if file.exists() else {}
    defaults = dict(_leaves(_plain(Settings(), home)))
    named = _environment(environ)
    rows = []
    for path, value in values.items():
        if path in named:
            origin = named[path]
        elif path in filed:
            origin = str(file)
        else:
            origin = "default"
        rows.append(SettingRow(path, value, defaults.get(path), origin))
    return rows


def as_toml(settings: Settings, home: Path) -> str:
    """A headrace.toml with all of `settings`; read again it gives the same ones."""
    tree = _plain(settings, home)
    lines = [f"{_key(name)} = {_value(value)}" for name, value in tree.items() if not isinstance(value, dict)]
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            lines += _section(name, value)
    return "\n".join(lines) + "\n"


def table_of(rows: Iterable[SettingRow]) -> Table:
    """For a terminal. The default stands where something else is set."""
    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "value", "default", "from"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        default = "" if row.origin == "default" else _value(row.default)
        table.add_row(row.path, Text(_shown(row)), Text(default), row.origin)
    return table


def _shown(row: SettingRow) -> str:
    """The value for a reader: keys of the server are told in part."""
    if row.path == KEYS_PATH and isinstance(row.value, dict):
        return _value({f"{key[:4]}...": role for key, role in row.value.items()})
    return _value(row.value)


def _plain(settings: Settings, home: Path) -> dict[str, Any]:
    """Plain data, `{home}` standing for the home again, so that a file of it can be moved."""
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    here = str(home.absolute())
    return {
        name: value.replace(here, "{home}") if isinstance(value, str) else value
        for name, value in tree.items()
    }


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Each setting of each section; tables that a reader fills in are one setting each."""
    for name, value in tree.items():
        section = isinstance(getattr(Settings(), name), msgspec.Struct)
        if section:
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            yield name, value


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Path of a setting -> the variable that sets it, or a part of it."""
    named = {}
    for name in environ:
        if name.startswith(ENV_PREFIX):
            keys = name[len(ENV_PREFIX) :].lower().split("__")
            named[keys[0]] = named[".".join(keys[:2])] = name
    return named


def _section(path: str, table: Mapping[str, Any]) -> list[str]:
    lines = ["", f"[{path}]"]
    lines += [
        f"{_key(name)} = {_value(value)}"
        for name, value in table.items()
        if not isinstance(value, dict) and value is not None
    ]
    for name, value in table.items():
        if isinstance(value, dict) and value:
            lines += _section(f"{path}.{_key(name)}", value)
    return lines


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    if isinstance(value, dict):
        given = [f"{_key(name)} = {_value(each)}" for name, each in value.items() if each is not None]
        return "{" + ", ".join(given) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
