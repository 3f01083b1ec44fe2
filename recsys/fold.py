"""apply(profile, event) -> (profile, effects): how one event changes what is known of a person.

`apply` is pure; what it does is written once, as `fold`, which changes a draft of the profile in
place and is what the stages use. Time comes with the event. Reading from the top: the fold of an
event in order, the fold of one that comes too late, then each part of a profile in turn. The merge
of two profiles at login is `recsys.merge`; what a profile shows of intent, `recsys.intent`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec

from recsys.cart import cart_after, place_order, undo, update_order, without_ordered
from recsys.catalog import split_category
from recsys.draft import Draft, DraftSession, freeze, thaw
from recsys.events import ITEM_ACTIONS, Action, Event
from recsys.leanings import keep_strongest, lean
from recsys.profile import (
    MAX_AFFINITIES,
    MAX_ORDER_ITEMS,
    MAX_QUERIES,
    MAX_TOUCHES,
    Profile,
    Session,
    Touch,
)

# By name of their own: an enum's members are slow to look up, and this is the hottest code of the flow.
VIEW, READ, LIST_VIEW, SEARCH = Action.VIEW, Action.READ, Action.LIST_VIEW, Action.SEARCH
CART_ADD, CART_REMOVE, CART_VIEW = Action.CART_ADD, Action.CART_REMOVE, Action.CART_VIEW
CHECKOUT, ORDER, LEAVE, LOGOUT = Action.CHECKOUT, Action.ORDER, Action.LEAVE, Action.LOGOUT
ORDER_UPDATE = Action.ORDER_UPDATE
EMAIL_CLICK, EMAIL_OPEN, GROUP = Action.EMAIL_CLICK, Action.EMAIL_OPEN, Action.GROUP


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
        ORDER_UPDATE,
        Action.ORDER_CANCEL,
        Action.GROUP,
    )
)
_CART = frozenset((CART_ADD, CART_REMOVE, CART_VIEW, ORDER))
_UNDOING = frozenset((Action.REFUND, Action.ORDER_CANCEL))
_COUNTED = frozenset((READ, LIST_VIEW, SEARCH, CART_ADD, CHECKOUT))
"""What a session counts by name, beside views and orders."""
_CATEGORY_WEIGHT = {
    Action.VIEW: 1.0,
    Action.CLICK: 0.5,
    Action.LIST_VIEW: 0.5,
    Action.READ: 0.7,
    Action.WISH: 2.0,
    Action.CART_ADD: 3.0,
    Action.ORDER: 4.0,
}

_TEACHING = frozenset((*_CATEGORY_WEIGHT, *ITEM_ACTIONS, LEAVE))
"""Actions of which something is learned: all others need not be looked at."""


def apply(profile: Profile, event: Event, rules: SessionRules) -> tuple[Profile, tuple[Effect, ...]]:
    """Fold an event that is not older than anything the profile has seen."""
    draft = thaw(profile)
    effects = fold(draft, event, rules)
    return freeze(draft), effects


def fold(draft: Draft, event: Event, rules: SessionRules) -> tuple[Effect, ...]:
    """`apply` to a draft in place: what the flow does with nearly every event."""
    action, at_ms = event.action, event.at_ms
    if action in _PASSIVE or (action is LEAVE and not _sits(draft, event, rules)):
        return _fold_passive(draft, event)
    effects = NO_EFFECTS
    session = draft.session
    if (  # `is_open`, written out: a call costs as much as the question
        session is None
        or session.closed
        or at_ms - session.last_ms > rules.gap_ms
        or at_ms - session.start_ms >= rules.cap_ms
    ):
        effects = _started(draft, event)
        session = draft.session
        assert session is not None
        draft.sessions += 1
    said = event.consent
    learnable = draft.personalization is not False  # `_learnable` and `_seen`, written out likewise
    if said is not None and said.personalization is not None:
        learnable = said.personalization
    if not draft.first_ms:
        draft.first_ms = at_ms
    if at_ms > draft.last_ms:  # noqa: PLR1730 (`max` costs ten times as much)
        draft.last_ms = at_ms
    draft.events += 1
    if said is not None:
        if (
            said.email is None
            and said.personalization
            and draft.personalization
            and at_ms >= draft.consent_ms  # what was said before is said again, as nearly always
        ):
            draft.consent_ms = at_ms
        else:
            _consent(draft, event)
    placed = action is ORDER and place_order(draft, event)
    _count(session, event, learnable, placed)
    if event.blocked_ids:
        draft.blocked_ids += event.blocked_ids
    if effects or action is EMAIL_CLICK:  # one count a visit, and one for each answer to a mail
        _channel(draft, event)
    if learnable and action in _TEACHING and (placed or action is not ORDER):
        _learn(draft, event)
    if action in _CART:
        cart = cart_after(draft.cart, event)
        if cart is not draft.cart:
            draft.cart, draft.cart_ms = cart, at_ms
            effects += (Effect("cart_changed", at_ms),)
    if placed:
        effects += (Effect("order_placed", at_ms),)
    return effects


def fold_late(draft: Draft, event: Event) -> None:
    """Fold an event older than the lateness allowed: totals are corrected, sessions stay closed
    and what is newer stays as it is."""
    action = event.action
    learnable = _learnable(draft, event)
    draft.first_ms = min(draft.first_ms or event.at_ms, event.at_ms)
    draft.last_ms = max(draft.last_ms, event.at_ms)
    draft.events += 1
    draft.late_events += 1
    placed = action is ORDER and place_order(draft, event)
    if event.consent is not None:
        _consent(draft, event)
    if draft.personalization is not False and learnable and (placed or action is not ORDER):
        _learn(draft, event)
    if action is ORDER:
        draft.cart = without_ordered(draft.cart, event)
    elif action in _UNDOING:
        undo(draft, event)
    elif action is ORDER_UPDATE and update_order(draft, event):
        draft.cart = without_ordered(draft.cart, event)


def touch_time(touch: Touch) -> int:
    """What touches are sorted by: epoch seconds."""
    return touch.at_s


def _fold_passive(draft: Draft, event: Event) -> tuple[Effect, ...]:
    action = event.action
    _seen(draft, event)
    if event.consent is not None:
        _consent(draft, event)
    if action in _UNDOING:
        undo(draft, event)
        return (Effect("order_undone", event.at_ms),)
    if action is ORDER_UPDATE:
        return _fold_update(draft, event)
    if action is EMAIL_OPEN:
        _channel(draft, event)
    elif action is GROUP:
        draft.group = (event.group_id or draft.group)[:100]
    return NO_EFFECTS


def _fold_update(draft: Draft, event: Event) -> tuple[Effect, ...]:
    if not update_order(draft, event):
        return NO_EFFECTS
    placed = Effect("order_placed", event.at_ms)
    cart = without_ordered(draft.cart, event)
    if cart == draft.cart:
        return (placed,)
    draft.cart, draft.cart_ms = cart, event.at_ms
    return (Effect("cart_changed", event.at_ms), placed)


def _seen(draft: Draft, event: Event) -> None:
    at_ms = event.at_ms
    if not draft.first_ms:
        draft.first_ms = at_ms
    if at_ms > draft.last_ms:  # noqa: PLR1730 (`max` costs ten times as much)
        draft.last_ms = at_ms
    draft.events += 1


def _sits(draft: Draft, event: Event, rules: SessionRules) -> bool:
    """Whether a session is open: a page left in a tab for hours is no new visit."""
    return draft.session is not None and is_open(draft.session, event.at_ms, rules)


def _learnable(draft: Draft, event: Event) -> bool:
    """A person who said no is served and billed, and leaves no trail of tastes."""
    consent = event.consent
    if consent is not None and consent.personalization is not None:
        return consent.personalization
    return draft.personalization is not False


def _started(draft: Draft, event: Event) -> tuple[Effect, ...]:
    """A new session takes the place of the one before."""
    before, at_ms = draft.session, event.at_ms
    draft.session = DraftSession(at_ms, at_ms, source=event.source, device=(event.device or "")[:32])
    started = Effect("session_started", at_ms)
    return (started,) if before is None else (Effect("session_ended", before.last_ms), started)


def is_open(session: Session | DraftSession, at_ms: int, rules: SessionRules) -> bool:
    """Whether an event at `at_ms` belongs to the session: gap, cap, logout."""
    return (
        not session.closed
        and at_ms - session.last_ms <= rules.gap_ms
        and at_ms - session.start_ms < rules.cap_ms
    )


def _count(session: DraftSession, event: Event, learnable: bool, placed: bool) -> None:
    action, at_ms, lines = event.action, event.at_ms, event.lines
    if at_ms > session.last_ms:  # noqa: PLR1730 (`max` costs ten times as much)
        session.last_ms = at_ms
    session.events += 1
    if action is VIEW:
        session.views += 1
    elif action in _COUNTED:
        _count_by_name(session, action)
    if placed:  # an order that is new
        session.orders += 1
    if event.dwell_s:
        session.dwell_s += event.dwell_s
    if session.source is None:
        session.source = event.source
    if not session.device and event.device:
        session.device = event.device[:32]
    if action is LOGOUT:
        session.closed = True
    if not learnable:
        session.queries, session.category = (), ""
        return
    if event.query:
        session.queries = _with_query(session.queries, event.query)
    category = (lines[0].category if lines else None) or event.category
    if category:
        session.category = category if len(category) <= 100 else category[:100]


def _count_by_name(session: DraftSession, action: Action) -> None:
    if action is LIST_VIEW:
        session.lists += 1
    elif action is READ:
        session.reads += 1
    elif action is SEARCH:
        session.searches += 1
    elif action is CART_ADD:
        session.cart_adds += 1
    else:
        session.checkouts += 1


def _with_query(queries: tuple[str, ...], query: str | None) -> tuple[str, ...]:
    if not query or query[:100] in queries:
        return queries
    return (*queries, query[:100])[-MAX_QUERIES:]


def _consent(draft: Draft, event: Event) -> None:
    said = event.consent
    assert said is not None
    newest = event.at_ms >= draft.consent_ms  # an older word counts only where nothing newer was said
    if newest:
        draft.consent_ms = event.at_ms
    if said.personalization is not None and (newest or draft.personalization is None):
        draft.personalization = said.personalization
        if not said.personalization:  # what was learned before is forgotten with the consent
            draft.touches, draft.categories = [], []
            if draft.session is not None:
                draft.session.queries, draft.session.category = (), ""
    if said.email is not None and (newest or draft.email is None):
        draft.email = said.email


def forgetful(session: Session | None) -> Session | None:
    """The session without what it tells of tastes."""
    return None if session is None else msgspec.structs.replace(session, queries=(), category="")


def _channel(draft: Draft, event: Event) -> None:
    lean(draft.channels, event.touchpoint, 1.0, event.at_ms // 1000)
    keep_strongest(draft.channels)


def _learn(draft: Draft, event: Event) -> None:
    at_s, action, lines = event.at_ms // 1000, event.action, event.lines
    if lines and action in ITEM_ACTIONS:
        _touch(draft, event, at_s)
    elif action is LEAVE and event.dwell_s:
        _dwell(draft.touches, event)
    weight = _CATEGORY_WEIGHT.get(action)
    if weight is None:
        return
    categories = draft.categories
    if not lines:
        leaves: Iterable[str] = ()
    elif len(lines) == 1:
        leaves = (leaf_of(lines[0].category),) if lines[0].category else ()
    else:
        leaves = dict.fromkeys([leaf_of(line.category) for line in lines[:5] if line.category])
    if not leaves and event.category:
        leaves = (leaf_of(event.category),)
    for leaf in leaves:
        lean(categories, leaf, weight, at_s)
    if len(categories) > MAX_AFFINITIES:
        keep_strongest(categories)


@lru_cache(maxsize=20_000)
def leaf_of(category: str) -> str:
    """The last part of "A > B > C" or "A/B/C/"."""
    parts = split_category(category)
    return parts[-1][:60] if parts else category[:60]


def _touch(draft: Draft, event: Event, at_s: int) -> None:
    touches, lines = draft.touches, event.lines
    action = event.action.real  # an int of its own: a fifth of what `int` costs
    dwell_s = event.dwell_s or 0.0
    last = touches[-1] if touches else None
    item = lines[0].item if len(lines) == 1 else None
    if item is not None and (last is None or (at_s >= last.at_s and last.item != item)):
        touches.append(Touch(item, action, at_s, dwell_s))
    # Page views fire twice, and a reload is no second interest: consecutive repeats are one.
    elif item is not None and last is not None and at_s >= last.at_s and last.action == action:
        touches[-1] = Touch(item, action, at_s, last.dwell_s + dwell_s)
    else:
        touches += [Touch(line.item, action, at_s, dwell_s) for line in lines[:MAX_ORDER_ITEMS]]
        if last is not None and at_s < last.at_s:  # a late one goes to its place, if that is still kept
            touches.sort(key=touch_time)
    if len(touches) > MAX_TOUCHES:
        del touches[:-MAX_TOUCHES]


def _dwell(touches: list[Touch], event: Event) -> None:
    """A page-leave event adds its dwell to the item it names, else to the last one looked at."""
    named = event.lines[0].item if event.lines else None
    for index in range(len(touches) - 1, -1, -1):
        touch = touches[index]
        if named is None or touch.item == named:
            dwell_s = touch.dwell_s + (event.dwell_s or 0.0)
            touches[index] = Touch(touch.item, touch.action, touch.at_s, dwell_s)
            return
