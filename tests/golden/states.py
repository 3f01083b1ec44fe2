"""States of the folds that use all they can hold, and what older versions kept of them."""

from __future__ import annotations

from recsys.catalog import TOLD
from recsys.events import Action, Arrival, Event
from recsys.facts import Absorb, Fact, Former, Happened, Renamed, Undone
from recsys.item import ItemState
from recsys.person import PersonState
from recsys.profile import Profile
from recsys.seen import Seen, hash_of
from recsys.visitor import StageRules, VisitorState
from tests.golden.records import AT_MS, COUNTERS, ITEM, PROFILE_2, an_event

RULES = StageRules()


def a_visitor_state() -> VisitorState:
    """A settled part with a login and one that was taken back, a tail that logs in, and message ids."""
    state = _with_a_login()
    state.settle()
    state.base.undone = state.view.undone = (7, AT_MS)
    return state


def _with_a_login() -> VisitorState:
    return _visitor_state(
        an_event(5, Action.IDENTIFY, "ben", later_ms=-90_000), an_event(6, Action.LOGOUT, later_ms=-80_000)
    )


def _visitor_state(*first: Event) -> VisitorState:
    state = VisitorState("v1", RULES)
    for event in (
        *first,
        an_event(1, Action.VIEW),
        an_event(2, Action.CART_ADD, later_ms=70_000),
        an_event(3, Action.IDENTIFY, "anna", later_ms=140_000),
        an_event(4, Action.LOGOUT, later_ms=141_000),
    ):
        state.take(Arrival(event, b"{}"))
    return state


def a_visitor_state_of_version_5() -> VisitorState:
    """Every id was kept by its hash, and nothing of logins that were taken back."""
    return _with_hashes(_with_a_login())


def _with_hashes(state: VisitorState, later_ms: int = 0) -> VisitorState:
    entries = [
        (hash_of(str(key)), crc, received_ms + later_ms) for key, crc, received_ms in state._seen.entries()
    ]
    state._seen = Seen.of(entries)
    return state


def a_visitor_state_of_version_4(later_ms: int = 0) -> VisitorState:
    """The same, and the settled part has no login that could be taken back."""
    return _with_hashes(_visitor_state(), later_ms)


def a_visitor_state_of_version_3() -> VisitorState:
    """The same; ids were kept with the log's time, which `an_event` makes 50 ms later."""
    return a_visitor_state_of_version_4(later_ms=50)


def a_visitor_state_of_version_2() -> VisitorState:
    """And without the customers of the device."""
    state = a_visitor_state_of_version_3()
    state.settle()
    state.base.customers = ()
    return state


def a_visitor_state_of_version_1() -> VisitorState:
    """Nor with the last item."""
    state = a_visitor_state_of_version_2()
    state.base.last_item = state.view.last_item = ""
    return state


def a_person_state(
    profile: Profile = PROFILE_2, *newer: tuple[int, Absorb | Renamed | Former | Undone]
) -> PersonState:
    """A settled part and a tail with facts of all kinds; `newer`: those that version 2 had not."""
    state = PersonState("anna", RULES)
    facts: list[tuple[int, Absorb | Happened | Renamed | Former | Undone]] = [
        (0, Absorb(profile)),
        (70_000, Happened(an_event(2, Action.ORDER, "anna", 70_000))),
        (140_000, Absorb(profile)),
        (141_000, Happened(an_event(4, Action.VIEW, "anna", 141_000))),
    ]
    for later_ms, body in sorted((*facts, *newer), key=lambda fact: fact[0]):
        at_ms = AT_MS + later_ms
        state.take(Fact("anna", "v1", at_ms, 2, later_ms, 0, 1, at_ms, body))
    state.settle()
    return state


def an_item_state() -> ItemState:
    state = ItemState(ITEM.id)
    state.item, state.counters, state._told = ITEM, COUNTERS, (AT_MS,) * len(TOLD)
    return state
