"""The cart and the orders of a profile: what events put in, take out, order and give back."""

from __future__ import annotations

import msgspec

from recsys.draft import Draft
from recsys.events import Action, Event, Line
from recsys.profile import MAX_CART_LINES, MAX_ORDER_ITEMS, MAX_ORDERS, CartLine, Order

CART_ADD, CART_REMOVE, CART_VIEW = Action.CART_ADD, Action.CART_REMOVE, Action.CART_VIEW
ORDER, ORDER_UPDATE = Action.ORDER, Action.ORDER_UPDATE


def cart_after(cart: tuple[CartLine, ...], event: Event) -> tuple[CartLine, ...]:
    """The cart after an event; the same object where it changes nothing."""
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
        return without_ordered(cart, event)
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


def without_ordered(cart: tuple[CartLine, ...], event: Event) -> tuple[CartLine, ...]:
    """What an order leaves in the cart. An order that names no products is taken for all of it."""
    if not event.lines:
        return tuple(line for line in cart if line.at_s * 1000 > event.at_ms)
    ordered = {line.item for line in event.lines}
    return tuple(line for line in cart if line.item not in ordered or line.at_s * 1000 > event.at_ms)


def place_order(draft: Draft, event: Event) -> bool:
    """Whether it is one: the same order told twice (browser and server) is counted once."""
    order_id = event.order_id or event.message_id
    if any(order.order_id == order_id for order in draft.orders):
        return False
    value = _value(event) or 0.0
    items = tuple(line.item for line in event.lines[:MAX_ORDER_ITEMS])
    updated_ms = event.at_ms if event.action is ORDER_UPDATE else 0
    placed = Order(order_id, event.at_ms // 1000, value, items, updated_ms=updated_ms)
    orders = (*draft.orders, placed)
    draft.orders = tuple(sorted(orders, key=lambda order: (order.at_s, order.order_id))[-MAX_ORDERS:])
    draft.order_count += 1
    draft.order_value = round(draft.order_value + value, 2)
    return True


def update_order(draft: Draft, event: Event) -> bool:
    """The shop says anew what an order holds. Whether that is the first that is heard of it: then it
    is placed with what it says, for a server may know of an order that no browser lived to tell."""
    index = next((n for n, order in enumerate(draft.orders) if order.order_id == event.order_id), None)
    if index is None:
        # Among as many as are kept it may be one that was counted and has been forgotten.
        is_told = event.order_id is not None and (event.lines or event.value is not None)
        return bool(is_told) and len(draft.orders) < MAX_ORDERS and place_order(draft, event)
    order = draft.orders[index]
    if order.refunded or event.at_ms < order.updated_ms:  # what is over stays so; the newest word counts
        return False
    value = _value(event)
    after = msgspec.structs.replace(
        order,
        value=order.value if value is None else value,
        items=tuple(line.item for line in event.lines[:MAX_ORDER_ITEMS]) or order.items,
        updated_ms=event.at_ms,
    )
    draft.orders = (*draft.orders[:index], after, *draft.orders[index + 1 :])
    draft.order_value = round(draft.order_value + after.value - order.value, 2)
    return False


def _value(event: Event) -> float | None:
    """What an order is worth by an event: its total, or that of its lines; None where it names neither."""
    if event.value is not None:
        return max(event.value, 0.0)
    if all(line.price is None for line in event.lines):
        return None
    return sum((line.price or 0.0) * line.quantity for line in event.lines)


def undo(draft: Draft, event: Event) -> None:
    """An order was cancelled or refunded, wholly or in part."""
    for index, order in enumerate(draft.orders):
        if order.order_id == event.order_id and not order.refunded:
            part = _refunded_part(order, event)
            if part is not None:  # it lowers the value and leaves the order standing
                after = msgspec.structs.replace(order, value=round(order.value - part, 2))
            else:
                after = msgspec.structs.replace(order, refunded=True)
                draft.order_count -= 1
            draft.orders = (*draft.orders[:index], after, *draft.orders[index + 1 :])
            draft.order_value = round(draft.order_value - (order.value if part is None else part), 2)
            return


def _refunded_part(order: Order, event: Event) -> float | None:
    """What a refund gives back of an order that stands; None: all of it, as a cancellation does."""
    if event.action is Action.ORDER_CANCEL:
        return None
    if event.value is not None:
        back = abs(event.value)  # some shops send what they give back as a minus
        return back if back < order.value else None
    returned = {line.item for line in event.lines}
    if not returned or returned.issuperset(order.items):
        return None
    return min(sum((line.price or 0.0) * line.quantity for line in event.lines), order.value)
