"""One event's effect on a profile: sessions, touches, tastes, groups, blocked ids and their bounds."""

from __future__ import annotations

import msgspec
import pytest

from recsys.events import Action, Event, Line, Source
from recsys.fold import NO_EFFECTS, apply, is_open, leaf_of
from recsys.leanings import HALF_LIFE_S
from recsys.profile import MAX_AFFINITIES, MAX_ORDER_ITEMS, MAX_QUERIES, MAX_TOUCHES, Affinity, Session, Touch
from tests.recsys.folds import RULES, T0_S, apply_late, effects_of, folded, lines, session_of
from tests.recsys.worlds import T0, event

DAY_S = 86_400


# Sessions


def test_half_an_hour_without_an_event_ends_a_session() -> None:
    assert effects_of(event(0), event(1800), event(3600)) == [("session_started", 0)]
    assert effects_of(event(0), event(1800.001)) == [
        ("session_started", 0),
        ("session_ended", 0),
        ("session_started", 1800),
    ]


def test_no_session_lasts_a_day() -> None:
    busy = [event(at_s) for at_s in range(0, DAY_S + 1, 1200)]
    profile = folded(*busy)
    assert (profile.sessions, session_of(profile).start_ms) == (2, T0 + DAY_S * 1000)
    assert folded(*busy[:-1]).sessions == 1


def test_a_logout_ends_the_session_it_belongs_to() -> None:
    profile = folded(event(0), event(10, Action.LOGOUT, None))
    assert (profile.sessions, session_of(profile).closed, session_of(profile).events) == (1, True, 2)
    assert not is_open(session_of(profile), T0 + 11_000, RULES)
    again = folded(event(11), onto=profile)
    assert (again.sessions, session_of(again).start_ms) == (2, T0 + 11_000)


def test_a_session_counts_what_happens_in_it() -> None:
    profile = folded(
        event(0, dwell_s=20.0, source=Source("google", "cpc"), device="desktop"),
        event(1, Action.READ, "article:a", dwell_s=30.0),
        event(2, Action.LIST_VIEW, None, category="Shop > Tents", source=Source("bing", "organic")),
        event(3, Action.SEARCH, None, query="pegs"),
        event(4, Action.CART_ADD),
        event(5, Action.CHECKOUT, None),
        event(6, Action.ORDER, order_id="o1"),
        event(7, Action.LEAVE, None, dwell_s=1.0),
    )
    assert session_of(profile) == Session(
        T0,
        T0 + 7000,
        8,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        51.0,
        ("pegs",),
        Source("google", "cpc"),
        "desktop",
        False,
        "Shop > t",
    )
    assert (profile.events, profile.first_ms, profile.last_ms) == (8, T0, T0 + 7000)


@pytest.mark.parametrize(
    "action",
    [
        Action.EMAIL_SENT,
        Action.EMAIL_FAIL,
        Action.UNSUBSCRIBE,
        Action.SUBSCRIBE,
        Action.REFUND,
        Action.ORDER_UPDATE,
        Action.ORDER_CANCEL,
        Action.GROUP,
    ],
)
def test_what_the_person_did_not_do_is_no_visit(action: Action) -> None:
    profile = folded(event(0, action, None))
    assert (profile.session, profile.sessions, profile.events) == (None, 0, 1)
    visiting = folded(event(0))
    assert folded(event(60, action, None), onto=visiting).session == visiting.session


def test_searches_are_kept_newest_last_and_once() -> None:
    said = ["a", "b", "a", "q" * 300, "q" * 300, "c", "d"]
    profile = folded(*(event(n, Action.SEARCH, None, query=query) for n, query in enumerate(said)))
    assert session_of(profile).queries == ("b", "q" * 100, "c", "d")
    assert len(session_of(profile).queries) == MAX_QUERIES
    assert session_of(profile).searches == 7


# Touches


def test_consecutive_repeats_are_one_touch() -> None:
    profile = folded(
        event(0, item="tent", dwell_s=5.0),
        event(3, item="tent", dwell_s=7.0),
        event(5, item="pegs"),
        event(9, item="tent"),
        event(10, Action.CART_ADD, "tent"),
    )
    assert profile.touches == (
        Touch("tent", Action.VIEW, T0_S + 3, 12.0),
        Touch("pegs", Action.VIEW, T0_S + 5),
        Touch("tent", Action.VIEW, T0_S + 9),
        Touch("tent", Action.CART_ADD, T0_S + 10),
    )
    assert session_of(profile).views == 4


