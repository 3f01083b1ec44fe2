"""Blocks decided once: every rendering of one email, by any server, shows the same."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import msgspec
import structlog

from recsys.block import Slot
from recsys.keys import decision_key
from recsys.ports import ProfileStore
from server.requests import Asker, BlocksRequest
from server.served import Served, decode_served, encode_served

log = structlog.get_logger("server.renders")

_NAMESPACE = uuid.UUID("6f1f9a54-0b5e-4c4e-9d7c-2f6f0c8b5a11")

Decide = Callable[[Sequence[Slot], Sequence[str]], list[Served]]
"""Decides slots under given decision ids; each Served holds its message."""


def decision_id_of(render_id: str, asker: Asker, slot: str) -> str:
    """The same for the same rendering, person as the request names them, and slot."""
    parts = msgspec.json.encode((render_id, asker.user_id, asker.visitor, slot))
    return str(uuid.uuid5(_NAMESPACE, parts.decode()))


class Renders:
    """Keeps the first answer to each rendering in the state, for `ttl_s` seconds."""

    def __init__(self, store: ProfileStore, ttl_s: int) -> None:
        self._store = store
        self._ttl_s = ttl_s

    def of(self, request: BlocksRequest, decide: Decide) -> tuple[list[Served], list[Served]]:
        """What is to be shown, in the order of the slots, and those of it that are new impressions.
        Raises StoreUnavailable."""
        slots = request.slots
        ids = [decision_id_of(request.render_id, request.asker, slot.name) for slot in slots]
        stored = self._store.get_many([decision_key(one) for one in ids])
        shown = [_repeated(found) for found in stored]
        missing = [index for index, found in enumerate(shown) if found is None]
        if not missing:
            return [one for one in shown if one is not None], []
        there = tuple(item.item for one in shown if one is not None for item in one.block.items)
        wanted = [
            msgspec.structs.replace(slots[index], exclude=slots[index].exclude + there) for index in missing
        ]
        new: list[Served] = []
        for index, one in zip(missing, decide(wanted, [ids[index] for index in missing]), strict=True):
            encoded = encode_served(one)
            kept = self._store.claim(decision_key(ids[index]), encoded, self._ttl_s)
            if kept == encoded:
                new.append(one)
                shown[index] = one
            else:  # another server was first
                shown[index] = _repeated(kept) or one
        return [one for one in shown if one is not None], new


def _repeated(stored: bytes | None) -> Served | None:
    if stored is None:
        return None
    try:
        return decode_served(stored)
    except (msgspec.DecodeError, ValueError) as error:
        log.error("decision_unreadable", error=str(error))
        return None
