"""The merge at login: a visitor's profile becomes part of the customer's."""

from __future__ import annotations

import msgspec

from recsys.fold import forgetful, touch_time
from recsys.leanings import keep_strongest, lean
from recsys.profile import (
    MAX_CART_LINES,
    MAX_DEVICES,
    MAX_ORDERS,
    MAX_QUERIES,
    MAX_TOUCHES,
    Affinity,
    CartLine,
    Order,
    Profile,
    Session,
)


def absorb(person: Profile, visitor: Profile) -> Profile:
    """The customer's profile after a login: what the device did before it belongs to them."""
    newer, older = (visitor, person) if visitor.last_ms >= person.last_ms else (person, visitor)
    # The newer word counts, on each of the two questions that it answers.
    asked, before = (visitor, person) if visitor.consent_ms > person.consent_ms else (person, visitor)
    personalization = _first_said(asked.personalization, before.personalization)
    forgets = personalization is False
    session = _joined(person.session, visitor.session)
    orders, doubled = _joined_orders(person.orders, visitor.orders)
    touches = sorted((*person.touches, *visitor.touches), key=touch_time)
    return Profile(
        first_ms=min(filter(None, (person.first_ms, visitor.first_ms)), default=0),
        last_ms=newer.last_ms,
        session=forgetful(session) if forgets else session,
        touches=() if forgets else tuple(touches[-MAX_TOUCHES:]),
        cart=_joined_carts(_unordered(person.cart, visitor.orders), _unordered(visitor.cart, person.orders)),
        cart_ms=max(person.cart_ms, visitor.cart_ms),
        orders=orders,
        categories=() if forgets else _joined_leanings(older.categories, newer.categories),
        channels=_joined_leanings(older.channels, newer.channels),
        visitors=person.visitors,
        sessions=person.sessions + visitor.sessions - _overlap(person.session, visitor.session),
        events=person.events + visitor.events,
        order_count=person.order_count + visitor.order_count - len(doubled),
        order_value=round(person.order_value + visitor.order_value - sum(o.value for o in doubled), 2),
        personalization=personalization,
        email=_first_said(asked.email, before.email),
        consent_ms=asked.consent_ms,
        group=newer.group or older.group,
        late_events=person.late_events + visitor.late_events,
        blocked_ids=person.blocked_ids + visitor.blocked_ids,
        renamed=person.renamed,
        renamed_ms=person.renamed_ms,
        former=person.former,
    )


def _first_said(*answers: bool | None) -> bool | None:
    return next((answer for answer in answers if answer is not None), None)


def with_device(visitors: tuple[str, ...], device: str) -> tuple[str, ...]:
    """The devices of a customer and one more, the newest last; beyond `MAX_DEVICES` the oldest go."""
    return visitors if device in visitors else (*visitors, device)[-MAX_DEVICES:]


def _overlap(one: Session | None, other: Session | None) -> int:
    """1 when two sessions are one sitting (the visitor logged in during it)."""
    if one is None or other is None or one.closed or other.closed:
        return 0
    return int(one.start_ms <= other.last_ms and other.start_ms <= one.last_ms)


def _joined(one: Session | None, other: Session | None) -> Session | None:
    if one is None or other is None:
        return one or other
    later, earlier = (one, other) if one.last_ms >= other.last_ms else (other, one)
    if not _overlap(one, other):
        return later
    return Session(
        min(one.start_ms, other.start_ms),
        later.last_ms,
        one.events + other.events,
        one.views + other.views,
        one.reads + other.reads,
        one.lists + other.lists,
        one.searches + other.searches,
        one.cart_adds + other.cart_adds,
        one.checkouts + other.checkouts,
        one.orders + other.orders,
        one.dwell_s + other.dwell_s,
        tuple(dict.fromkeys((*earlier.queries, *later.queries)))[-MAX_QUERIES:],
        earlier.source or later.source,
        later.device or earlier.device,
        False,
        later.category or earlier.category,
    )


def _joined_carts(one: tuple[CartLine, ...], other: tuple[CartLine, ...]) -> tuple[CartLine, ...]:
    if not one or not other:
        return one or other
    lines: dict[str, CartLine] = {}
    for line in sorted((*one, *other), key=lambda line: line.at_s):
        lines[line.item] = line  # the same item on two devices: the newer word counts, never the sum
    return tuple(lines.values())[-MAX_CART_LINES:]


def _unordered(cart: tuple[CartLine, ...], orders: tuple[Order, ...]) -> tuple[CartLine, ...]:
    """What the other one's orders leave of a cart: a guest's order may come under a new user id alone,
    which never touched the cart, before the login does. One that names no products is for all of it."""
    if not cart or not orders:
        return cart
    return tuple([line for line in cart if not any(_took(order, line) for order in orders)])


def _took(order: Order, line: CartLine) -> bool:
    return order.at_s >= line.at_s and (not order.items or line.item in order.items)


def _joined_orders(one: tuple[Order, ...], other: tuple[Order, ...]) -> tuple[tuple[Order, ...], list[Order]]:
    """The orders of both, and those that the totals of both count: the browser told the visitor's
    profile, the shop's server the customer's."""
    if not one or not other:
        return one or other, []
    by_id = {order.order_id: order for order in one}
    doubled = []
    for order in other:
        known = by_id.get(order.order_id)
        if known is None:
            by_id[order.order_id] = order
            continue
        # What is over stays so; else the newest word on what it holds counts.
        is_known = (known.refunded, known.updated_ms) > (order.refunded, order.updated_ms)
        kept, left = (known, order) if is_known else (order, known)
        by_id[order.order_id] = msgspec.structs.replace(kept, at_s=min(known.at_s, order.at_s))
        if not left.refunded:
            doubled.append(left)
    in_order = sorted(by_id.values(), key=lambda order: (order.at_s, order.order_id))
    return tuple(in_order[-MAX_ORDERS:]), doubled


def _joined_leanings(older: tuple[Affinity, ...], newer: tuple[Affinity, ...]) -> tuple[Affinity, ...]:
    joined = list(older)
    for affinity in newer:
        lean(joined, affinity.name, affinity.weight, affinity.at_s)
        keep_strongest(joined)
    return tuple(joined)
