"""apply(profile, event) -> (profile, effects): how one event changes what is known of a person.

Pure functions on immutable values. Time comes with the event. Reading from the top: the fold of an
event in order, the fold of one that comes too late, then each part of a profile in turn. The merge
of two profiles at login is `recsys.merge`; what a profile shows of intent, `recsys.intent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec

from recsys.catalog import split_category
from recsys.events import ITEM_ACTIONS, Action, Event, Line
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

# By name of their own: an enum's members are slow to look up, and this is the hottest code of the flow.
VIEW, READ, LIST_VIEW, SEARCH = Action.VIEW, Action.READ, Action.LIST_VIEW, Action.SEARCH
CART_ADD, CART_REMOVE, CART_VIEW = Action.CART_ADD, Action.CART_REMOVE, Action.CART_VIEW
CHECKOUT, ORDER, LEAVE, LOGOUT = Action.CHECKOUT, Action.ORDER, Action.LEAVE, Action.LOGOUT
EMAIL_CLICK = Action.EMAIL_CLICK

HALF_LIFE_S = 14 * 86_400
"""After two weeks a preference counts half."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """When a session ends."""

    gap_ms: int = 30 * 60_000
    cap_ms: int = 24 * 3_600_000


class Effect(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that followed from an event, for triggers, counts and journeys."""

    kind: Literal["session_started", "session_ended", "cart_changed", "order_placed", "order_undone"]
    at_ms: int


NO_EFFECTS: tuple[Effect, ...] = ()

# Mail that goes out or bounces is nothing the person did, and mail clients open mail by themselves:
# these neither open nor prolong a session.
_PASSIVE = frozenset(
    (
        Action.EMAIL_SENT,
        Action.EMAIL_OPEN,
        Action.EMAIL_FAIL,
        Action.UNSUBSCRIBE,
        Action.SUBSCRIBE,
        Action.REFUND,
        Action.ORDER_UPDATE,
        Action.ORDER_CANCEL,
        Action.GROUP,
    )
)
_CART = frozenset((CART_ADD, CART_REMOVE, CART_VIEW, ORDER))
_CATEGORY_WEIGHT = {
    Action.VIEW: 1.0,
    Action.CLICK: 0.5,
    Action.LIST_VIEW: 0.5,
    Action.READ: 0.7,
    Action.WISH: 2.0,
    Action.CART_ADD: 3.0,
    Action.ORDER: 4.0,
}


