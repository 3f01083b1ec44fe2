"""Blocks served before: from this process's memory, else from the state."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog

from recsys.block import Placement
from recsys.keys import decision_key
from recsys.ports import ProfileStore
from server.blocks import NotLoaded, message_of
from server.live import Live
from server.pb import headrace_pb2 as pb
from server.served import RecentDecisions, Served, decode_served

log = structlog.get_logger("server.explain")

_ID_CHARS = 36
"""Of a UUID."""


class Decisions:
    """Looks up what was served. Thread-safe."""

    def __init__(
        self, recent: RecentDecisions, store: ProfileStore, live: Live, placements: Mapping[str, Placement]
    ) -> None:
        self._recent = recent
        self._store = store
        self._live = live
        self._placements = placements

    def explain(self, decision_id: str) -> bytes | None:
        """A serialised ExplainResponse; None: unknown or expired. Raises StoreUnavailable, NotLoaded."""
        if len(decision_id) != _ID_CHARS or not decision_id.isascii():
            return None
        served = self._recent.get(decision_id) or self._stored(decision_id)
        if served is None:
            return None
        shelf = self._live.shelf
        if shelf is None:
            raise NotLoaded
        message = served.message or message_of(served.block, shelf, self._placements)
        return pb.ExplainResponse(
            block=pb.Block.FromString(message),
            anonymous_id=served.asker.visitor or "",
            user_id=served.asker.user_id or "",
            person=served.person,
            request_id=served.caller.request_id,
            render_id=served.render_id,
            context=pb.Context(**served.caller.context),
        ).SerializeToString()

    def _stored(self, decision_id: str) -> Served | None:
        (stored,) = self._store.get_many((decision_key(decision_id),))
        if stored is None:
            return None
        try:
            return decode_served(stored)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("decision_unreadable", decision_id=decision_id, error=str(error))
            return None
