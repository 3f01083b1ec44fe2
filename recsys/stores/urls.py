"""Reading adapter URLs: where a log or store is, and its settings from the query."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit


def split_path_url(url: str) -> tuple[Path, dict[str, str]]:
    """Path and settings of a URL that names a file or folder, like a `file:` URL: three
    slashes, then the rest of an absolute path, percent-encoded where needed."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError(f"Expected an absolute path like `{parts.scheme}:///path/to/it`, got `{url}`")
    return Path(unquote(parts.path)), query_settings(parts.query)


def path_url(scheme: str, path: Path, query: str = "") -> str:
    """The URL that `split_path_url` reads back as `path` (made absolute)."""
    return f"{scheme}://{quote(str(path.absolute()))}" + (f"?{query}" if query else "")


def query_settings(query: str) -> dict[str, str]:
    """Settings of a query; ValueError for one that is given twice."""
    settings: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in settings:
            raise ValueError(f"Expected the setting `{name}` once, got it twice")
        settings[name] = value
    return settings


def take_int(settings: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    """Remove and read a whole number within low..high."""
    text = settings.pop(name, None)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ValueError(f"Expected a whole number from {low} to {high}, got `{text}` - at setting `{name}`")
    return int(text)


def take_float(settings: dict[str, str], name: str, default: float, low: float, high: float) -> float:
    """Remove and read a number within low..high."""
    text = settings.pop(name, None)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(f"Expected a number from {low:g} to {high:g}, got `{text}` - at setting `{name}`")
    return number


def refuse_rest(settings: dict[str, str], known: Iterable[str]) -> None:
    """ValueError when a setting is left that nobody took."""
    for name in settings:
        raise ValueError(f"Expected a setting of {', '.join(f'`{each}`' for each in known)}, got `{name}`")