def apply(profile: Profile, event: Event, rules: SessionRules) -> tuple[Profile, tuple[Effect, ...]]:
    """Fold an event that is not older than anything the profile has seen."""
    action = event.action
    if action in _PASSIVE or (action is LEAVE and not _sits(profile, event, rules)):
        return _apply_passive(profile, event)
    session, effects = _session_at(profile, event, rules)
    placed = _ordered(profile, event) if action is ORDER else {}
    learnable = _learnable(profile, event)
    changed: dict[str, object] = {
        "first_ms": profile.first_ms or event.at_ms,
        "last_ms": max(profile.last_ms, event.at_ms),
        "events": profile.events + 1,
    }
    if event.consent is not None:
        changed.update(_consented(profile, event))
    changed["session"] = _count(session, event, learnable, bool(placed))
    if effects:
        changed["sessions"] = profile.sessions + 1
    if event.blocked_ids:
        changed["blocked_ids"] = profile.blocked_ids + event.blocked_ids
    if effects or action is EMAIL_CLICK:  # one count a visit, and one for each answer to a mail
        changed["channels"] = leaning(profile.channels, ((event.touchpoint, 1.0),), event.at_ms // 1000)
    if learnable and (placed or action is not ORDER):
        _learn(changed, profile, event)
    cart = _cart_after(profile.cart, event) if action in _CART else profile.cart
    if cart is not profile.cart:
        changed["cart"], changed["cart_ms"] = cart, event.at_ms
        effects += (Effect("cart_changed", event.at_ms),)
    if placed:
        changed.update(placed)
        effects += (Effect("order_placed", event.at_ms),)
    return msgspec.structs.replace(profile, **changed), effects


def apply_late(profile: Profile, event: Event) -> Profile:
    """Fold an event older than the lateness allowed: totals are corrected, sessions stay closed
    and what is newer stays as it is."""
    changed: dict[str, object] = {
        "first_ms": min(profile.first_ms or event.at_ms, event.at_ms),
        "last_ms": max(profile.last_ms, event.at_ms),
        "events": profile.events + 1,
        "late_events": profile.late_events + 1,
    }
    placed = _ordered(profile, event) if event.action is ORDER else {}
    if event.consent is not None:
        changed.update(_consented(profile, event))
    refused = changed.get("personalization", profile.personalization) is False
    if not refused and _learnable(profile, event) and (placed or event.action is not ORDER):
        _learn(changed, profile, event)
    if event.action is ORDER:
        changed.update(placed)
        changed["cart"] = _without_ordered(profile.cart, event)
    elif event.action in (Action.REFUND, Action.ORDER_CANCEL):
        changed.update(_undone(profile, event))
    return msgspec.structs.replace(profile, **changed)


def touch_time(touch: Touch) -> int:
    return touch.at_s


def _apply_passive(profile: Profile, event: Event) -> tuple[Profile, tuple[Effect, ...]]:
    changed: dict[str, object] = {
        "first_ms": profile.first_ms or event.at_ms,
        "last_ms": max(profile.last_ms, event.at_ms),
        "events": profile.events + 1,
    }
    effects = NO_EFFECTS
    if event.consent is not None:
        changed.update(_consented(profile, event))
    if event.action in (Action.REFUND, Action.ORDER_CANCEL):
        changed.update(_undone(profile, event))
        effects = (Effect("order_undone", event.at_ms),)
    elif event.action is Action.EMAIL_OPEN:
        changed["channels"] = leaning(profile.channels, ((event.touchpoint, 1.0),), event.at_ms // 1000)
    elif event.action is Action.GROUP:
        changed["group"] = (event.group_id or profile.group)[:100]
    return msgspec.structs.replace(profile, **changed), effects


def _sits(profile: Profile, event: Event, rules: SessionRules) -> bool:
    """Whether a session is open: a page left in a tab for hours is no new visit."""
    return profile.session is not None and is_open(profile.session, event.at_ms, rules)


def _learnable(profile: Profile, event: Event) -> bool:
    """A person who said no is served and billed, and leaves no trail of tastes."""
    if event.consent is not None and event.consent.personalization is not None:
        return event.consent.personalization
    return profile.personalization is not False


def _session_at(profile: Profile, event: Event, rules: SessionRules) -> tuple[Session, tuple[Effect, ...]]:
    session = profile.session
    if session is not None and is_open(session, event.at_ms, rules):
        return session, NO_EFFECTS
    started = Effect("session_started", event.at_ms)
    fresh = Session(event.at_ms, event.at_ms, source=event.source, device=(event.device or "")[:32])
    if session is None:
        return fresh, (started,)
    return fresh, (Effect("session_ended", session.last_ms), started)


def is_open(session: Session, at_ms: int, rules: SessionRules) -> bool:
    """Whether an event at `at_ms` belongs to the session: gap, cap, logout."""
    return (
        not session.closed
        and at_ms - session.last_ms <= rules.gap_ms
        and at_ms - session.start_ms < rules.cap_ms
    )


def _count(session: Session, event: Event, learnable: bool, placed: bool) -> Session:
    action, at_ms = event.action, event.at_ms
    category = session.category
    if event.lines and event.lines[0].category:
        category = event.lines[0].category[:100]
    elif event.category:
        category = event.category[:100]
    return Session(
        session.start_ms,
        max(session.last_ms, at_ms),
        session.events + 1,
        session.views + (action is VIEW),
        session.reads + (action is READ),
        session.lists + (action is LIST_VIEW),
        session.searches + (action is SEARCH),
        session.cart_adds + (action is CART_ADD),
        session.checkouts + (action is CHECKOUT),
        session.orders + placed,
        session.dwell_s + event.dwell_s if event.dwell_s else session.dwell_s,
        _with_query(session.queries, event.query) if learnable else (),
        session.source or event.source,
        session.device or (event.device or "")[:32],
        action is LOGOUT,
        category if learnable else "",
    )


def _with_query(queries: tuple[str, ...], query: str | None) -> tuple[str, ...]:
    if not query or query[:100] in queries:
        return queries
    return (*queries, query[:100])[-MAX_QUERIES:]


def _consented(profile: Profile, event: Event) -> dict[str, object]:
    said = event.consent
    assert said is not None
    changed: dict[str, object] = {"consent_ms": max(event.at_ms, profile.consent_ms)}
    newest = event.at_ms >= profile.consent_ms  # an older word counts only where nothing newer was said
    if said.personalization is not None and (newest or profile.personalization is None):
        changed["personalization"] = said.personalization
        if not said.personalization:  # what was learned before is forgotten with the consent
            changed.update(touches=(), categories=(), session=forgetful(profile.session))
    if said.email is not None and (newest or profile.email is None):
        changed["email"] = said.email
    return changed


def forgetful(session: Session | None) -> Session | None:
    """The session without what it tells of tastes."""
    return None if session is None else msgspec.structs.replace(session, queries=(), category="")


def _learn(changed: dict[str, object], profile: Profile, event: Event) -> None:
    at_s = event.at_ms // 1000
    if event.action in ITEM_ACTIONS and event.lines:
        changed["touches"] = _touched(profile.touches, event, at_s)
    elif event.action is LEAVE and event.dwell_s:
        changed["touches"] = _dwelt(profile.touches, event)
    weight = _CATEGORY_WEIGHT.get(event.action)
    if weight is not None:
        leaves = {leaf_of(line.category): weight for line in event.lines[:5] if line.category}
        if not leaves and event.category:
            leaves = {leaf_of(event.category): weight}
        if leaves:
            changed["categories"] = leaning(profile.categories, tuple(leaves.items()), at_s)


@lru_cache(maxsize=20_000)
def leaf_of(category: str) -> str:
    """The last part of "A > B > C" or "A/B/C/"."""
    parts = split_category(category)
    return parts[-1][:60] if parts else category[:60]


def _touched(touches: tuple[Touch, ...], event: Event, at_s: int) -> tuple[Touch, ...]:
    action = int(event.action)
    dwell_s = event.dwell_s or 0.0
    new = tuple(Touch(line.item, action, at_s, dwell_s) for line in event.lines[:MAX_ORDER_ITEMS])
    last = touches[-1] if touches else None
    if last is not None and at_s < last.at_s:  # a late one goes to its place, if that is still kept
        return tuple(sorted((*touches, *new), key=touch_time)[-MAX_TOUCHES:])
    # Page views fire twice, and a reload is no second interest: consecutive repeats are one.
    if last is not None and len(new) == 1 and (last.item, last.action) == (new[0].item, action):
        return (*touches[:-1], Touch(last.item, action, at_s, last.dwell_s + dwell_s))
    return (touches + new)[-MAX_TOUCHES:]


def _dwelt(touches: tuple[Touch, ...], event: Event) -> tuple[Touch, ...]:
    """A page-leave event adds its dwell to the item it names, else to the last one looked at."""
    named = event.lines[0].item if event.lines else None
    for index in range(len(touches) - 1, -1, -1):
        touch = touches[index]
        if named is None or touch.item == named:
            longer = Touch(touch.item, touch.action, touch.at_s, touch.dwell_s + (event.dwell_s or 0.0))
            return (*touches[:index], longer, *touches[index + 1 :])
    return touches


def leaning(
    known: tuple[Affinity, ...], gained: tuple[tuple[str, float], ...], at_s: int
) -> tuple[Affinity, ...]:
    """The affinities after gaining weights at `at_s`; the strongest are kept."""
    for name, gain in gained:
        known = _leant(known, name, gain, at_s)
    if len(known) <= MAX_AFFINITIES:
        return known
    now_s = max(affinity.at_s for affinity in known)
    ranked = sorted(known, key=lambda a: (-a.weight * _decay(now_s - a.at_s), a.name))
    return tuple(ranked[:MAX_AFFINITIES])


def _leant(known: tuple[Affinity, ...], name: str, gain: float, at_s: int) -> tuple[Affinity, ...]:
    for index, before in enumerate(known):
        if before.name == name:
            # Either may be the newer (late events): both weights are brought to the later time.
            now_s = max(at_s, before.at_s)
            weight = gain * _decay(now_s - at_s) + before.weight * _decay(now_s - before.at_s)
            return (*known[:index], Affinity(name, round(weight, 3), now_s), *known[index + 1 :])
    return (*known, Affinity(name, gain, at_s))


def _decay(age_s: int) -> float:
    return 1.0 if age_s == 0 else float(0.5 ** (age_s / HALF_LIFE_S))


def _cart_after(cart: tuple[CartLine, ...], event: Event) -> tuple[CartLine, ...]:
    action, at_s = event.action, event.at_ms // 1000
    if action is CART_ADD and event.lines:
        for line in event.lines:
            cart = _with_line(cart, line, at_s)
        return cart[-MAX_CART_LINES:]
    if action is CART_REMOVE and event.lines:
        for line in event.lines:
            cart = _less_line(cart, line, at_s)
        return cart
    if action is CART_VIEW and (event.lines or event.value == 0):  # the shop's own word on it
        seen: tuple[CartLine, ...] = ()
        for line in event.lines:
            seen = _with_line(seen, line, at_s)
        return seen[-MAX_CART_LINES:] if seen or cart else cart
    if action is ORDER and cart:
        return _without_ordered(cart, event)
    return cart


def _with_line(cart: tuple[CartLine, ...], line: Line, at_s: int) -> tuple[CartLine, ...]:
    for index, held in enumerate(cart):
        if held.item == line.item:
            price = line.price if line.price is not None else held.price
            more = CartLine(held.item, held.quantity + line.quantity, price, at_s)
            return (*cart[:index], more, *cart[index + 1 :])
    return (*cart, CartLine(line.item, line.quantity, line.price, at_s))


def _less_line(cart: tuple[CartLine, ...], line: Line, at_s: int) -> tuple[CartLine, ...]:
    for index, held in enumerate(cart):
        if held.item == line.item:
            left = held.quantity - line.quantity
            rest = (CartLine(held.item, left, held.price, at_s),) if left > 0 else ()
            return (*cart[:index], *rest, *cart[index + 1 :])
    return cart


def _without_ordered(cart: tuple[CartLine, ...], event: Event) -> tuple[CartLine, ...]:
    """What an order leaves in the cart. An order that names no products is taken for all of it."""
    if not event.lines:
        return tuple(line for line in cart if line.at_s * 1000 > event.at_ms)
    ordered = {line.item for line in event.lines}
    return tuple(line for line in cart if line.item not in ordered or line.at_s * 1000 > event.at_ms)


def _ordered(profile: Profile, event: Event) -> dict[str, object]:
    order_id = event.order_id or event.message_id
    if any(order.order_id == order_id for order in profile.orders):
        return {}  # the same order told twice (browser and server): counted once
    value = event.value
    if value is None:
        value = sum((line.price or 0.0) * line.quantity for line in event.lines)
    items = tuple(line.item for line in event.lines[:MAX_ORDER_ITEMS])
    orders = (*profile.orders, Order(order_id, event.at_ms // 1000, value, items))
    return {
        "orders": tuple(sorted(orders, key=lambda order: (order.at_s, order.order_id))[-MAX_ORDERS:]),
        "order_count": profile.order_count + 1,
        "order_value": round(profile.order_value + value, 2),
    }


def _undone(profile: Profile, event: Event) -> dict[str, object]:
    for index, order in enumerate(profile.orders):
        if order.order_id == event.order_id and not order.refunded:
            part = _refunded_part(order, event)
            if part is not None:  # it lowers the value and leaves the order standing
                after = msgspec.structs.replace(order, value=round(order.value - part, 2))
            else:
                after = msgspec.structs.replace(order, refunded=True)
            return {
                "orders": (*profile.orders[:index], after, *profile.orders[index + 1 :]),
                "order_count": profile.order_count - (part is None),
                "order_value": round(profile.order_value - (order.value if part is None else part), 2),
            }
    return {}


def _refunded_part(order: Order, event: Event) -> float | None:
    """What a refund gives back of an order that stands; None: all of it, as a cancellation does."""
    if event.action is Action.ORDER_CANCEL:
        return None
    if event.value is not None:
        return event.value if 0 < event.value < order.value else None
    returned = {line.item for line in event.lines}
    if not returned or returned.issuperset(order.items):
        return None
    return min(sum((line.price or 0.0) * line.quantity for line in event.lines), order.value)
