"""The device's own session and memory of messages; order and identity are in test_stages."""

from __future__ import annotations

import msgspec
import pytest

from recsys.events import Action, Arrival, DeadLetter, Event
from recsys.ports import Position
from recsys.seen import MAX_MESSAGE_IDS, MAX_PLAIN_CHARS, MESSAGE_ID_MS
from recsys.visitor import Accepted, Duplicate, VisitorState
from tests.recsys.worlds import RULES, T0, event


def taken(*events: Event) -> list[object]:
    """What becomes of each event itself, without the facts it tells."""
    state = VisitorState("v1", RULES)
    return [state.take(Arrival(one, b"{}"))[0] for one in events]


def sessions(*events: Event) -> list[float]:
    """Start of each event's session, in seconds after T0."""
    return [(out.session_ms - T0) / 1000 for out in taken(*events) if isinstance(out, Accepted)]


def test_the_session_of_a_device_ends_by_gap_by_cap_and_by_logout() -> None:
    assert sessions(event(0), event(1800, offset=1), event(3600.001, offset=2)) == [0, 0, 3600.001]
    busy = [event(n * 1200, offset=n) for n in range(73)]
    assert sessions(*busy)[-2:] == [0, 86_400]
    logout = [
        event(0, user_id="anna"),
        event(5, Action.LOGOUT, None, offset=1),
        event(9, offset=2),
        event(12, user_id="ben", offset=3),
    ]
    assert sessions(*logout) == [0, 0, 9, 9]


def test_a_message_id_is_remembered_for_two_days() -> None:
    def again(after_ms: int) -> type:
        delay_s = after_ms / 1000
        return type(taken(event(0, message_id="m"), event(0, offset=1, message_id="m", delay_s=delay_s))[1])

    assert again(MESSAGE_ID_MS) is Duplicate
    assert again(MESSAGE_ID_MS + 1) is Accepted


@pytest.mark.parametrize("message_id", ["m", "x" * MAX_PLAIN_CHARS, "y" * (MAX_PLAIN_CHARS + 1), "zoë"])
def test_ids_of_any_length_are_known_again(message_id: str) -> None:
    state = VisitorState("v1", RULES)
    for number, each in enumerate(("other", message_id, "z" * 190)):
        state.take(Arrival(event(number, offset=number, message_id=each), b"{}"))
    for _ in range(2):
        assert isinstance(state.take(Arrival(event(1, offset=9, message_id=message_id), b"{}"))[0], Duplicate)
        state = VisitorState.decode(state.encode(), RULES)
    assert len(state.encode()) < len(message_id) + 1500  # long ones are kept by their hash


def test_a_history_read_again_counts_once_however_long_it_is() -> None:
    days = [event(day * 86_400, offset=day) for day in range(60)]
    last_ms = days[-1].watermark_ms
    again = [
        msgspec.structs.replace(one, position=Position(0, 100 + one.position.offset), watermark_ms=last_ms)
        for one in days
    ]
    state = VisitorState("v1", RULES)
    for one in days:
        state.take(Arrival(one, b"{}"))
    state = VisitorState.decode(state.encode(), RULES)
    assert {type(state.take(Arrival(one, b"{}"))[0]) for one in again} == {Duplicate}


def test_the_newest_message_ids_are_remembered() -> None:
    many = [event(n, offset=n) for n in range(MAX_MESSAGE_IDS + 1)]
    first, second = event(0, offset=5000, message_id="m0-0"), event(1, offset=5001, message_id="m0-1")
    # The first id made room for the last; taking it again drops the second one.
    assert [type(out) for out in taken(*many, first)[-1:]] == [Accepted]
    assert [type(out) for out in taken(*many, second)[-1:]] == [Duplicate]


def test_another_message_under_a_used_id_changes_nothing() -> None:
    state = VisitorState("v1", RULES)
    state.take(Arrival(event(0, message_id="m"), b"{}"))
    before = state.view.copy()
    out, _ = state.take(Arrival(event(1, Action.ORDER, offset=1, message_id="m"), b"other"))
    assert isinstance(out, DeadLetter)
    assert (out.kind, out.raw) == ("id_reused", b"other")
    assert state.view == before


def ways(*events: Event) -> list[str]:
    """Which item each event was reached from."""
    return [out.came_from for out in taken(*events) if isinstance(out, Accepted)]


def test_where_a_visitor_came_from_is_told_within_a_session() -> None:
    assert ways(
        event(0, item="tent"),
        event(10, item="tent", offset=1),
        event(20, Action.SEARCH, None, offset=2),
        event(30, item="stove", offset=3),
        event(40, Action.CART_ADD, "stove", offset=4),
        event(50, item="mug", user_id="anna", offset=5),
        event(5000, item="tent", offset=6),
    ) == ["", "", "", "tent", "", "stove", ""]


def test_where_a_visitor_came_from_is_known_after_a_snapshot() -> None:
    state = VisitorState("v1", RULES)
    state.take(Arrival(event(0, item="tent"), b"{}"))
    state = VisitorState.decode(state.encode(), RULES)
    accepted, _ = state.take(Arrival(event(300, item="stove", offset=1), b"{}"))
    assert accepted.came_from == "tent"
    state = VisitorState.decode(state.encode(), RULES)
    accepted, _ = state.take(Arrival(event(600, item="mug", offset=2), b"{}"))
    assert accepted.came_from == "stove"


def test_what_others_have_heard_of_the_log_settles_the_tail() -> None:
    state = VisitorState("v1", RULES)
    state.take(Arrival(event(0), b"{}"))
    state.settle()
    assert len(state.steps) == 1
    state.settle(T0 + RULES.lateness_ms + 1)
    assert (state.steps, state.profile.events) == ([], 1)
