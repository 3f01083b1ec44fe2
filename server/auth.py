"""Who may call what: API keys with roles, in `authorization: Bearer KEY` (RFC 6750)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Literal

Refusal = Literal["unauthenticated", "permission_denied"]


class Keys:
    """The keys and their roles. A read key asks, a write key only sends events, an admin key may
    do both. Without keys everybody may do everything: only on loopback, see `recsys.servable`."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = tuple((key.encode(), role) for key, role in keys.items())

    def refusal(self, metadata: Iterable[tuple[str, str | bytes]], role: str) -> Refusal | None:
        """Why a call with this metadata may not do what `role` allows; None: it may."""
        if not self._keys:
            return None
        given = next((value for name, value in metadata if name == "authorization"), "")
        encoded = given.encode() if isinstance(given, str) else given
        # The scheme's name is one in capitals too (RFC 7235, 2.1); the key is not.
        scheme, _, offered = encoded.partition(b" ")
        held = ""
        for key, its_role in self._keys:  # all of them, so that time tells nothing about any
            if hmac.compare_digest(key, offered):
                held = its_role
        if not held or scheme.lower() != b"bearer":
            return "unauthenticated"
        return None if held in (role, "admin") else "permission_denied"
