"""Who may call what: API keys with roles, in `authorization: Bearer KEY`."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from recsys.settings import ServerSettings, SettingsError

ROLES = ("read", "write", "admin")
MIN_KEY_CHARS = 16
Refusal = Literal["unauthenticated", "permission_denied"]


class Keys:
    """The keys and their roles. A read key asks, a write key only sends events, an admin key may
    do both. Without keys everybody may do everything: only on loopback, see `check_exposure`."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = tuple((f"Bearer {key}".encode(), role) for key, role in keys.items())

    def refusal(self, metadata: Iterable[tuple[str, str | bytes]], role: str) -> Refusal | None:
        """Why a call with this metadata may not do what `role` allows; None: it may."""
        if not self._keys:
            return None
        given = next((value for name, value in metadata if name == "authorization"), "")
        encoded = given.encode() if isinstance(given, str) else given
        held = ""
        for key, its_role in self._keys:  # all of them, so that time tells nothing about any
            if hmac.compare_digest(key, encoded):
                held = its_role
        if not held:
            return "unauthenticated"
        return None if held in (role, "admin") else "permission_denied"


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
