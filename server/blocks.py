"""From a checked request to the bytes of its answer: person, freshness, decision, what was served."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from itertools import compress
from threading import BoundedSemaphore
from typing import NamedTuple

import msgspec

from recsys.banner import Banner
from recsys.block import Block, Freshness
from recsys.decide import Asked, View, decide_all, said_no
from recsys.fold import SessionRules
from recsys.intent import intent, stage
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement
from recsys.ports import StoreUnavailable
from recsys.profile import Profile
from recsys.shown import Impression, person_of
from recsys.uuids import versioned
from server.deadline import CallerGone, Deadline
from server.live import Live
from server.logged import Logged, marks_of, new_pack
from server.metrics import Metrics
from server.pb import headrace_pb2 as pb
from server.people import Found, People
from server.renders import Now, Rendering, Renders, Wanted, retry_id_of
from server.repeats import Still, as_of_now, left_cart_of
from server.requests import SAME_PERSON, BlocksRequest
from server.served import RecentDecisions, Served
from server.served_queue import Logging, ServedQueue
from server.shelf_facts import message_of
from server.shown import Shown
from server.wire import banner_fields, person_message, response_message

RESERVE_S = 0.03
"""Kept of the deadline for deciding and answering, after a wait for freshness."""
HURRY_S = 0.004
"""With less left than this nobody is looked up: a block for everybody is there in time."""


Decider = Callable[[Sequence[Asked], Mapping[str, Placement]], list[list[Block]]]


class NotLoaded(Exception):
    """The catalogue has not been read yet."""


class Lookups(NamedTuple):
    """What is asked of the state about the people of a request."""

    people: People
    shown: Shown
    renders: Renders


class Pack(NamedTuple):
    """What was decided together in bulk."""

    answers: list[bytes]
    """A serialised GetBlocksResponse each."""
    logging: Logging
    """What they show, on its way to the log."""


class _Case(NamedTuple):
    """One person's request as it is decided: on what, and when."""

    request: BlocksRequest
    found: Found
    shelf: Shelf
    now_ms: int
    hint: str
    """Why nothing is known of the person, where that is not for want of a profile."""
    shown: tuple[Impression, ...]
    """What the person was shown of late, where that matters."""
    pack: str = ""
    """Of those who are decided together in bulk."""

    @property
    def profile(self) -> Profile | None:
        return self.found.record.profile if self.found.record is not None else None


class Prepared(NamedTuple):
    """A request that was decided together with others, before its turn."""

    case: _Case
    served: list[Served]
    messages: list[bytes]
    """Each block as it goes over the wire."""


