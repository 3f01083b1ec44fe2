"""What the shop's servers send after a visit: order changes and emails, with their opens and clicks."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from bench.shop.events import DAY_MS, HOUR_MS, LIBRARY, MINUTE_MS, Faults, SimEvent, Wire
from bench.shop.people import Person
from bench.shop.visit import Visit, cart_products
from bench.shop.words import CURRENCY, SITE

_SERVER = {"library": LIBRARY, "userAgent": "simulated-server/1"}


class Afterwards(NamedTuple):
    """Events still to come, and when a click in an email brings the person back (None: no click)."""

    events: list[SimEvent]
    click_ms: int | None
    campaign: str


def follow_up(visit: Visit, rng: Random, token: str, faults: Faults) -> Afterwards:
    """The servers' events after `visit`. Emails go to customers who agreed; they know the userId only."""
    person = visit.person
    wire = Wire("", _SERVER, f"srv-{token}", user_id=person.user_id, faults=faults)
    if visit.ordered and person.user_id:
        _order_news(visit, wire, rng)
    if not (person.signed_up and person.mail_ok):
        return Afterwards(wire.out, None, "")
    if visit.ordered:
        campaign, subject, sent_ms = "order-thanks", "Your order is on its way", visit.now_ms + 2 * MINUTE_MS
    elif visit.device.cart and visit.device.user_id:
        campaign, subject = "cart-recovery", "You left something in your cart"
        sent_ms = visit.now_ms + int((1 + 3 * rng.random()) * HOUR_MS)
    elif rng.random() < 0.25:
        campaign, subject = "newsletter", "Slow mornings, long trails"
        sent_ms = visit.now_ms + int((0.5 + 4 * rng.random()) * DAY_MS)
    else:
        return Afterwards(wire.out, None, "")
    return Afterwards(wire.out, _mail(person, wire, rng, campaign, subject, sent_ms), campaign)


def _order_news(visit: Visit, wire: Wire, rng: Random) -> None:
    for order_id, lines, total in visit.ordered:
        u = rng.random()
        order: dict[str, Any] = {
            "order_id": order_id,
            "total": total,
            "currency": CURRENCY,
            "products": cart_products(lines),
        }
        if u < 0.03:
            wire.track("Order Cancelled", visit.now_ms + int(rng.random() * 6 * HOUR_MS) + MINUTE_MS, order)
            continue
        shipped_ms = visit.now_ms + int((6 + 30 * rng.random()) * HOUR_MS)
        wire.track("Order Updated", shipped_ms, {**order, "status": "shipped"})
        if u < 0.1:
            wire.track("Order Refunded", shipped_ms + int((4 + 9 * rng.random()) * DAY_MS), order)


def _mail(person: Person, wire: Wire, rng: Random, campaign: str, subject: str, at_ms: int) -> int | None:
    """One email: delivered, perhaps opened, clicked, or the last one; returns the time of a click."""
    about = {
        "campaign_id": campaign,
        "campaign_name": campaign,
        "email_id": f"{campaign}-{person.number}-{person.visits}",
        "email_subject": subject,
    }
    wire.track("Email Delivered", at_ms, about)
    if rng.random() > 0.42:
        return None
    opened_ms = at_ms + int(MINUTE_MS * 600.0 ** rng.random())
    wire.track("Email Opened", opened_ms, about)
    if rng.random() < 0.02:
        person.mail_ok = False
        wire.track("Unsubscribed", opened_ms + 20_000, about)
        return None
    if rng.random() > 0.3:
        return None
    clicked_ms = opened_ms + 4_000 + int(rng.random() * 40_000)
    link = {
        "link_id": "main",
        "link_url": f"{SITE}/?utm_source=newsletter&utm_medium=email&utm_campaign={campaign}",
    }
    wire.track("Email Link Clicked", clicked_ms, {**about, **link})
    return clicked_ms
