"""The registry: every event is a contact through some channel, in some phase."""

from __future__ import annotations

import pytest

from recsys.segment import KNOWN_EVENT_NAMES
from recsys.touchpoints import DEFAULT_TOUCHPOINTS, Rule, Touchpoint, Touchpoints


@pytest.mark.parametrize(
    ("name", "medium", "channel", "touchpoint"),
    [
        ("Product Viewed", "", "", "site"),
        ("Product Viewed", "cpc", "web", "paid_search"),
        ("product_viewed", "Organic", "", "organic_search"),
        ("Order Completed", "cpc", "web", "site.order"),  # a purchase step outweighs how the visit began
        ("order_completed", "", "", "site.order"),
        ("Order Completed", "cpc", "POS", "store"),  # where it happened offline outweighs all
        ("Product Viewed", "cpc", "call_center", "call_center"),
        ("Product Viewed", "", "mobile", "app"),
        ("Product Viewed", "email", "mobile", "email"),
        ("Unheard Of", "unheard of", "unheard of", "site"),
    ],
)
def test_a_contact_is_found(name: str, medium: str, channel: str, touchpoint: str) -> None:
    registry = Touchpoints()
    assert registry.by_event[name, medium, channel] == touchpoint
    assert registry.by_event[name, medium, channel] == touchpoint


def test_every_default_leads_to_a_touchpoint_that_exists() -> None:
    registry = Touchpoints()
    channels = ("", "mobile", "screen", "store", "pos", "call_center")
    mediums = ("", "cpc", "ppc", "paid", "organic", "social", "affiliate", "referral", "email")
    found = {
        registry.by_event[name, medium, channel]
        for name in (*KNOWN_EVENT_NAMES, "page")
        for medium in mediums
        for channel in channels
    }
    assert found == set(DEFAULT_TOUCHPOINTS)


def test_what_a_contact_is() -> None:
    kinds = {name: (t.direct, t.online, t.phase) for name, t in DEFAULT_TOUCHPOINTS.items()}
    assert kinds["site"] == (True, True, "before")
    assert kinds["site.checkout"] == (True, True, "during")
    assert kinds["service.order"] == (True, True, "after")
    assert kinds["affiliate"] == (False, True, "before")
    assert kinds["store"] == (True, False, "during")


def test_a_shops_own_rules_come_first_and_all_of_a_rule_must_match() -> None:
    registry = Touchpoints(
        {"quiz": Touchpoint("web"), "site": Touchpoint("shop")},
        (Rule("quiz", name="quiz_done", medium="Social"), Rule("affiliate", channel="partner")),
    )
    assert registry.by_event["Quiz Done", "social", "web"] == "quiz"
    assert registry.by_event["Quiz Done", "email", "web"] == "email"
    assert registry.by_event["Order Completed", "", "Partner"] == "affiliate"
    assert registry.by_name["site"].channel == "shop"
    assert registry.by_name["email"] == DEFAULT_TOUCHPOINTS["email"]


def test_a_rule_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected one of") as caught:
        Touchpoints(rules=(Rule("site"), Rule("nowhere")))
    known = ", ".join(sorted(DEFAULT_TOUCHPOINTS))
    assert str(caught.value) == (
        f"Expected one of {known}, got `nowhere` - at `touchpoint_rules[1].touchpoint`"
    )


def test_names_from_outside_do_not_pile_up() -> None:
    registry = Touchpoints()
    for number in range(12_000):
        assert registry.by_event[f"name {number}", "", ""] == "site"
    assert len(registry.by_event) <= 10_000
