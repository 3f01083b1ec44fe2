"""One event's effect on a profile: sessions, touches, cart, orders, tastes, consent and their bounds."""

from __future__ import annotations

import msgspec
import pytest

from recsys.events import Action, Consent, Event, Line, Source
from recsys.fold import NO_EFFECTS, Effect, SessionRules, apply, apply_late, is_open, leaf_of
from recsys.leanings import HALF_LIFE_S
from recsys.profile import (
    MAX_AFFINITIES,
    MAX_CART_LINES,
    MAX_ORDER_ITEMS,
    MAX_ORDERS,
    MAX_QUERIES,
    MAX_TOUCHES,
    Affinity,
    CartLine,
    Order,
    Profile,
    Session,
    Touch,
)
from tests.recsys.worlds import T0, event

RULES = SessionRules()
HOUR_S = 3600
DAY_S = 86_400
T0_S = T0 // 1000


def folded(*events: Event, onto: Profile = Profile()) -> Profile:
    for one in events:
        onto, _ = apply(onto, one, RULES)
    return onto


def effects_of(*events: Event) -> list[tuple[str, int]]:
    """(kind, seconds after T0) of all that followed."""
    profile, found = Profile(), []
    for one in events:
        profile, effects = apply(profile, one, RULES)
        found += [(effect.kind, (effect.at_ms - T0) // 1000) for effect in effects]
    return found


def session_of(profile: Profile) -> Session:
    assert profile.session is not None
    return profile.session


def lines(*items: str, price: float | None = 10.0, quantity: float = 1.0) -> tuple[Line, ...]:
    return tuple(Line(item, quantity, price) for item in items)


def cart_of(profile: Profile) -> dict[str, float]:
    return {line.item: line.quantity for line in profile.cart}


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


# The cart


def test_the_cart_follows_what_is_added_and_removed() -> None:
    profile = folded(
        event(0, Action.CART_ADD, lines=(Line("tent", 2, 100.0),)),
        event(1, Action.CART_ADD, lines=(Line("tent", 1), Line("pegs", 10, 0.5))),
        event(2, Action.CART_REMOVE, lines=(Line("pegs", 4), Line("never there"))),
    )
    assert profile.cart == (CartLine("tent", 3, 100.0, T0_S + 1), CartLine("pegs", 6, 0.5, T0_S + 2))
    assert profile.cart_ms == T0 + 2000
    assert cart_of(folded(event(3, Action.CART_REMOVE, lines=(Line("pegs", 6),)), onto=profile)) == {
        "tent": 3
    }


def test_the_shops_own_word_replaces_the_cart() -> None:
    held = folded(event(0, Action.CART_ADD, "tent"))
    viewed = folded(
        event(1, Action.CART_VIEW, lines=(*lines("pegs"), *lines("mug"), *lines("pegs"))), onto=held
    )
    assert cart_of(viewed) == {"pegs": 2.0, "mug": 1.0}
    assert cart_of(folded(event(1, Action.CART_VIEW, None), onto=held)) == {"tent": 1.0}
    assert cart_of(folded(event(1, Action.CART_VIEW, None, value=0.0), onto=held)) == {}


def test_an_order_takes_what_it_names_out_of_the_cart() -> None:
    held = folded(event(0, Action.CART_ADD, lines=lines("tent", "pegs", "mug")))
    some = folded(event(1, Action.ORDER, lines=lines("tent", "pegs"), order_id="o1"), onto=held)
    assert cart_of(some) == {"mug": 1.0}
    assert cart_of(folded(event(1, Action.ORDER, None, order_id="o1", value=9.0), onto=held)) == {}


def test_changes_of_the_cart_are_told() -> None:
    told = effects_of(
        event(0, Action.CART_ADD),
        event(1, Action.CART_REMOVE, "never there"),
        event(2, Action.CART_VIEW, None),
        event(3, Action.CART_REMOVE),
        event(4, Action.CART_VIEW, None, value=0.0),
    )
    assert told == [("session_started", 0), ("cart_changed", 0), ("cart_changed", 3)]


def test_the_newest_lines_of_a_cart_are_kept() -> None:
    many = tuple(f"i{n}" for n in range(MAX_CART_LINES + 5))
    one_by_one = folded(*(event(n, Action.CART_ADD, item) for n, item in enumerate(many)))
    at_once = folded(event(0, Action.CART_ADD, lines=lines(*many)))
    viewed = folded(event(0, Action.CART_VIEW, lines=lines(*many)))
    for profile in (one_by_one, at_once, viewed):
        assert tuple(cart_of(profile)) == many[5:]


# Orders


def order(at_s: float, order_id: str = "o1", value: float | None = None, **more: object) -> Event:
    return event(at_s, Action.ORDER, order_id=order_id, value=value, **more)  # type: ignore[arg-type]


def test_an_order_is_worth_what_it_says_or_what_it_holds() -> None:
    said = folded(order(0, value=25.0))
    assert said.orders == (Order("o1", T0_S, 25.0, ("tent",)),)
    held = folded(order(0, lines=(Line("tent", 2, 10.0), Line("pegs", 3, None))))
    assert (held.order_count, held.order_value) == (1, 20.0)
    assert folded(event(0, Action.ORDER, message_id="m7")).orders[0].order_id == "m7"


def test_the_same_order_told_twice_counts_once() -> None:
    browser, server = order(0, value=25.0, lines=lines("tent", "pegs")), order(3, value=25.0)
    profile = folded(browser, server)
    assert (profile.order_count, profile.order_value, len(profile.touches)) == (1, 25.0, 2)
    assert session_of(profile).orders == 1
    assert [kind for kind, _ in effects_of(browser, server)].count("order_placed") == 1


def test_a_refund_or_cancellation_undoes_an_order() -> None:
    placed = folded(order(0, "o1", 30.0), order(1, "o2", 20.0))
    for undo in (
        event(9, Action.REFUND, None, order_id="o1"),
        event(9, Action.REFUND, None, order_id="o1", value=30.0),
        event(9, Action.REFUND, "tent", order_id="o1"),
        event(9, Action.ORDER_CANCEL, None, order_id="o1", value=25.0),
    ):
        profile, effects = apply(placed, undo, RULES)
        assert (profile.order_count, profile.order_value) == (1, 20.0)
        assert [one.refunded for one in profile.orders] == [True, False]
        assert effects == (Effect("order_undone", T0 + 9000),)
        again = folded(undo, onto=profile)
        assert (again.order_count, again.order_value) == (1, 20.0)


def test_a_partial_refund_leaves_the_order_standing() -> None:
    placed = folded(order(0, "o1", 30.0, lines=lines("tent", "pegs")))
    by_value = folded(event(9, Action.REFUND, None, order_id="o1", value=12.5), onto=placed)
    by_item = folded(event(9, Action.REFUND, lines=(Line("pegs", 1, 12.5),), order_id="o1"), onto=placed)
    for profile in (by_value, by_item):
        assert (profile.order_count, profile.order_value) == (1, 17.5)
        assert profile.orders == (Order("o1", T0_S, 17.5, ("tent", "pegs")),)
    rest = folded(event(10, Action.REFUND, None, order_id="o1", value=17.5), onto=by_value)
    assert (rest.order_count, rest.order_value) == (0, 0.0)


@pytest.mark.parametrize(("total", "left"), [(-20.0, 30.0), (20.0, 30.0), (0.0, 50.0), (-50.0, 0.0)])
def test_what_a_refund_gives_back_may_be_told_as_a_minus(total: float, left: float) -> None:
    profile = folded(
        event(0, Action.ORDER, "tent", order_id="o1", value=50.0),
        event(60, Action.REFUND, None, order_id="o1", value=total),
    )
    assert profile.order_value == left
    assert profile.order_count == (left > 0)


def test_an_order_is_never_worth_less_than_nothing() -> None:
    assert folded(event(0, Action.ORDER, "tent", order_id="o1", value=-50.0)).order_value == 0.0


def test_a_refund_of_an_order_nobody_knows_changes_nothing() -> None:
    placed = folded(order(0, "o1", 30.0))
    for order_id in ("o9", None):
        profile = folded(event(9, Action.REFUND, None, order_id=order_id), onto=placed)
        assert (profile.order_count, profile.orders) == (1, placed.orders)


def test_the_newest_orders_are_kept_and_all_are_counted() -> None:
    profile = folded(*(order(n, f"o{n}", 1.0) for n in range(MAX_ORDERS + 3)))
    assert [one.order_id for one in profile.orders] == [f"o{n}" for n in range(3, MAX_ORDERS + 3)]
    assert (profile.order_count, profile.order_value) == (MAX_ORDERS + 3, MAX_ORDERS + 3.0)


def update(at_s: float, order_id: str | None = "o1", value: float | None = None, **more: object) -> Event:
    return event(at_s, Action.ORDER_UPDATE, order_id=order_id, value=value, **more)  # type: ignore[arg-type]


def test_an_update_says_anew_what_an_order_holds() -> None:
    placed = folded(order(0, "o1", 30.0), order(1, "o2", 20.0))
    changed = folded(update(9, "o1", 45.0, lines=lines("tent", "mug")), onto=placed)
    assert (changed.order_count, changed.order_value) == (2, 65.0)
    assert changed.orders[0] == Order("o1", T0_S, 45.0, ("tent", "mug"), updated_ms=T0 + 9000)
    assert changed.orders[1] == placed.orders[1]
    by_lines = folded(update(9, "o1", lines=(Line("pegs", 4, 2.5),)), onto=placed)
    assert (by_lines.order_value, by_lines.orders[0].items) == (30.0, ("pegs",))
    assert [kind for kind, _ in effects_of(order(0), update(9, value=45.0))].count("order_placed") == 1


def test_an_update_that_names_no_lines_or_no_total_leaves_them() -> None:
    placed = folded(order(0, "o1", 30.0, lines=lines("tent", "mug")))
    total_only = folded(update(9, "o1", 45.0, lines=()), onto=placed)
    assert (total_only.order_value, total_only.orders[0].items) == (45.0, ("tent", "mug"))
    lines_only = folded(update(9, "o1", lines=(Line("pegs"),)), onto=placed)
    assert (lines_only.order_value, lines_only.orders[0].items) == (30.0, ("pegs",))


def test_an_update_after_a_cancellation_brings_nothing_back() -> None:
    over = folded(order(0, "o1", 30.0), event(5, Action.ORDER_CANCEL, None, order_id="o1"))
    assert folded(update(9, "o1", 45.0), onto=over).orders == over.orders
    refunded_in_part = folded(
        order(0, "o1", 30.0), update(5, "o1", 40.0), event(9, Action.REFUND, None, order_id="o1", value=15.0)
    )
    assert (refunded_in_part.order_count, refunded_in_part.order_value) == (1, 25.0)


def test_an_order_first_heard_of_by_its_update_is_placed_once() -> None:
    held = folded(event(0, Action.CART_ADD, lines=lines("tent", "mug")))
    profile, effects = apply(held, update(5, "o1", 30.0), RULES)
    assert effects == (Effect("cart_changed", T0 + 5000), Effect("order_placed", T0 + 5000))
    assert (profile.order_count, profile.order_value, cart_of(profile)) == (1, 30.0, {"mug": 1.0})
    assert session_of(profile).orders == 0  # the shop did it, not the person
    again = folded(order(9, "o1", 25.0), onto=profile)
    assert (again.order_count, again.order_value) == (1, 30.0)


def test_an_update_that_names_no_order_or_tells_nothing_of_it_places_none() -> None:
    for told in (update(5, None, 30.0), update(5, "o1", lines=())):
        assert folded(told).order_count == 0


def test_an_update_of_an_order_long_forgotten_places_no_second_one() -> None:
    many = folded(*(order(n, f"o{n}", 1.0) for n in range(MAX_ORDERS + 1)))
    updated = folded(update(99, "o0", 5.0), onto=many)
    assert (updated.order_count, updated.order_value) == (many.order_count, many.order_value)


def test_the_newest_update_counts_even_if_an_older_one_comes_late() -> None:
    placed = folded(order(0, "o1", 30.0), update(9, "o1", 45.0))
    assert apply_late(placed, update(5, "o1", 40.0)).order_value == 45.0
    assert apply_late(placed, update(10, "o1", 50.0)).order_value == 50.0
    held = folded(event(0, Action.CART_ADD, "tent"))
    late = apply_late(held, update(5, "o7", 12.0))
    assert (late.order_count, late.order_value, late.cart) == (1, 12.0, ())


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


def test_consent_withdrawn_forgets_what_was_learned() -> None:
    before = folded(
        event(0, Action.CART_ADD, "tent", query="tents"),
        order(1, "o1", 5.0, lines=lines("mug")),
    )
    no = folded(event(2, item="pegs", query="pegs", consent=Consent(personalization=False)), onto=before)
    after = folded(event(3, item="pegs", query="pegs"), onto=no)
    for profile in (no, after):
        assert (profile.touches, profile.categories) == ((), ())
        assert (session_of(profile).queries, session_of(profile).category) == ((), "")
        assert (profile.personalization, profile.consent_ms) == (False, T0 + 2000)
    assert (cart_of(after), after.order_count) == ({"tent": 1.0}, 1)  # served and billed all the same
    yes = folded(event(4, item="pegs", consent=Consent(personalization=True)), onto=after)
    assert [touch.item for touch in yes.touches] == ["pegs"]


def test_consent_withdrawn_by_what_is_no_visit_forgets_too() -> None:
    before = folded(event(0, query="tents"))
    profile = folded(event(1, Action.GROUP, None, consent=Consent(personalization=False)), onto=before)
    assert (profile.touches, profile.categories, session_of(profile).queries) == ((), (), ())


def test_unsubscribing_concerns_mail_only() -> None:
    seen = folded(event(0, consent=Consent(personalization=True)))
    profile = folded(event(1, Action.UNSUBSCRIBE, None, consent=Consent(email=False)), onto=seen)
    assert (profile.email, profile.personalization, profile.touches) == (False, True, seen.touches)
    back = folded(event(2, Action.SUBSCRIBE, None, consent=Consent(email=True)), onto=profile)
    assert back.email is True


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


# Too late


def test_a_late_event_corrects_totals_and_leaves_what_is_newer() -> None:
    now = folded(event(2 * HOUR_S, item="tent"), event(2 * HOUR_S + 5, Action.CART_ADD, "mug"))
    late = apply_late(now, order(HOUR_S, "o1", 5.0, lines=lines("mug")))
    assert (late.events, late.late_events, late.order_count) == (3, 1, 1)
    assert (late.session, late.sessions, late.cart) == (now.session, now.sessions, now.cart)
    assert (late.first_ms, late.last_ms) == (T0 + HOUR_S * 1000, now.last_ms)
    assert [touch.item for touch in late.touches] == ["mug", "tent", "mug"]
    before = folded(event(0, Action.CART_ADD, "mug"), event(2 * HOUR_S))
    assert cart_of(apply_late(before, order(HOUR_S, lines=lines("mug")))) == {}


def test_a_late_repeat_does_not_make_the_newest_touch_older() -> None:
    now = folded(event(2 * HOUR_S, item="tent"))
    late = apply_late(now, event(HOUR_S, item="tent"))
    assert [touch.at_s - T0_S for touch in late.touches] == [HOUR_S, 2 * HOUR_S]


def test_a_late_touch_older_than_all_that_are_kept_is_dropped() -> None:
    full = folded(*(event(HOUR_S + n, item=f"i{n}") for n in range(MAX_TOUCHES)))
    assert apply_late(full, event(0, item="late")).touches == full.touches


def test_a_late_refund_is_taken() -> None:
    placed = folded(order(0, "o1", 5.0), event(2 * HOUR_S))
    assert apply_late(placed, event(HOUR_S, Action.REFUND, None, order_id="o1")).order_count == 0


def test_a_late_word_on_consent_counts_where_nothing_newer_was_said() -> None:
    no = Consent(personalization=False)
    yes_now = folded(event(2 * HOUR_S, consent=Consent(personalization=True)))
    late = apply_late(yes_now, event(HOUR_S, item="pegs", consent=no))
    assert (late.personalization, late.touches) == (True, yes_now.touches)
    mail_now = folded(event(2 * HOUR_S, consent=Consent(email=True)))
    late = apply_late(mail_now, event(HOUR_S, consent=no))
    assert (late.personalization, late.email, late.touches) == (False, True, ())
    assert late.consent_ms == T0 + 2 * HOUR_S * 1000


def test_who_said_no_leaves_no_late_trail_either() -> None:
    no = folded(event(2 * HOUR_S, consent=Consent(personalization=False)))
    assert apply_late(no, event(HOUR_S)).touches == ()
