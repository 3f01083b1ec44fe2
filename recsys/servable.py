"""Whether anybody could and should serve with the settings: what they mean together, beside their types."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from recsys.filters.expression import compile_filter
from recsys.filters.syntax import FilterError
from recsys.placement import Placement
from recsys.settings import ServerSettings, Settings, SettingsError

ROLES: Final = ("read", "write", "admin")
MIN_KEY_CHARS: Final = 16
_AT_LEAST_ONE: Final = (
    "processes",
    "threads",
    "deadline_ms",
    "max_slots",
    "max_limit",
    "max_track_events",
    "max_bulk_people",
    "served_queue",
    "refresh_ms",
    "render_ttl_s",
)


def check(settings: Settings) -> None:
    """Refuse what nobody could or should serve with. Raises SettingsError."""
    check_exposure(settings.server)
    _check_numbers(settings.server)
    _check_filters(settings.all_placements())


def _check_numbers(settings: ServerSettings) -> None:
    # Zero would mean a server that does nothing, and says nothing of it.
    for name in _AT_LEAST_ONE:
        if (number := getattr(settings, name)) < 1:
            raise SettingsError(f"Expected at least 1, got {number} - at `server.{name}`")
    for name in ("port", "metrics_port"):
        if not 0 <= (port := getattr(settings, name)) <= 65_535:
            raise SettingsError(f"Expected a port of 0 to 65535, got {port} - at `server.{name}`")


def _check_filters(placements: Mapping[str, Placement]) -> None:
    for name, placement in placements.items():
        try:
            compile_filter(placement.filter or "true")
        except FilterError as error:  # noqa: PERF203 (a handful, at the start)
            raise SettingsError(f'{error} of `placements."{name}".filter`') from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: ServerSettings) -> None:
    """Refuse to start open to others without keys, or with TLS half set. Raises SettingsError."""
    for index, (key, role) in enumerate(settings.keys.items()):
        if role not in ROLES:
            raise SettingsError(
                f"Expected a role of {', '.join(ROLES)}, got `{role}` - at key {index} of `server.keys`"
            )
        if len(key) < MIN_KEY_CHARS or not (key.isascii() and key.isprintable()):
            # The key itself is not repeated: errors end up in logs.
            raise SettingsError(
                f"Expected at least {MIN_KEY_CHARS} printable ASCII characters, got {len(key)} characters"
                f" - at key {index} of `server.keys`"
            )
    if not settings.keys and not is_loopback(settings.host):
        raise SettingsError(
            f"Expected keys, got none - at `server.keys`: others can reach `server.host` ="
            f" `{settings.host}`; or set it to 127.0.0.1"
        )
    tls_pair(settings)


def tls_pair(settings: ServerSettings) -> tuple[bytes, bytes] | None:
    """The private key and the certificates in PEM, None for no TLS. Raises SettingsError."""
    if not settings.tls_cert and not settings.tls_key:
        return None
    if not settings.tls_cert or not settings.tls_key:
        missing, given = ("tls_key", "tls_cert") if settings.tls_cert else ("tls_cert", "tls_key")
        raise SettingsError(
            f"Expected a path, got nothing - at `server.{missing}`, which `server.{given}` needs"
        )
    return _read(settings.tls_key, "tls_key"), _read(settings.tls_cert, "tls_cert")


def _read(path: str, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"Expected a readable file, got `{error.strerror}` - at `server.{name}` = `{path}`"
        ) from None