class Blocks:
    """Decides blocks for requests. Thread-safe; `now_ms` is the clock of everything that is told. `mails`
    asks the same state as `pages`, for callers who can wait for it."""

    def __init__(
        self,
        live: Live,
        pages: Lookups,
        mails: Lookups,
        queue: ServedQueue,
        logged: Logged,
        recent: RecentDecisions,
        placements: Mapping[str, Placement],
        rules: SessionRules,
        metrics: Metrics,
        now_ms: Callable[[], int],
        max_waits: int,
        banners: Mapping[str, Banner],
        zone: tzinfo,
        decider: Decider = decide_all,
    ) -> None:
        self._live = live
        self._pages = pages
        self._mails = mails
        self._queue = queue
        self._logged = logged
        self._recent = recent
        self._placements = placements
        self._rules = rules
        self._zone = zone
        self._metrics = metrics
        self._now_ms = now_ms
        self._banners = banners
        self._banner_fields = banner_fields(banners)
        self._decider = decider
        # A flow that stands still must not take every thread: beyond, nobody waits for freshness.
        self._waits = BoundedSemaphore(max(max_waits, 1))

    def answer(self, request: BlocksRequest, started_s: float, deadline: Deadline) -> bytes:
        """A serialised GetBlocksResponse. Raises NotLoaded; CallerGone; and StoreUnavailable where there is
        a render_id, for what is kept must not be less personal than it could be."""
        if deadline.left_s < HURRY_S and not request.render_id:
            nobody = Found(reached=request.at_least_as_fresh is None)
            return self._answer(request, nobody, started_s, "deadline", deadline)
        found = self._found(request, deadline)
        if found.store_down and request.render_id:
            raise StoreUnavailable("the person was not looked up")
        return self._answer(request, found, started_s, "store_down" if found.store_down else "", deadline)

    def can_prepare(self, request: BlocksRequest) -> bool:
        """Whether it may be decided before its turn: not what has an id, what waits for an event, or where it
        counts what was just shown."""
        if request.render_id or request.caller.request_id or request.at_least_as_fresh is not None:
            return False
        counting = self._pages.shown.counting
        return not any(slot.placement in counting for slot in request.slots)

    def prepare(self, requests: Sequence[BlocksRequest]) -> Sequence[Prepared | None]:
        """Decide together what several callers ask, for `finish`; None for each where that cannot be had.
        `can_prepare` must be true of them."""
        shelf = self._live.shelf
        if shelf is None:
            return [None] * len(requests)
        try:
            founds = self._pages.people.read_all([request.asker for request in requests])
        except StoreUnavailable:
            return [None] * len(requests)
        now_ms = self._now_ms()
        cases = [
            _Case(request, found, shelf, now_ms, "", ())
            for request, found in zip(requests, founds, strict=True)
        ]
        wanted = [
            Wanted(place, request.slots, [_new_id() for _ in request.slots])
            for place, request in enumerate(requests)
        ]
        decided = self._decide(cases, wanted, None)
        messages = [[self._block_message(one.block, shelf) for one in served] for served in decided]
        return [
            Prepared(case, served, blocks)
            for case, served, blocks in zip(cases, decided, messages, strict=True)
        ]

    def finish(self, prepared: Prepared, started_s: float, deadline: Deadline) -> bytes:
        """As `answer`, of what `prepare` has decided: only now is it shown, and kept as such. Raises
        CallerGone."""
        if deadline.is_over:
            raise CallerGone
        self._keep(prepared.served)
        return self._response(prepared.case, prepared.messages, started_s)

    def answer_each(self, requests: Sequence[BlocksRequest], campaign: str = "") -> Pack:
        """One answer a request; all of them ask for the same slots, and their people are looked up together.
        `campaign`: under it each person is decided for once; see the contract. Nothing of it may go out
        before it is logged: a kill would take the impressions for good. Raises NotLoaded and
        StoreUnavailable: an email can wait, so it never goes out less personal."""
        founds = self._mails.people.read_all([request.asker for request in requests])
        if not campaign:
            return self._answer_all(requests, founds)
        first = self._mails.renders.are_first(campaign, [found.person for found in founds], requests)
        decided = self._answer_all(list(compress(requests, first)), list(compress(founds, first)))
        answers = iter(decided.answers)
        return Pack(
            [
                next(answers) if is_first else self._same_person(request, found)
                for request, found, is_first in zip(requests, founds, first, strict=True)
            ],
            decided.logging,
        )

    def _answer_all(self, requests: Sequence[BlocksRequest], founds: Sequence[Found]) -> Pack:
        if not requests:
            return Pack([], self._queue.put_pack([], []))
        started_s, pack = time.monotonic(), new_pack()
        askers = [request.asker for request in requests]
        shelf, now_ms = self._shelf(), self._now_ms()
        shown = self._mails.shown.to_each(founds, askers, requests[0].slots)
        cases = [
            _Case(request, found, shelf, now_ms, "", seen, pack)
            for request, found, seen in zip(requests, founds, shown, strict=True)
        ]
        renderings = self._renderings(cases, self._mails, None)
        new = [one for rendering in renderings for one in rendering.new]
        self._remember(new)
        lost = self._logged.missing(_found_in(renderings), now_ms)
        self._recent.add(lost)
        self._pages.shown.add(lost)
        to_log = [*new, *lost]
        logging = self._queue.put_pack(to_log, marks_of(to_log, pack))
        answers = [
            self._message(case, served, started_s)
            for case, served in zip(cases, _as_of_now(renderings, shelf, now_ms), strict=True)
        ]
        return Pack(answers, logging)

    def _found(self, request: BlocksRequest, deadline: Deadline) -> Found:
        position = request.at_least_as_fresh
        if position is None:
            return self._pages.people.find(request.asker)
        may_wait = self._waits.acquire(blocking=False)
        try:
            until_s = deadline.at_s - RESERVE_S if may_wait else 0.0
            found = self._pages.people.find_fresh(request.asker, position, until_s, deadline.is_wanted)
        finally:
            if may_wait:
                self._waits.release()
        self._metrics.waits.labels("reached" if found.reached else "late").inc()
        if not found.reached and not deadline.is_wanted():
            raise CallerGone
        return found

    def _answer(
        self, request: BlocksRequest, found: Found, started_s: float, hint: str, deadline: Deadline
    ) -> bytes:
        (shown,) = self._pages.shown.to_each((found,), (request.asker,), request.slots)
        case = _Case(request, found, self._shelf(), self._now_ms(), hint, shown)
        if request.render_id:
            (served,) = self._rendered([case], self._pages, deadline)
        elif request.caller.request_id:
            served = self._once(case, deadline)
        else:
            ids = [_new_id() for _ in request.slots]
            (served,) = self._decide([case], [Wanted(0, request.slots, ids)], deadline)
            self._keep(served)
        return self._message(case, served, started_s)

    def _once(self, case: _Case, deadline: Deadline) -> list[Served]:
        """What was answered to this request id, or is now. Where the state does not answer, what this process
        remembers of it; else the decision's id still says that it is a retry."""
        try:
            (served,) = self._rendered([case], self._pages, deadline)
        except StoreUnavailable:
            slots = case.request.slots
            ids = [retry_id_of(case.request, slot) for slot in slots]
            known = [self._recent.get(one) for one in ids]
            served = [one for one in known if one is not None and self._pages.renders.holds(one, case.now_ms)]
            if len(served) < len(slots):
                (served,) = self._decide([case], [Wanted(0, slots, ids)], deadline)
                self._keep(served)
        return served

    def _shelf(self) -> Shelf:
        shelf = self._live.shelf
        if shelf is None:
            raise NotLoaded
        return shelf

    def _rendered(
        self, cases: Sequence[_Case], lookups: Lookups, deadline: Deadline | None = None
    ) -> list[list[Served]]:
        """What each rendering shows; the cases are of one shelf and moment."""
        renderings = self._renderings(cases, lookups, deadline)
        self._keep([one for rendering in renderings for one in rendering.new])
        return _as_of_now(renderings, cases[0].shelf, cases[0].now_ms)

    def _renderings(
        self, cases: Sequence[_Case], lookups: Lookups, deadline: Deadline | None
    ) -> list[Rendering]:
        """As they stand in the state; what is new of them is still to be kept."""
        shelf = cases[0].shelf
        still = Still(self._placements)
        return lookups.renders.of(
            [case.request for case in cases],
            lambda wanted: self._decide(cases, wanted, deadline),
            # A rendering is repeated byte for byte, so its bytes are kept with it.
            lambda block: self._block_message(block, shelf),
            Now(
                lambda index, placement, slot, served: still.gone_of(
                    served, slot, placement, self._view(cases[index], ())
                ),
                lambda index, placement, served: left_cart_of(
                    served, self._placements[placement], cases[index].profile
                ),
                lambda index, placement: said_no(cases[index].profile, self._placements[placement]),
                cases[0].now_ms,
            ),
        )

    def _message(self, case: _Case, served: Sequence[Served], started_s: float) -> bytes:
        blocks = [one.message or self._block_message(one.block, case.shelf) for one in served]
        return self._response(case, blocks, started_s)

    def _response(self, case: _Case, blocks: Sequence[bytes], started_s: float) -> bytes:
        return response_message(
            blocks,
            self._person(case.found, case.now_ms),
            (time.monotonic() - started_s) * 1000,
            case.request.caller.request_id,
            case.request.render_id,
        )

    def _same_person(self, request: BlocksRequest, found: Found) -> bytes:
        """To a rendering of somebody whom another one of the same mailing is for."""
        now_ms = self._now_ms()
        blocks = [
            pb.Block(slot=slot.name, placement=slot.placement, fallback=SAME_PERSON).SerializeToString()
            for slot in request.slots
        ]
        return response_message(
            blocks, self._person(found, now_ms), 0.0, request.caller.request_id, request.render_id
        )

    def _decide(
        self, cases: Sequence[_Case], wanted: Sequence[Wanted], deadline: Deadline | None
    ) -> list[list[Served]]:
        """Raises CallerGone, before anything is kept, when it has come too late."""
        asked = [Asked(self._view_of(cases[one.request], one), one.slots) for one in wanted]
        decided = self._decider(asked, self._placements)
        if deadline is not None and deadline.is_over:
            raise CallerGone
        return [
            _served(cases[one.request], one, view.person, blocks)
            for one, (view, _), blocks in zip(wanted, asked, decided, strict=True)
        ]

    def _view_of(self, case: _Case, wanted: Wanted) -> View:
        view = self._view(case, wanted.ids)
        if not wanted.beside and not wanted.keeps:
            return view
        beside = tuple([item for block in wanted.beside for item in block.items.ids])
        return msgspec.structs.replace(view, beside=beside, keeps=tuple(wanted.keeps))

    def _view(self, case: _Case, ids: Sequence[str]) -> View:
        request, found = case.request, case.found
        caller = request.caller
        # By place, as what follows is: to find fields by name takes three times as long where there are many.
        return View(
            case.shelf,
            found.person,
            case.profile,
            case.now_ms,
            self._rules,
            self._freshness(found, case.now_ms),
            stranger="" if found.person else person_of(request.asker.visitor, request.asker.user_id),
            hint=case.hint,
            shown=case.shown,
            counting=self._pages.shown.counting,
            banners=self._banners,
            market=caller.market,
            age=caller.age,
            addresses=caller.addresses,
            decision_ids=tuple(ids),
            zone=self._zone,
        )

    def _block_message(self, block: Block, shelf: Shelf) -> bytes:
        return message_of(block, shelf, self._placements, self._banner_fields)

    def _freshness(self, found: Found, now_ms: int) -> Freshness:
        event_ms = found.record.event_ms if found.record is not None else 0
        age_ms = max(now_ms - event_ms, 0) if event_ms else 0
        return Freshness(event_ms, age_ms, self._live.flow.lag_ms, found.reached)

    def _person(self, found: Found, now_ms: int) -> bytes:
        record = found.record
        if record is None:
            return b""
        shown = intent(record.profile, now_ms, self._rules)
        stands = stage(record.profile, now_ms, self._rules)
        return person_message(record.person, shown.tier, shown.score, shown.reasons, stands, known=True)

    def _keep(self, served: Sequence[Served]) -> None:
        self._remember(served)
        self._queue.put(served)

    def _remember(self, served: Sequence[Served]) -> None:
        self._recent.add(served)
        self._pages.shown.add(served)
        for one in served:
            self._metrics.shown(one.block.placement, one.block.fallback)


