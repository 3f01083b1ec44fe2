"""Customers with several ids: who is asked for by any of them is the same one, with all that is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from recsys.events import Action, Event
from recsys.names import MAX_NAMES, has_names, joined
from recsys.profile import MAX_FORMER, PersonRecord
from recsys.visitor import Accepted
from tests.recsys.test_stages import ACTIONS, LATE_S, ON_TIME_S, Stages, overtaking
from tests.recsys.worlds import arrivals, event, logged

IDS = ["anna", "ben", "cleo"]


def alias(at_s: float, old: str, new: str, **more: object) -> Event:
    return event(at_s, Action.ALIAS, None, visitor=old, user_id=new, **more)  # type: ignore[arg-type]


def run(*events: Event) -> Stages:
    stages = Stages()
    for arrival in arrivals(logged(list(events))):
        for fact in stages.visit(arrival):
            stages.tell(fact)
    return stages


def asked(stages: Stages, user_id: str) -> PersonRecord:
    """Who a reader finds under an id."""

    def fetch(user_ids: Sequence[str]) -> list[PersonRecord | None]:
        return [stages.people[user_id].record() if user_id in stages.people else None for user_id in user_ids]

    (record,) = fetch([user_id])
    assert record is not None
    return joined(record, fetch) if has_names(record) else record


def items(record: PersonRecord) -> list[str]:
    return [touch.item for touch in record.profile.touches]


ANNA = event(0, item="tent", visitor="v1", user_id="anna")
BEN = event(10, item="mug", visitor="v2", user_id="ben")


def test_two_known_customers_become_one_and_events_of_the_old_id_go_to_the_new() -> None:
    stages = run(ANNA, BEN, alias(20, "anna", "ben"), event(30, item="pegs", visitor="v1", user_id="anna"))
    for user_id in ("anna", "ben"):
        record = asked(stages, user_id)
        assert record.person == "u:ben"
        assert items(record) == ["tent", "mug", "pegs"]
        assert record.profile.visitors == ("v2", "v1")
        assert record.profile.former == ("anna",)
        assert record.standing.covers(0, 3)
    assert stages.people["anna"].profile.visitors == ("v1",)
    persons = [out.person for out in stages.out if isinstance(out, Accepted)]
    assert persons == ["u:anna", "u:ben", "u:ben", "u:anna"]


def test_an_alias_told_again_changes_nothing() -> None:
    once = run(ANNA, BEN, alias(20, "anna", "ben"))
    again = run(ANNA, BEN, alias(20, "anna", "ben"), alias(500, "anna", "ben"))
    assert items(asked(again, "anna")) == items(asked(once, "anna")) == ["tent", "mug"]
    assert asked(again, "ben").profile.former == ("anna",)


def test_names_may_be_changed_again_and_every_one_leads_to_the_last() -> None:
    stages = run(ANNA, BEN, alias(20, "anna", "ben"), alias(30, "ben", "cleo"))
    assert {asked(stages, user_id).person for user_id in IDS} == {"u:cleo"}
    assert items(asked(stages, "anna")) == ["tent", "mug"]


def test_a_customer_moved_to_another_leaves_the_first() -> None:
    stages = run(ANNA, BEN, alias(20, "anna", "ben"), alias(30, "anna", "cleo"))
    assert items(asked(stages, "ben")) == ["mug"]
    assert items(asked(stages, "cleo")) == items(asked(stages, "anna")) == ["tent"]


def test_names_that_go_round_in_a_circle_come_to_the_newest_word() -> None:
    stages = run(ANNA, BEN, alias(20, "anna", "ben"), alias(30, "ben", "anna"))
    assert {asked(stages, user_id).person for user_id in ("anna", "ben")} == {"u:anna"}
    assert items(asked(stages, "ben")) == ["tent", "mug"]


def test_a_merge_that_was_wrong_is_taken_back_and_both_are_as_they_were() -> None:
    stages = run(ANNA, BEN, alias(20, "anna", "ben"), alias(30, "anna", "anna"))
    apart = run(ANNA, BEN)
    for user_id in ("anna", "ben"):
        assert asked(stages, user_id).person == f"u:{user_id}"
        assert items(asked(stages, user_id)) == items(asked(apart, user_id))
        assert asked(stages, user_id).profile.cart == asked(apart, user_id).profile.cart


def test_an_anonymous_id_is_a_device_of_the_customer_and_no_name() -> None:
    stages = run(event(0, item="tent", visitor="v1"), alias(10, "v1", "anna"))
    assert sorted(stages.people) == ["anna"]
    record = asked(stages, "anna")
    assert (items(record), record.profile.visitors, record.profile.former) == (["tent"], ("v1",), ())


def test_a_device_that_calls_itself_by_its_user_id_is_renamed_as_a_customer() -> None:
    stages = run(event(0, item="tent", visitor="anna", user_id="anna"), BEN, alias(20, "anna", "ben"))
    assert items(asked(stages, "ben")) == ["tent", "mug"]
    after = run(
        event(0, item="tent", visitor="anna", user_id="anna"),
        alias(20, "anna", "ben"),
        event(30, item="pegs", visitor="anna", user_id="anna"),
        alias(40, "anna", "anna"),
    )
    assert items(asked(after, "anna")) == ["tent", "pegs"]
    assert asked(after, "anna").person == "u:anna"


def test_the_order_under_the_new_id_empties_the_cart_of_the_old_one() -> None:
    stages = run(
        event(0, Action.CART_ADD, "tent", user_id="anna"),
        event(10, Action.CART_ADD, "mug", user_id="anna"),
        alias(20, "anna", "ben"),
        event(30, Action.ORDER, "tent", visitor="user:ben", user_id="ben", order_id="o1"),
    )
    assert [line.item for line in asked(stages, "anna").profile.cart] == ["mug"]


def test_who_renames_everybody_to_one_joins_no_more_than_are_kept() -> None:
    stages = run(BEN, *(alias(20 + number, f"c{number}", "ben") for number in range(100)))
    assert len(stages.people["ben"].profile.former) == MAX_FORMER
    record = asked(stages, "ben")
    assert len(record.profile.former) == MAX_NAMES - 1
    assert asked(stages, "c99").person == "u:ben"


def test_who_is_renamed_to_everybody_is_believed_to_be_the_first_ones() -> None:
    stages = run(ANNA, *(alias(20 + number, "anna", f"c{number}") for number in range(100)))
    crowded = [out for out in stages.out if isinstance(out, Accepted) and out.crowded]
    assert len(crowded) == 80
    assert asked(stages, "anna").person == "u:c19"


@st.composite
def shops_with_aliases(draw: st.DrawFn, delays_s: list[int]) -> list[Event]:
    """Up to 25 events of two devices and three customers, who are renamed to each other."""
    events, at_s = [], 0.0
    for _ in range(draw(st.integers(1, 25))):
        at_s += draw(st.sampled_from([0, 1, 7, 40, 2000]))
        delay_s = draw(st.sampled_from(delays_s))
        if draw(st.integers(0, 2)) == 0:
            old, new = draw(st.sampled_from([*IDS, "v1"])), draw(st.sampled_from(IDS))
            events.append(alias(at_s, old, new, delay_s=delay_s))
        else:
            action, item = draw(st.sampled_from(ACTIONS)), draw(st.sampled_from(["tent", "mug"]))
            visitor, user_id = (
                draw(st.sampled_from(["v1", "v2", "anna"])),
                draw(st.sampled_from([None, *IDS])),
            )
            events.append(
                event(at_s, action, item, visitor=visitor, user_id=user_id, delay_s=delay_s, order_id="o1")
            )
    return logged(events)


def _found(stages: Stages) -> dict[str, PersonRecord]:
    return {user_id: asked(stages, user_id) for user_id in stages.people}


@settings(max_examples=100, deadline=None)
@given(shops_with_aliases(LATE_S), st.integers(0, 2**16))
def test_who_is_found_does_not_depend_on_who_was_read_first(events: list[Event], seed: int) -> None:
    in_order = Stages()
    for arrival in arrivals(events):
        for fact in in_order.visit(arrival):
            in_order.tell(fact)
    assert _found(overtaking(events, random.Random(seed))) == _found(in_order)


@settings(max_examples=100, deadline=None)
@given(shops_with_aliases(ON_TIME_S))
def test_late_aliases_leave_the_names_of_the_ordered_log(events: list[Event]) -> None:
    ordered = sorted(events, key=lambda each: (each.at_ms, each.position, each.index))
    punctual = Stages()
    for arrival in arrivals([replace(each, watermark_ms=each.at_ms) for each in ordered]):
        for fact in punctual.visit(arrival):
            punctual.tell(fact)
    late = Stages()
    for arrival in arrivals(events):
        for fact in late.visit(arrival):
            late.tell(fact)
    profiles = {user_id: record.profile for user_id, record in _found(late).items() if record.profile.events}
    for user_id, record in _found(punctual).items():
        if record.profile.events:
            assert profiles[user_id] == record.profile


@settings(max_examples=100, deadline=None)
@given(shops_with_aliases(ON_TIME_S))
def test_every_id_of_a_customer_leads_to_the_same_one(events: list[Event]) -> None:
    found = _found(run(*events))
    for record in found.values():
        for former in record.profile.former:
            assert found[former] == record
