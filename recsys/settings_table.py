"""Settings as a table: every one with its value, its default and where it came from; and as TOML."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.table import Table
from rich.text import Text

from recsys.banner import Banner
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.printable import without_secrets
from recsys.setting_errors import KEYS_PATH
from recsys.settings import ENV_PREFIX, Settings, keys_of, load_settings
from recsys.touchpoints import Touchpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 110
UNSET = "-"
_NAMED: Mapping[str, type[msgspec.Struct]] = {
    "placements": Placement,
    "banners": Banner,
    "touchpoints": Touchpoint,
}
"""Tables of what a reader has named."""
_KEYS_EXAMPLE = """\

# [server.keys]
# "a-key-of-16-letters-or-more" = "read"  # read, write or admin"""
_TOUCHPOINTS_EXAMPLE = """\

# [touchpoints.kiosk]
# channel = "store"
# direct = true       # the shop speaks itself; false: others do (affiliates, social, marketplaces)
# online = false
# phase = "during"    # before, during or after a purchase
#
# [[touchpoint_rules]]    # every field that is set must match
# touchpoint = "kiosk"
# name = "Product Viewed" # the event
# medium = "email"        # of the visit: cpc, organic, email, affiliate, ...
# channel = "kiosk"       # context.channel, or the call: server, mobile, web, screen"""


class SettingRow(NamedTuple):
    """A setting as `headrace config show` has it."""

    path: str
    """As errors name it: `server.port`, `placements."home.hero".limit`."""
    value: object
    default: object
    """None where there is none."""
    origin: str
    """The file, the environment variable's name, or `-` where nothing sets it."""


def setting_rows(home: Path, config: Path | None, environ: Mapping[str, str]) -> list[SettingRow]:
    """Every setting, in the order of the code; of a placement, banner or touchpoint what is not as built in.
    Raises SettingsError."""
    file = config if config is not None else home / "headrace.toml"
    settings = load_settings(home, config, environ)
    filed = set(_paths(tomllib.loads(file.read_text("utf-8")))) if file.exists() else set()
    named = _environment(environ)
    rows = []
    for path, value, default in _leaves(_plain(settings, home), _plain(Settings(), home)):
        variable = next((name for name, part in named.items() if _touches(part, path)), UNSET)
        from_file = file.name if config is None else str(config)
        origin = from_file if variable == UNSET and path in filed else variable
        rows.append(SettingRow(path, value, default, origin))
    return rows


def as_toml(settings: Settings, home: Path) -> str:
    """A headrace.toml with all of `settings` and what they mean; read again it gives the same ones.
    Placements that are as built in, and examples of what is not set, are comments."""
    tree = _plain(settings, home)
    if not settings.touchpoint_rules:
        del tree["touchpoint_rules"]  # TOML allows the example below only where there is no empty list
    lines = _fields(tree, type(settings))
    for name, value in tree.items():
        if not isinstance(value, dict):
            continue
        section = getattr(settings, name)
        if isinstance(section, msgspec.Struct):
            lines += ["", f"[{name}]", *_fields(value, type(section))]
            lines += [line for key, each in value.items() if isinstance(each, dict) and each
                      for line in _section(f"{name}.{key}", each)]  # fmt: skip
        elif value:
            lines += _section(name, value)
    for heading, kind in (('placements."NAME"', Placement), ("banners.NAME", Banner)):
        lines += ["", f"# What may stand in [{heading}]:", *_glossary(kind)]
    if not settings.server.keys:
        lines.append(_KEYS_EXAMPLE)
    lines += _built_in(settings.placements)
    lines.append(_TOUCHPOINTS_EXAMPLE)
    return "\n".join(lines) + "\n"


def table_of(rows: Iterable[SettingRow]) -> Table:
    """Settings for a terminal; those of what a reader has named stand below its name."""
    table = _table("setting", "value", "default")
    table.add_column("from", overflow="fold", min_width=len("headrace.toml"))
    above = ""
    for row in rows:
        name, _, field = row.path.rpartition(".")
        if (is_named := name.endswith('"')) and name != above:
            table.add_row(name)
        above = name
        # Told where it is another: two columns of the same would leave no room for long ones.
        default = "" if row.value == row.default else _value(row.default)
        shown = f"  {field}" if is_named else row.path
        table.add_row(shown, Text(_shown(row)), Text(default), row.origin)
    return table


def placement_table(placements: Mapping[str, Placement]) -> Table:
    """Placements for a terminal."""
    table = _table("placement", "title", "limit", "item", "shows")
    for name, placement in placements.items():
        needs = "needed" if placement.needs_item else UNSET
        shows = " and ".join(f"{kind}s" for kind in placement.shares or placement.item_types)
        table.add_row(name, Text(placement.title), str(placement.limit), needs, shows)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        # The first names the row: it is there to be copied.
        table.add_column(heading, overflow="fold", no_wrap=not table.columns)
    return table


