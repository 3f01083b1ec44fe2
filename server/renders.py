"""Blocks decided once: every rendering of one email, by any server, shows the same while that is right.

A rendering is decided again when its placement's `render_ttl_s` is over, when the person has said no to it
since, or when what it led with has left their cart; items that may not be shown any more are replaced. Each
of these answers says what changed. Nothing names the newest decision of a rendering: its id follows from the
first one, the time that is over, what the person refused, and the items that are gone, so that servers which
look at the same state find the same one, whoever decided it.

A `request_id` is such a rendering too, for as long as callers retry a call: within `retry_s` the same
question under the same id gets the answer that was given, and is one impression.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha1
from itertools import islice
from typing import Final, NamedTuple

import msgspec
import structlog

from recsys.block import Block, Change, Lineup, Slot
from recsys.keys import campaign_key, decision_key
from recsys.placement import Placement
from recsys.ports import ProfileStore, StoreUnavailable
from recsys.uuids import versioned
from server.requests import Asker, BlocksRequest
from server.served import MARK_BYTES, Served, claim_of, decode_served, encode_served, mark_of

log = structlog.get_logger("server.renders")

_NAMESPACE = uuid.UUID("6f1f9a54-0b5e-4c4e-9d7c-2f6f0c8b5a11").bytes
KEPT_TIMES: Final = 2
"""A rendering is kept for so many times `render_ttl_s`, so that the answer behind it can say what changed."""
MOST_UNHEARD: Final = 10_000
"""Claims of which is remembered that the state did not answer."""
MAX_STEPS: Final = 6
"""From the first decision of a rendering to its present one: each replaces what is gone of the one before.
What is gone of the last one is left out without another in its place."""


class Wanted(NamedTuple):
    """What is to be decided of one request."""

    request: int
    """Its place."""
    slots: Sequence[Slot]
    ids: Sequence[str]
    """The decision ids that these are to have."""
    keeps: Sequence[tuple[str, ...]] = ()
    """For each slot what stays in its block, as `recsys.decide.View.keeps`."""
    beside: Sequence[Block] = ()
    """The blocks of the request that stand as they are."""


Decide = Callable[[Sequence[Wanted]], list[list[Served]]]
"""Decides all of it together."""
Finish = Callable[[Block], bytes]
"""The message of a block, once nothing of it changes any more."""


class Now(NamedTuple):
    """What a decision of before is measured by. Each is asked by the place of the request, and the placement
    of the block."""

    gone: Callable[[int, str, Slot, Served], tuple[str, ...]]
    """The items of the block that may not be shown any more in this slot."""
    left_cart: Callable[[int, str, Served], tuple[str, ...]]
    """Of those that it shows as what is in the cart those that are not any more."""
    refusal: Callable[[int, str], str]
    """What the person has refused of the placement: unsubscribed, no_consent or ""."""
    now_ms: int


def decision_id_of(render_id: str, asker: Asker, slot: str) -> str:
    """The same for the same rendering, person as the request names them, and slot. A customer is one by
    whatever device: a mailing names none, and the page that repeats it does."""
    visitor = asker.visitor if asker.user_id is None else None
    return _uuid5(_NAMESPACE, msgspec.json.encode((render_id, asker.user_id, visitor, slot)))


def retry_id_of(request: BlocksRequest, slot: Slot) -> str:
    """The same for the same question of the same request id: asking for other slots, or for somebody else,
    under it is no retry."""
    asked = ("request", request.caller.request_id, request.asker, slot, request.caller.context)
    return _uuid5(_NAMESPACE, msgspec.json.encode(asked))


class Rendering(NamedTuple):
    """What is to be shown, in the order of the slots, and those of it that are new impressions."""

    shown: list[Served]
    new: list[Served]


class _Place:
    """One slot of one request, on the way to its present decision."""

    def __init__(self, request: int, slot: Slot, decision_id: str, *, is_retry: bool) -> None:
        self.request = request
        self.slot = slot
        self.decision_id = decision_id
        self.is_retry = is_retry
        """Whether it goes by a request id: what was answered stands as it is."""
        self.served: Served | None = None
        self.before: Served | None = None
        """What the rendering showed until now; None: this is the first time."""
        self.is_ours = False
        """Whether what was found is what this process claimed without hearing that it was kept."""
        self.why = ""
        """What is wrong with `before`, as `Change.why`."""
        self.gone: tuple[str, ...] = ()
        """Items of `before` to replace; none of it changes else. () where all of it is decided."""
        self.left_out: tuple[str, ...] = ()
        """Items of `served` that are not shown, for it is the last step."""

    @property
    def is_new_impression(self) -> bool:
        return not self.gone

    @property
    def kept(self) -> tuple[str, ...]:
        """The items of `before` that stay."""
        if self.before is None or not self.gone:
            return ()
        return tuple([item for item in self.before.block.items.ids if item not in self.gone])

    @property
    def wanted(self) -> Slot:
        """What to decide."""
        if self.before is None or not self.gone:
            return self.slot
        slot, limit = self.slot, len(self.before.block.items)
        return msgspec.structs.replace(slot, exclude=slot.exclude + self.gone, limit=limit)

    def follow(self, before: Served, why: str, *words: str, gone: tuple[str, ...] = ()) -> None:
        """What stands in place of `before`, under the id that follows from its own and `words`."""
        self.served, self.before, self.why, self.gone = None, before, why, gone
        self.is_ours = False  # nobody was shown it
        self.decision_id = _next_id(self.decision_id, *words)


class Renders:
    """Keeps the first answer to each rendering in the state. `ttl_s` holds for placements that name none,
    `retry_s` for request ids."""

    def __init__(
        self, store: ProfileStore, placements: Mapping[str, Placement], ttl_s: int, retry_s: int
    ) -> None:
        self._store = store
        self._retry_s = retry_s
        self._unheard: dict[bytes, bool] = {}
        """Marks of claims of which the state did not say whether it kept them, the oldest first: it may have,
        and what they showed is still to be counted. A retry's are not among them: it was answered, and so
        counted, without the state."""
        self._ttls_s = {
            name: ttl_s if placement.render_ttl_s is None else placement.render_ttl_s
            for name, placement in placements.items()
        }

    def of(
        self,
        requests: Sequence[BlocksRequest],
        decide: Decide,
        finish: Finish,
        now: Now,
    ) -> list[Rendering]:
        """One a request; all of them looked up, and kept, together. Raises StoreUnavailable."""
        places = [
            _place(index, request, slot) for index, request in enumerate(requests) for slot in request.slots
        ]
        self._look_up(places, now)
        for place in places:
            if place.served is not None and place.left_out:
                place.served = _shortened(place.served, place.left_out, finish)
        new = self._decide(requests, places, decide, finish)
        renderings = [Rendering([], []) for _ in requests]
        for place in places:
            assert place.served is not None
            renderings[place.request].shown.append(place.served)
        for place in [*(place for place in places if place.is_ours), *new]:
            assert place.served is not None
            renderings[place.request].new.append(place.served)
        return renderings

    def are_first(
        self, campaign: str, people: Sequence[str], requests: Sequence[BlocksRequest]
    ) -> list[bool]:
        """Whether each rendering is the one that its person ("" for nobody known) gets of a mailing: the
        first to ask for it, by any server. Raises StoreUnavailable."""
        known = [place for place, person in enumerate(people) if person]
        claims = [
            (campaign_key(campaign, people[place]), requests[place].render_id.encode()) for place in known
        ]
        ttl_s = self._kept_s(slot.placement for slot in requests[0].slots)
        first = [True] * len(people)
        for place, claim, kept in zip(known, claims, self._store.claim_many(claims, ttl_s), strict=True):
            first[place] = kept == claim[1]
        return first

    def holds(self, served: Served, now_ms: int) -> bool:
        """Whether what answered a request id still answers it."""
        return now_ms - served.block.at_ms < self._retry_s * 1000

    def _look_up(self, places: Sequence[_Place], now: Now) -> None:
        """Follow each place to its present decision, as far as it was taken already."""
        following = list(places)
        for step in range(MAX_STEPS):
            if not following:
                return
            stored = self._store.get_many([decision_key(place.decision_id) for place in following])
            found = [
                (place, self._found(place, value)) for place, value in zip(following, stored, strict=True)
            ]
            following = [
                place
                for place, served in found
                if served is not None and not self._is_right(place, served, now, step)
            ]

    def _is_right(self, place: _Place, served: Served, now: Now, step: int) -> bool:
        """Whether what was found may be shown as it is; else `place` is told what to look for next."""
        place.served = served
        since_s = (now.now_ms - served.block.at_ms) // 1000
        if place.is_retry:
            if self.holds(served, now.now_ms):
                return True
            # The id was used before: from here on it is another request's.
            place.served = None
            place.decision_id = _next_id(place.decision_id, "again", str(since_s // self._retry_s))
            return False
        if step == 0:
            turn = since_s // self._ttls_s.get(served.block.placement, since_s + 1)
            if turn > 0:
                place.follow(served, "decided_anew", "again", str(turn))
                return False
        # Before what is gone, and at the last step too: a refusal is never passed over.
        placement = self._placement_of(place, served)
        refused = now.refusal(place.request, placement)
        if refused and not _heeds(served, refused):
            place.follow(served, refused, "refused", refused)
            return False
        left = now.left_cart(place.request, placement, served)
        if left and step < MAX_STEPS - 1:
            # All of it: whether such a mail may go out at all is for a new decision to say.
            place.follow(served, "left_cart", "left_cart", *left)
            return False
        gone = now.gone(place.request, placement, place.slot, served)
        if step == MAX_STEPS - 1:
            place.left_out = left + gone
            return True
        if not gone:
            return True
        place.follow(served, "sold_out", "without", *gone, gone=gone)
        return False

    def _placement_of(self, place: _Place, served: Served) -> str:
        """Of what was served; that of the slot where it has been taken out of the settings."""
        name = served.block.placement
        return name if name in self._ttls_s else place.slot.placement

    def _decide(
        self, requests: Sequence[BlocksRequest], places: Sequence[_Place], decide: Decide, finish: Finish
    ) -> list[_Place]:
        """Decide what nobody has decided; those places that are new impressions."""
        wanted: list[Wanted] = []
        undecided: list[_Place] = []
        of_request = iter(places)
        for index, request in enumerate(requests):
            own = list(islice(of_request, len(request.slots)))
            missing = [place for place in own if place.served is None]
            if not missing:
                continue
            slots, ids = [place.wanted for place in missing], [place.decision_id for place in missing]
            there = [place.served.block for place in own if place.served is not None]
            keeps = [place.kept for place in missing]
            wanted.append(Wanted(index, slots, ids, keeps if any(keeps) else (), there))
            undecided += missing
        if not wanted:
            return []
        decided = [one for of_one in decide(wanted) for one in of_one]
        wholes = [_whole(one, place) for one, place in zip(decided, undecided, strict=True)]
        # Step by step for all, as they are decided.
        events = [encode_served(one) for one in wholes]
        messages = [finish(one.block) for one in wholes]
        for place, one, event, message in zip(undecided, wholes, events, messages, strict=True):
            place.served = msgspec.structs.replace(one, encoded=event, message=message)
        return self._claim(undecided)

    def _claim(self, decided: Sequence[_Place]) -> list[_Place]:
        ttl_s = self._kept_s(place.slot.placement for place in decided)
        drawn = os.urandom(MARK_BYTES * len(decided))
        marks = [drawn[at : at + MARK_BYTES] for at in range(0, len(drawn), MARK_BYTES)]
        claims = [
            (decision_key(place.decision_id), claim_of(place.served, mark))
            for place, mark in zip(decided, marks, strict=True)
            if place.served is not None
        ]
        try:
            kept = self._store.claim_many(claims, ttl_s)
        except StoreUnavailable:
            self._unheard.update(
                (mark, True) for place, mark in zip(decided, marks, strict=True) if not place.is_retry
            )
            while len(self._unheard) > MOST_UNHEARD:
                del self._unheard[next(iter(self._unheard))]
            raise
        new = []
        for place, (_, claim), value in zip(decided, claims, kept, strict=True):
            if value != claim:  # another server was first, or this one before it heard of it
                place.served = self._found(place, value) or place.served
            elif place.is_new_impression:
                new.append(place)
        return new

    def _found(self, place: _Place, stored: bytes | None) -> Served | None:
        """What stands for a place in the state."""
        served = _repeated(stored)
        if self._unheard and served is not None and stored is not None:
            place.is_ours = self._unheard.pop(mark_of(stored), False)
        return served

    def _kept_s(self, placements: Iterable[str]) -> int:
        return KEPT_TIMES * max(self._ttls_s[name] for name in placements)


def _place(index: int, request: BlocksRequest, slot: Slot) -> _Place:
    if request.render_id:
        return _Place(
            index, slot, decision_id_of(request.render_id, request.asker, slot.name), is_retry=False
        )
    return _Place(index, slot, retry_id_of(request, slot), is_retry=True)


def _next_id(decision_id: str, *words: str) -> str:
    return _uuid5(uuid.UUID(decision_id).bytes, "\n".join(words).encode())


def _uuid5(namespace: bytes, name: bytes) -> str:
    """As `str(uuid.uuid5(...))`, without the object in between that costs four times as much."""
    return versioned(sha1(namespace + name, usedforsecurity=False).digest()[:16], 5)


def _heeds(served: Served, refused: str) -> bool:
    if refused == "unsubscribed":
        return served.block.fallback == refused
    return served.without_consent or not served.block.items


def _whole(decided: Served, place: _Place) -> Served:
    """What is to be kept at a place, of what was decided for it."""
    whole = decided if place.before is None else _changed(decided, place.before, place)
    return whole if whole.asked is place.slot else msgspec.structs.replace(whole, asked=place.slot)


def _changed(decided: Served, before: Served, place: _Place) -> Served:
    """The block that follows `before`, and what changed: only the items that are gone, or where there are
    none all of it."""
    new, gone = decided.block, place.gone
    if not gone:
        return msgspec.structs.replace(decided, block=_told(new, before.block, place.why))
    fill = iter(new.items)
    items = Lineup.of(
        item
        for old in before.block.items
        if (item := next(fill, None) if old.item in gone else old) is not None
    )
    whole = msgspec.structs.replace(
        before.block,
        decision_id=new.decision_id,
        items=items,
        fallback=before.block.fallback if items else new.fallback,
        at_ms=new.at_ms,
        freshness=new.freshness,
    )
    return msgspec.structs.replace(decided, block=_told(whole, before.block, place.why))


def _shortened(served: Served, gone: Sequence[str], finish: Finish) -> Served:
    """The block without these items."""
    before = served.block
    items = Lineup.of(one for one in before.items if one.item not in gone)
    fallback = before.fallback if items else "no_match"
    short = _told(msgspec.structs.replace(before, items=items, fallback=fallback), before, "sold_out")
    return msgspec.structs.replace(served, block=short, message=finish(short), encoded=b"")


def _told(block: Block, before: Block, why: str) -> Block:
    """The block with what it shows in place of what it showed before."""
    was, now = before.items.ids, block.items.ids
    came = iter([item for item in now if item not in was])
    changes = tuple(Change(item, next(came, ""), why) for item in was if item not in now)
    changes += tuple(Change("", item, why) for item in came)
    return msgspec.structs.replace(block, changes=changes)


def _repeated(stored: bytes | None) -> Served | None:
    if stored is None:
        return None
    try:
        return decode_served(stored)
    except (msgspec.DecodeError, ValueError) as error:
        log.error("decision_unreadable", error=str(error))
        return None
