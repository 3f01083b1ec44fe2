"""Profiles folded from made events, and what the tests ask of them."""

from __future__ import annotations

from recsys.draft import freeze, thaw
from recsys.events import Action, Event, Line
from recsys.fold import SessionRules, apply, fold_late
from recsys.profile import Profile, Session
from tests.recsys.worlds import T0, event

RULES = SessionRules()
HOUR_S = 3600
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


def apply_late(profile: Profile, event: Event) -> Profile:
    """`fold_late` of a profile instead of a draft."""
    draft = thaw(profile)
    fold_late(draft, event)
    return freeze(draft)


def session_of(profile: Profile) -> Session:
    assert profile.session is not None
    return profile.session


def lines(*items: str, price: float | None = 10.0, quantity: float = 1.0) -> tuple[Line, ...]:
    return tuple(Line(item, quantity, price) for item in items)


def cart_of(profile: Profile) -> dict[str, float]:
    return {line.item: line.quantity for line in profile.cart}


def order(at_s: float, order_id: str = "o1", value: float | None = None, **more: object) -> Event:
    return event(at_s, Action.ORDER, order_id=order_id, value=value, **more)  # type: ignore[arg-type]