def _fields(values: Mapping[str, Any], of: type) -> list[str]:
    """The plain settings of a section, each under what it means."""
    meanings = _meanings(of)
    lines: list[str] = []
    for name, value in values.items():
        if not isinstance(value, dict):
            lines += [f"# {line}" for line in textwrap.wrap(meanings.get(name, ""), _WIDTH)]
            lines.append(f"{_key(name)} = {_value(value)}")
    return lines


def _glossary(of: type[msgspec.Struct]) -> list[str]:
    """Each field of what a reader names, with its default where it has one, and what it means."""
    lines, defaults = [], _defaults(of)
    for name, meaning in _meanings(of).items():
        default = defaults.get(name)
        told = name if default is None else f"{name} = {_value(default)}"
        lines += textwrap.wrap(
            f"{told}: {meaning}", _WIDTH, initial_indent="#   ", subsequent_indent="#       "
        )
    return lines


def _meanings(of: type) -> dict[str, str]:
    """The docstrings that stand under the fields of a class."""
    (body,) = ast.parse(inspect.getsource(of)).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(told.value.value.split())
        for field, told in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(told, ast.Expr)
        and isinstance(told.value, ast.Constant)
        and isinstance(told.value.value, str)
    }


def _built_in(given: Mapping[str, Placement]) -> list[str]:
    """The placements that nothing changes, as comments to copy from."""
    lines = []
    for name, placement in DEFAULT_PLACEMENTS.items():
        if name not in given:
            told = _section(f"placements.{_key(name)}", msgspec.to_builtins(placement))
            lines += [f"# {line}" if line else line for line in told]
    return lines


def _shown(row: SettingRow) -> str:
    """The value for a reader: keys of the server are told in part, passwords of URLs not at all."""
    if row.path == KEYS_PATH and isinstance(row.value, dict):
        return _value({f"{key[:4]}...": role for key, role in row.value.items()})
    is_url = row.path in ("log", "state")
    return _value(without_secrets(str(row.value)) if is_url else row.value)


def _plain(settings: Settings, home: Path) -> dict[str, Any]:
    """Plain data, `{home}` standing for the home again, so that a file of it can be moved."""
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    here = str(home.absolute())
    return {
        name: value.replace(here, "{home}") if isinstance(value, str) else value
        for name, value in tree.items()
    }


def _leaves(tree: Mapping[str, Any], built_in: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Path, value and default of each setting of each section, and of what a reader has named what is not as
    built in; tables that a reader fills in are one setting each."""
    for section, value in tree.items():
        if isinstance(getattr(Settings(), section), msgspec.Struct):
            yield from ((f"{section}.{key}", each, built_in[section][key]) for key, each in value.items())
        elif section in _NAMED and value:
            for name, fields in value.items():
                usual = _usual(section, name)
                yield from (
                    (f'{section}."{name}".{key}', each, usual.get(key))
                    for key, each in fields.items()
                    if each != usual.get(key)
                )
        else:
            yield section, value, built_in[section]


def _paths(tree: Mapping[str, Any]) -> Iterator[str]:
    """Of the settings that a file sets."""
    for section, value in tree.items():
        if section in _NAMED:
            yield from (f'{section}."{name}".{key}' for name, fields in value.items() for key in fields)
        elif isinstance(value, dict):
            yield from (f"{section}.{key}" for key in value)
        else:
            yield section


def _usual(section: str, name: str) -> dict[str, Any]:
    """The fields of a placement, banner or touchpoint of this name as they are where nothing sets them."""
    if section == "placements" and name in DEFAULT_PLACEMENTS:
        plain: dict[str, Any] = msgspec.to_builtins(DEFAULT_PLACEMENTS[name])
        return plain
    return _defaults(_NAMED[section])


def _defaults(of: type[msgspec.Struct]) -> dict[str, Any]:
    """As plain data, of the fields that have one."""
    defaults = {}
    for field in msgspec.structs.fields(of):
        if field.default_factory is not msgspec.NODEFAULT:
            defaults[field.name] = msgspec.to_builtins(field.default_factory())
        elif field.default is not msgspec.NODEFAULT:
            defaults[field.name] = msgspec.to_builtins(field.default)
    return defaults


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Variable -> the path of what it sets: a setting, a part of one, or a whole table."""
    paths = {}
    for name in environ:
        if name.startswith(ENV_PREFIX):
            section, *keys = keys_of(name)
            if section in _NAMED and keys:
                keys[0] = f'"{keys[0]}"'
            paths[name] = ".".join((section, *keys))
    return paths


def _touches(part: str, path: str) -> bool:
    """Whether what sets `part` sets `path`, or something of it."""
    return part == path or path.startswith(f"{part}.") or part.startswith(f"{path}.")


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
    if value is None:
        return UNSET
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
