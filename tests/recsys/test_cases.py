"""The cart and identity scenarios of real shops that no other test tells: what a person's cart and orders
are afterwards. Beside each, where it was got wrong."""

from __future__ import annotations

from recsys.events import Action, Event, Line
from recsys.profile import Profile
from tests.recsys.test_stages import Stages
from tests.recsys.worlds import arrivals, event, logged

DAY_S = 86_400
ADD, ORDER = Action.CART_ADD, Action.ORDER


def people(*events: Event) -> dict[str, Profile]:
    """Everybody, after a log of these events."""
    stages = Stages()
    for arrival in arrivals(logged(list(events))):
        for fact in stages.visit(arrival):
            stages.tell(fact)
    return stages.profiles()


def cart(profile: Profile) -> list[str]:
    return [line.item for line in profile.cart]


def test_a_cart_that_is_emptied_is_empty() -> None:
    """matomo#20315"""
    emptied = event(900, Action.CART_VIEW, None, value=0.0)
    removed = event(900, Action.CART_REMOVE, "tent")
    for how in (emptied, removed):
        assert cart(people(event(0, ADD, "tent"), how)["a:v1"]) == []


def test_an_order_on_another_device_of_the_person_empties_the_cart() -> None:
    anna = people(
        event(0, ADD, "tent", visitor="phone", user_id="anna"),
        event(60, ORDER, "tent", visitor="laptop", user_id="anna", order_id="o1"),
    )["u:anna"]
    assert (cart(anna), anna.order_count) == ([], 1)


def test_an_order_of_the_till_that_is_told_hours_late_still_empties_the_cart() -> None:
    """dittofeed#1596"""
    told_late = event(600, ORDER, "tent", visitor="user:anna", user_id="anna", order_id="o1", delay_s=9000)
    anna = people(event(0, ADD, "tent", user_id="anna"), event(7200, item="mug", user_id="anna"), told_late)[
        "u:anna"
    ]
    assert (cart(anna), anna.order_count, anna.late_events) == ([], 1, 1)


def test_an_order_of_last_month_leaves_a_new_cart() -> None:
    """cubecart v6#4146"""
    months = [event(0, ADD, "tent"), event(60, ORDER, "tent", order_id="o1"), event(30 * DAY_S, ADD, "tent")]
    assert cart(people(*months)["a:v1"]) == ["tent"]


def test_what_an_order_leaves_out_stays_in_the_cart() -> None:
    three = [event(n, ADD, item) for n, item in enumerate(("tent", "pegs", "mug"))]
    ordered = event(60, ORDER, None, order_id="o1", lines=(Line("tent"), Line("mug")))
    assert cart(people(*three, ordered)["a:v1"]) == ["pegs"]


def test_the_same_click_in_two_tabs_under_one_id_is_one() -> None:
    """parcelvoy#462"""
    stages = Stages()
    first = event(0, ADD, "tent", message_id="m", offset=0)
    for arrival in arrivals([first, event(0, ADD, "tent", message_id="m", offset=1)]):
        stages.visit(arrival)
    assert [line.quantity for line in stages.profiles()["a:v1"].cart] == [1.0]


def test_a_device_that_keeps_its_id_through_a_logout_is_two_persons() -> None:
    """mautic#4211, rudder-sdk-js#206"""
    found = people(
        event(0, ADD, "tent", user_id="anna"),
        event(10, Action.LOGOUT, None, user_id="anna"),
        event(20, item="mug", user_id="ben"),
    )
    assert cart(found["u:anna"]) == ["tent"]
    assert (cart(found["u:ben"]), [touch.item for touch in found["u:ben"].touches]) == ([], ["mug"])


def test_a_refund_takes_the_order_back() -> None:
    refunded = event(99, Action.REFUND, None, order_id="o1")
    profile = people(event(0, ORDER, "tent", order_id="o1"), refunded)["a:v1"]
    assert (profile.order_count, profile.order_value, profile.orders[0].refunded) == (0, 0.0, True)
