"""The merge at login: nothing counted twice, nothing lost, and a refusal stays a refusal."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.events import Action, Consent, Event, Line
from recsys.fold import apply
from recsys.merge import absorb, with_device
from recsys.profile import MAX_AFFINITIES, MAX_CART_LINES, MAX_DEVICES, MAX_ORDERS, MAX_TOUCHES, Profile
from tests.recsys.worlds import RULES, T0, event


def folded(*events: Event) -> Profile:
    profile = Profile()
    for one in events:
        profile, _ = apply(profile, one, RULES.session)
    return profile


@st.composite
def profiles(draw: st.DrawFn, orders: str = "o") -> Profile:
    """A profile that events made; its order ids start with `orders`."""
    at_s, events = 0.0, []
    for _ in range(draw(st.integers(0, 12))):
        at_s += draw(st.sampled_from([1, 40, 2000, 90_000]))
        action = draw(st.sampled_from([*Action]))
        item = draw(st.sampled_from(["tent", "pegs", "mug", None]))
        consent = draw(st.sampled_from([None, None, Consent(True), Consent(False), Consent(None, False)]))
        order_id = f"{orders}{draw(st.integers(0, 3))}"
        events.append(event(at_s, action, item, consent=consent, order_id=order_id, group_id="club"))
    return folded(*events)


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_nothing_absorbed_changes_nothing(profile: Profile) -> None:
    assert absorb(profile, Profile()) == profile
    assert absorb(Profile(), profile) == profile


@settings(max_examples=60, deadline=None)
@given(profiles("a"), profiles("b"))
def test_totals_add_up_and_times_span_both(person: Profile, visitor: Profile) -> None:
    both = absorb(person, visitor)
    for total in ("events", "order_count", "late_events", "blocked_ids"):
        assert getattr(both, total) == getattr(person, total) + getattr(visitor, total)
    assert both.order_value == round(person.order_value + visitor.order_value, 2)
    assert both.last_ms == max(person.last_ms, visitor.last_ms)
    assert both.sessions in (person.sessions + visitor.sessions, person.sessions + visitor.sessions - 1)
    assert {line.item for line in both.cart} <= {line.item for line in (*person.cart, *visitor.cart)}
    assert list(both.touches) == sorted(both.touches, key=lambda touch: touch.at_s)
    assert both.personalization is not None or {person.personalization, visitor.personalization} == {None}


@settings(max_examples=40, deadline=None)
@given(profiles())
def test_an_order_that_both_know_counts_once(profile: Profile) -> None:
    both = absorb(profile, profile)
    assert (both.orders, both.order_count) == (profile.orders, profile.order_count)
    assert both.order_value == profile.order_value
    assert both.cart == profile.cart


def test_a_refund_that_one_of_them_knows_counts() -> None:
    order = event(0, Action.ORDER, order_id="o1", value=30.0)
    refund = event(9, Action.REFUND, None, order_id="o1")
    standing, refunded = folded(order), folded(order, refund)
    for both in (absorb(standing, refunded), absorb(refunded, standing)):
        assert (both.order_count, both.order_value) == (0, 0.0)
        assert [one.refunded for one in both.orders] == [True]


def test_the_newest_word_on_an_order_that_both_know_counts() -> None:
    told = folded(event(0, Action.ORDER, order_id="o1", value=30.0))
    updated = folded(event(5, Action.ORDER_UPDATE, order_id="o1", value=20.0))
    newer = folded(event(9, Action.ORDER_UPDATE, order_id="o1", value=25.0))
    for one, other, value in ((told, updated, 20.0), (updated, newer, 25.0)):
        for both in (absorb(one, other), absorb(other, one)):
            assert (both.order_count, both.order_value) == (1, value)
    assert absorb(updated, told).orders[0].at_s == T0 // 1000


def test_a_line_in_both_carts_is_not_doubled_and_the_newer_word_counts() -> None:
    phone = folded(event(0, Action.CART_ADD, lines=(Line("tent", 2.0), Line("pegs"))))
    laptop = folded(event(9, Action.CART_ADD, lines=(Line("tent", 1.0), Line("mug"))))
    for both in (absorb(phone, laptop), absorb(laptop, phone)):
        assert {line.item: line.quantity for line in both.cart} == {"tent": 1.0, "pegs": 1.0, "mug": 1.0}
        assert both.cart_ms == T0 + 9000


def test_a_visitor_who_logs_in_goes_on_with_the_session() -> None:
    person = folded(event(0, item="tent", query="tents"))
    visitor = folded(event(-60, item="pegs", query="pegs"), event(30, item="mug"))
    both = absorb(person, visitor)
    assert both.session is not None
    assert (both.sessions, both.session.start_ms, both.session.last_ms) == (1, T0 - 60_000, T0 + 30_000)
    assert (both.session.views, both.session.queries) == (3, ("tents", "pegs"))
    apart = absorb(person, folded(event(60)))
    assert apart.session is not None
    assert (apart.sessions, apart.session.views) == (2, 1)


def test_a_refusal_outlives_a_later_word_about_something_else() -> None:
    refused = folded(event(0, consent=Consent(personalization=False)), event(1, query="tents"))
    subscribed = folded(event(5, query="pegs"), event(9, Action.SUBSCRIBE, None, consent=Consent(email=True)))
    for both in (absorb(refused, subscribed), absorb(subscribed, refused)):
        assert (both.personalization, both.email) == (False, True)
        assert (both.touches, both.categories) == ((), ())
        assert both.session is not None
        assert both.session.queries == ()


def test_the_newer_word_on_the_same_question_counts() -> None:
    no = folded(event(0, consent=Consent(personalization=False)))
    yes = folded(event(9, consent=Consent(personalization=True)))
    for both in (absorb(no, yes), absorb(yes, no)):
        assert (both.personalization, both.consent_ms) == (True, T0 + 9000)
        assert len(both.touches) == 1


def test_what_is_merged_stays_bounded() -> None:
    def full(name: str, at_s: float) -> Profile:
        return folded(
            *(event(at_s + n, Action.CART_ADD, f"{name}{n}", category=name) for n in range(100)),
            *(event(at_s + n, lines=(Line("x", category=f"{name}{n}"),)) for n in range(100, 130)),
            *(event(at_s + n, Action.ORDER, None, order_id=f"{name}{n}", value=1.0) for n in range(130, 150)),
            *(event(at_s + n, Action.CART_ADD, f"{name}{n}") for n in range(150, 200)),
        )

    both = absorb(full("a", 0), full("b", 1000))
    assert len(both.touches) == MAX_TOUCHES
    assert len(both.cart) == MAX_CART_LINES
    assert len(both.orders) == MAX_ORDERS
    assert len(both.categories) == MAX_AFFINITIES
    assert all(line.item.startswith("b") for line in both.cart)
    assert both.order_count == 40


def test_a_device_is_known_once_and_the_newest_are_kept() -> None:
    devices: tuple[str, ...] = ()
    for number in range(MAX_DEVICES + 3):
        devices = with_device(with_device(devices, f"v{number}"), f"v{number}")
    assert devices == tuple(f"v{n}" for n in range(3, MAX_DEVICES + 3))


def test_the_devices_of_a_customer_stay() -> None:
    person = msgspec.structs.replace(folded(event(0)), visitors=("phone", "laptop"))
    assert absorb(person, folded(event(5))).visitors == ("phone", "laptop")


def test_what_the_customer_ordered_leaves_the_guests_cart() -> None:
    guest = folded(
        event(0, Action.CART_ADD, "tent"),
        event(1, Action.CART_ADD, "pegs"),
        event(99, Action.CART_ADD, "mug"),
    )
    lines = (Line("tent"), Line("mug"))
    customer = folded(event(60, Action.ORDER, None, order_id="o1", lines=lines))
    for both in (absorb(customer, guest), absorb(guest, customer)):
        assert [line.item for line in both.cart] == ["pegs", "mug"]  # the mug was put in later
    everything = folded(event(60, Action.ORDER, None, order_id="o1"))
    assert [line.item for line in absorb(everything, guest).cart] == ["mug"]
    before = folded(event(-60, Action.ORDER, None, order_id="o1", lines=lines))
    assert absorb(before, guest).cart == guest.cart