def _new_ids(renderings: Sequence[Rendering]) -> set[str]:
    """Of all of them: what is new in one may be found by another, which asks for the same."""
    return {one.block.decision_id for rendering in renderings for one in rendering.new}


def _found_in(renderings: Sequence[Rendering]) -> list[Served]:
    """What had been decided before."""
    new = _new_ids(renderings)
    return [one for rendering in renderings for one in rendering.shown if one.block.decision_id not in new]


def _as_of_now(renderings: Sequence[Rendering], shelf: Shelf, now_ms: int) -> list[list[Served]]:
    """What each shows; of what was decided before it tells what holds now."""
    new = _new_ids(renderings)
    return [
        [
            as_of_now(one, shelf.columns, now_ms)
            if one.render_id and one.block.decision_id not in new
            else one
            for one in rendering.shown
        ]
        for rendering in renderings
    ]


def _served(case: _Case, wanted: Wanted, person: str, blocks: Sequence[Block]) -> list[Served]:
    request, profile, ids_above = case.request, case.profile, tuple(wanted.ids)
    standing = tuple([block.decision_id for block in wanted.beside])
    without_consent = profile is not None and profile.personalization is False
    return [
        Served(
            block,
            request.asker,
            person,
            request.caller,
            request.render_id,
            b"",
            slot,
            standing + ids_above[:place],
            without_consent,
            case.pack,
        )
        for place, (block, slot) in enumerate(zip(blocks, wanted.slots, strict=True))
    ]


def _new_id() -> str:
    """A random UUID, in its text. uuid.uuid4 takes five times as long."""
    return versioned(os.urandom(16), 4)
