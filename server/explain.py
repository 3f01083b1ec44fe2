"""Blocks served before: from this process's memory, else from the state; with an account of each item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from itertools import zip_longest

import msgspec
import structlog

from recsys.banner import Banner
from recsys.block import Block, Slot
from recsys.decide import View, why
from recsys.fold import SessionRules
from recsys.keys import decision_key
from recsys.pipeline.account import SHOWN, Account, Share
from recsys.pipeline.sentences import sentence
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement
from recsys.ports import ProfileStore
from recsys.shown import person_of
from server.blocks import NotLoaded
from server.live import Live
from server.pb import headrace_pb2 as pb
from server.people import People
from server.requests import context_message
from server.served import RecentDecisions, Served, decode_served
from server.shelf_facts import message_of
from server.shown import Shown
from server.wire import banner_fields

log = structlog.get_logger("server.explain")

_ID_CHARS = 36
"""Of a UUID."""
_SAME_SCORE = 1e-3
"""Scores of the same decision may differ by what live counters have faded meanwhile."""
AS_OF_NOW = "As of now: "
"""Before the sentence of an account that stands among those of what was served."""
_BLIND = ("store_down", "deadline")
"""Fallbacks of decisions for which nobody was looked up."""


class Decisions:
    """Looks up what was served. Thread-safe."""

    def __init__(
        self,
        recent: RecentDecisions,
        store: ProfileStore,
        people: People,
        live: Live,
        placements: Mapping[str, Placement],
        rules: SessionRules,
        shown: Shown,
        banners: Mapping[str, Banner],
        zone: tzinfo,
    ) -> None:
        self._recent = recent
        self._store = store
        self._people = people
        self._live = live
        self._placements = placements
        self._rules = rules
        self._zone = zone
        self._shown = shown
        self._banners = banners
        self._banner_fields = banner_fields(banners)

    def explain(self, decision_id: str, items: Sequence[str]) -> bytes | None:
        """A serialised ExplainResponse, with an account of each item shown and of `items`; None: unknown
        or expired. Raises StoreUnavailable, NotLoaded."""
        served = self._found(decision_id)
        if served is None:
            return None
        shelf = self._live.shelf
        if shelf is None:
            raise NotLoaded
        message = served.message or message_of(served.block, shelf, self._placements, self._banner_fields)
        answer = pb.ExplainResponse(
            block=pb.Block.FromString(message),
            anonymous_id=served.asker.visitor or "",
            user_id=served.asker.user_id or "",
            person=served.person,
            request_id=served.caller.request_id,
            render_id=served.render_id,
            context=context_message(served.caller),
        )
        placement = self._placements.get(served.block.placement)
        if placement is not None:  # one that was taken out of the settings cannot be asked again
            again, accounts = self._again(served, placement, shelf, items)
            answer.as_taken = served.asked is not None and _is_same(again, served.block)
            answer.model_version = again.model_version
            if answer.as_taken:
                answer.accounts.extend(_message(account, placement) for account in accounts)
            else:
                answer.accounts.extend(_told(served.block, accounts, placement))
        return answer.SerializeToString()

    def _again(
        self, served: Served, placement: Placement, shelf: Shelf, items: Sequence[str]
    ) -> tuple[Block, list[Account]]:
        """The decision taken again for its own time, on what is known now."""
        block, asked = served.block, served.asked
        if asked is None:  # written before it was kept
            asked = Slot(name=block.slot, placement=block.placement, limit=max(len(block.items), 1))
        (found,) = self._people.read_all((served.asker,))
        (seen,) = self._shown.to_each((found,), (served.asker,), (asked,))
        hint = block.fallback if block.fallback in _BLIND else ""
        record = found.record if not hint else None
        view = View(
            shelf=shelf,
            person=served.person,
            profile=record.profile if record is not None else None,
            now_ms=block.at_ms,
            rules=self._rules,
            freshness=block.freshness,
            stranger="" if served.person else person_of(served.asker.visitor, served.asker.user_id),
            hint=hint,
            shown=tuple(
                one for one in seen if one.decision_id != block.decision_id and one.at_ms <= block.at_ms
            ),
            counting=self._shown.counting,
            banners=self._banners,
            zone=self._zone,
            market=served.caller.context.get("market", ""),
            age=served.caller.age,
            addresses=served.caller.addresses,
            decision_ids=(block.decision_id,),
        )
        beside = {
            item: other.block.slot
            for one in served.beside
            if (other := self._found(one)) is not None
            for item in other.block.items.ids
        }
        shown = block.items.ids
        return why(view, asked, placement, beside, [*shown, *items])

    def _found(self, decision_id: str) -> Served | None:
        if len(decision_id) != _ID_CHARS or not decision_id.isascii():
            return None
        return self._recent.get(decision_id) or self._stored(decision_id)

    def _stored(self, decision_id: str) -> Served | None:
        (stored,) = self._store.get_many((decision_key(decision_id),))
        if stored is None:
            return None
        try:
            return decode_served(stored)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("decision_unreadable", decision_id=decision_id, error=str(error))
            return None


def _is_same(again: Block, block: Block) -> bool:
    """Whether a decision taken again is the one that was served."""
    return len(again.items) == len(block.items) and all(
        new.item == old.item
        and new.reason.source == old.reason.source
        and _is_same_score(new.score, old.score)
        for new, old in zip(again.items, block.items, strict=True)
    )


def _is_same_score(new: float, old: float) -> bool:
    return math.isclose(new, old, rel_tol=_SAME_SCORE, abs_tol=_SAME_SCORE)


def _told(block: Block, accounts: Sequence[Account], placement: Placement) -> Iterator[pb.Account]:
    """The accounts where state, catalogue or model have changed, those of the block's items first: of these
    what was kept with the block, with the account of now beside it. Of others nothing is, and they say so."""
    for place, (now, was) in enumerate(zip_longest(accounts, block.items), 1):
        assert now is not None
        message = _message(now, placement)
        if was is None:
            message.text = f"{AS_OF_NOW}{message.text}"
            yield message
            continue
        kept = Account(
            was.item,
            SHOWN,
            place=place,
            source=was.reason.source,
            reason=was.reason,
            score=was.score,
            propensity=was.propensity,
            shares=(Share(was.reason.source, 0.0, was.reason),),
        )
        told = _message(kept, placement)
        told.now.CopyFrom(message)
        yield told


def _message(account: Account, placement: Placement) -> pb.Account:
    return pb.Account(
        item_id=account.item,
        verdict=account.verdict,
        detail=account.detail,
        text=sentence(account, placement),
        place=account.place,
        score=account.score,
        last_score=account.last_score,
        rank=account.rank,
        candidates=account.n_candidates,
        sources=[
            pb.SourceShare(
                source=one.source,
                share=one.share,
                reason=pb.Reason(
                    text=one.reason.text,
                    evidence_item_id=one.reason.evidence_item,
                    event=one.reason.evidence_event,
                    at_ms=one.reason.evidence_at_ms,
                ),
            )
            for one in account.shares
        ],
        features=[
            pb.FeatureEffect(feature=one.feature, value=one.value, points=one.points)
            for one in account.effects
        ],
        propensity=account.propensity if account.propensity != 1.0 else None,
    )