def test_only_what_shows_interest_is_a_touch() -> None:
    for action in Action:
        touched = bool(folded(event(0, action)).touches)
        cares = (Action.VIEW, Action.CLICK, Action.CART_ADD, Action.ORDER, Action.READ, Action.WISH)
        assert touched == (action in cares), action


def test_leaving_a_page_adds_its_dwell_to_the_item() -> None:
    seen = folded(event(0, item="tent"), event(5, item="pegs"))
    named = folded(event(60, Action.LEAVE, "tent", dwell_s=55.0), onto=seen)
    assert [touch.dwell_s for touch in named.touches] == [55.0, 0.0]
    unnamed = folded(event(60, Action.LEAVE, None, dwell_s=55.0), onto=seen)
    assert [touch.dwell_s for touch in unnamed.touches] == [0.0, 55.0]
    unknown = folded(event(60, Action.LEAVE, "mug", dwell_s=55.0), onto=seen)
    assert unknown.touches == seen.touches
    assert session_of(unknown).dwell_s == 55.0


def test_the_newest_touches_are_kept() -> None:
    profile = folded(*(event(n, item=f"i{n}") for n in range(MAX_TOUCHES + 5)))
    assert [touch.item for touch in profile.touches] == [f"i{n}" for n in range(5, MAX_TOUCHES + 5)]
    profile = folded(event(0, Action.ORDER, lines=lines(*(f"i{n}" for n in range(100))), order_id="o"))
    assert len(profile.touches) == len(profile.orders[0].items) == MAX_ORDER_ITEMS


# Tastes


def test_a_taste_halves_in_two_weeks() -> None:
    def taste(at_s: float, action: Action = Action.VIEW) -> Event:
        return event(at_s, action, lines=(Line("a", category="Outdoor > Tents"),))

    assert folded(taste(0)).categories == (Affinity("Tents", 1.0, T0_S),)
    later = folded(taste(0), taste(HALF_LIFE_S, Action.CART_ADD))
    assert later.categories == (Affinity("Tents", 3.5, T0_S + HALF_LIFE_S),)
    # A late event counts for what is left of it by now.
    late = apply_late(folded(taste(HALF_LIFE_S, Action.CART_ADD)), taste(0))
    assert late.categories == later.categories


def test_the_strongest_tastes_of_today_are_kept() -> None:
    def taste(at_s: float, name: str) -> Event:
        return event(at_s, lines=(Line("a", category=name),))

    strong_once = [taste(0, "old")] * 3
    newer = [taste(10 * HALF_LIFE_S, f"c{n:02}") for n in range(MAX_AFFINITIES)]
    profile = folded(*strong_once, *newer)
    assert [affinity.name for affinity in profile.categories] == [f"c{n:02}" for n in range(MAX_AFFINITIES)]


@pytest.mark.parametrize(
    ("category", "leaf"),
    [
        ("Outdoor > Tents", "Tents"),
        ("Home/Apparel/Hats/", "Hats"),
        ("Tents", "Tents"),
        ("/", "/"),
        ("x" * 90, "x" * 60),
    ],
)
def test_the_leaf_of_a_category(category: str, leaf: str) -> None:
    assert leaf_of(category) == leaf


def test_a_visit_and_an_answer_to_a_mail_count_for_the_channel() -> None:
    def through(touchpoint: str, one: Event) -> Event:
        return msgspec.structs.replace(one, touchpoint=touchpoint)

    profile = folded(
        through("paid_search", event(0)),
        through("site", event(1)),
        through("email", event(2, Action.EMAIL_CLICK, None)),
        through("email", event(3, Action.EMAIL_SENT, None)),
    )
    assert profile.channels == (Affinity("paid_search", 1.0, T0_S), Affinity("email", 1.0, T0_S + 2))


# Consent, groups, blocked ids


def test_a_group_is_remembered_and_blocked_ids_are_counted() -> None:
    profile = folded(
        event(0, Action.GROUP, None, group_id="club"), event(1, blocked_ids=2), event(2, blocked_ids=1)
    )
    assert (profile.group, profile.blocked_ids) == ("club", 3)
    assert folded(event(3, Action.GROUP, None), onto=profile).group == "club"


def test_another_action_is_only_counted() -> None:
    profile, effects = apply(folded(event(0)), event(1, Action.OTHER), RULES)
    assert effects == NO_EFFECTS
    assert (profile.events, len(profile.touches)) == (2, 1)
