"""A login that was a mistake is taken back: device and customer are as if it had never been."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from recsys.events import Action, Event
from recsys.profile import Profile
from recsys.visitor import Accepted, StageRules
from tests.recsys.test_names import alias
from tests.recsys.test_stages import ACTIONS, LATE_S, ON_TIME_S, Stages, overtaking
from tests.recsys.worlds import RULES, arrivals, event, logged

LONG = StageRules(RULES.session, RULES.lateness_ms, undo_login_ms=10**12)
HOUR_S = 3600.0


def run(*events: Event, rules: StageRules = RULES) -> Stages:
    stages = Stages(rules)
    for arrival in arrivals(logged(list(events))):
        for fact in stages.visit(arrival):
            stages.tell(fact)
        stages.restart()
    return stages


def items(profile: Profile) -> list[str]:
    return [touch.item for touch in profile.touches]


OWNERS = event(0, item="tent")
OWN_PHONE = event(10, item="mug", visitor="v2", user_id="anna")
MISTAKE = event(20, item="pegs", user_id="anna")
STILL_IN = event(30, Action.CART_ADD, item="lamp")
MEANWHILE = event(40, item="book", visitor="v2", user_id="anna")


def test_a_login_by_mistake_is_taken_back_and_both_are_as_if_it_had_never_been() -> None:
    stages = run(OWNERS, OWN_PHONE, MISTAKE, STILL_IN, MEANWHILE)
    assert items(stages.people["anna"].profile) == ["tent", "mug", "pegs", "lamp", "book"]

    stages = run(OWNERS, OWN_PHONE, MISTAKE, STILL_IN, MEANWHILE, alias(50, "v1", "v1"))
    anna, device = stages.people["anna"].profile, stages.visitors["v1"]
    assert (items(anna), anna.cart, anna.visitors) == (["mug", "book"], (), ("v2",))
    assert device.view.user_id is None
    assert items(device.profile) == ["tent", "pegs", "lamp"]
    assert [line.item for line in device.profile.cart] == ["lamp"]
    assert sorted(stages.people) == ["anna"]
    (told,) = [out for out in stages.out if isinstance(out, Accepted) and out.event.action is Action.ALIAS]
    assert told.person == "a:v1"


def test_what_comes_behind_it_is_the_devices_own_until_somebody_logs_in() -> None:
    undone = alias(50, "v1", "v1")
    stages = run(OWNERS, MISTAKE, undone, event(60, item="rope"), event(70, item="knife", user_id="ben"))
    assert items(stages.people["ben"].profile) == ["tent", "pegs", "rope", "knife"]
    assert items(stages.people["anna"].profile) == []


def test_what_named_the_customer_before_the_word_is_the_devices_own_however_late_it_comes() -> None:
    late = event(100, item="late", user_id="anna", delay_s=7200)
    for more in ([], [event(300, item="rope")]):
        stages = run(OWNERS, MISTAKE, alias(200, "v1", "v1"), *more, late, event(8000, item="knife"))
        device = stages.visitors["v1"]
        assert device.view.user_id is None
        assert sorted(items(device.profile)) == sorted(
            ["tent", "pegs", *("rope" for _ in more), "late", "knife"]
        )
        assert items(stages.people["anna"].profile) == []
    again = event(400, item="back", user_id="anna", delay_s=7200)
    stages = run(OWNERS, MISTAKE, alias(200, "v1", "v1"), again)
    assert stages.visitors["v1"].view.user_id == "anna"


def test_nothing_was_taken_back_on_a_device_that_never_said_so() -> None:
    stages = run(event(-1_760_000_000, item="mug", user_id="anna"))  # a clock that stands at the epoch
    assert items(stages.people["anna"].profile) == ["mug"]


def test_the_same_customer_who_logged_out_and_in_again_is_taken_back_as_a_whole() -> None:
    out, again = event(30, Action.LOGOUT, None), event(50, item="rope", user_id="anna")
    stages = run(OWNERS, MISTAKE, out, event(40, item="lamp"), again, alias(60, "v1", "v1"))
    assert items(stages.people["anna"].profile) == []
    assert items(stages.visitors["v1"].profile) == ["tent", "pegs", "lamp", "rope"]


def test_of_two_customers_the_newest_is_taken_back_and_the_other_keeps_what_was_theirs() -> None:
    ben = event(40, item="rope", user_id="ben")
    stages = run(OWNERS, MISTAKE, ben, event(50, item="knife"), alias(60, "v1", "v1"))
    assert items(stages.people["anna"].profile) == ["tent", "pegs"]
    assert items(stages.people["ben"].profile) == []
    assert items(stages.visitors["v1"].profile) == ["rope", "knife"]


def test_a_login_of_longer_ago_stays_and_the_device_is_nobodys_from_then_on() -> None:
    late_s = 20 + RULES.undo_login_ms / 1000
    for after_s, kept in ((0, []), (1, ["tent", "pegs", "lamp"])):
        stages = run(OWNERS, MISTAKE, STILL_IN, alias(late_s + after_s, "v1", "v1"))
        assert items(stages.people["anna"].profile) == kept
        assert stages.visitors["v1"].view.user_id is None
        assert items(stages.visitors["v1"].profile) == ([] if kept else ["tent", "pegs", "lamp"])


def test_none_is_kept_where_the_shop_wants_none() -> None:
    never = StageRules(RULES.session, RULES.lateness_ms, undo_login_ms=0)
    stages = run(OWNERS, MISTAKE, alias(30, "v1", "v1"), rules=never)
    assert items(stages.people["anna"].profile) == ["tent", "pegs"]
    assert stages.people["anna"].now.without == []
    assert run(OWNERS, MISTAKE, rules=never).visitors["v1"].view.login is None


def test_logins_of_many_devices_keep_a_customer_within_bounds() -> None:
    stages = run(*(event(at_s, item=f"i{at_s}", visitor=f"v{at_s}", user_id="anna") for at_s in range(12)))
    kept = stages.people["anna"].now.without
    assert [each.visitor for each in kept] == ["v9", "v10", "v11"]


def test_a_device_that_took_its_logins_back_is_believed_the_next_one() -> None:
    one = StageRules(RULES.session, RULES.lateness_ms, max_customers=1)
    stages = run(MISTAKE, alias(30, "v1", "v1"), event(40, item="rope", user_id="ben"), rules=one)
    assert items(stages.people["ben"].profile) == ["pegs", "rope"]


@st.composite
def shops_with_a_mistake(draw: st.DrawFn) -> list[Event]:
    """Two devices; v1 logs in as anna by mistake, v2 as whoever; v1 takes it back at some time. Events
    may be hours late."""
    events = [event(0, item="book", visitor="v1")]
    at_s = 0.0
    for _ in range(draw(st.integers(1, 30))):
        at_s += draw(st.sampled_from([0, 1, 7, 25, 40, 400, 2000]))
        visitor = draw(st.sampled_from(["v1", "v2"]))
        user_id = draw(st.sampled_from([None, "anna"] if visitor == "v1" else [None, "anna", "ben"]))
        events.append(
            event(
                at_s,
                draw(st.sampled_from(ACTIONS)),
                draw(st.sampled_from(["tent", "pegs", "mug"])),
                visitor=visitor,
                user_id=user_id,
                delay_s=draw(st.sampled_from(LATE_S)),
                order_id=draw(st.sampled_from(["o1", "o2"])),
            )
        )
    undone = alias(at_s + 1, "v1", "v1", delay_s=draw(st.sampled_from(ON_TIME_S)))
    after = [event(at_s + 2 + more, item="rope", visitor="v1") for more in range(draw(st.integers(0, 2)))]
    return logged([*events, undone, *after])


def _without_the_mistake(events: list[Event]) -> list[Event]:
    """The same log, had nobody logged in on v1."""
    return [replace(one, user_id=None) if one.visitor == "v1" else one for one in events]


def _profiles(stages: Stages) -> dict[str, Profile]:
    return {name: profile for name, profile in stages.profiles().items() if profile != Profile()}


@settings(max_examples=300, deadline=None)
@given(shops_with_a_mistake(), st.integers(0, 2**16))
def test_whatever_happened_in_between_nothing_of_the_login_is_left(events: list[Event], seed: int) -> None:
    undone = overtaking(events, random.Random(seed), LONG)
    never = overtaking(
        [one for one in _without_the_mistake(events) if one.action is not Action.ALIAS],
        random.Random(seed),
        LONG,
    )
    assert _profiles(undone) == _profiles(never)
