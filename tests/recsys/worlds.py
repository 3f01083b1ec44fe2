"""Small event worlds for the folds: made events, and a plain reference that folds them in order."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from recsys.events import Action, Arrival, Event, Line
from recsys.fold import SessionRules, apply
from recsys.merge import absorb, with_device
from recsys.ports import Position
from recsys.profile import Profile
from recsys.visitor import StageRules

T0 = 1_760_000_000_000
RULES = StageRules(SessionRules(), lateness_ms=60_000)


def event(
    at_s: float,
    action: Action = Action.VIEW,
    item: str | None = "tent",
    *,
    visitor: str = "v1",
    user_id: str | None = None,
    delay_s: float = 0.0,
    offset: int = 0,
    partition: int = 0,
    message_id: str | None = None,
    **more: object,
) -> Event:
    """An event at T0 + at_s that reached the log delay_s later. Its watermark is its receive time."""
    at_ms = T0 + int(at_s * 1000)
    received_ms = at_ms + int(delay_s * 1000)
    lines = () if item is None else (Line(item, price=10.0, category=f"Shop > {item[:1]}"),)
    return Event(
        position=Position(partition, offset),
        index=0,
        at_ms=at_ms,
        received_ms=received_ms,
        watermark_ms=received_ms,
        message_id=message_id or f"m{partition}-{offset}",
        body_crc=hash((at_ms, int(action), item)) & 0xFFFF,
        action=action,
        name=action.name,
        visitor=visitor,
        user_id=user_id,
        touchpoint="site",
        **{"lines": lines, **more},  # type: ignore[arg-type]
    )


def logged(events: list[Event]) -> list[Event]:
    """The events in the order of the log (by receive time), with its positions and watermarks."""
    import msgspec

    ordered = sorted(events, key=lambda e: e.received_ms)
    watermark_ms = 0
    out = []
    for offset, one in enumerate(ordered):
        watermark_ms = max(watermark_ms, one.received_ms)
        position = Position(one.position.partition, offset)
        out.append(
            msgspec.structs.replace(
                one, position=position, watermark_ms=watermark_ms, message_id=f"m{offset}"
            )
        )
    return out


def arrivals(events: list[Event]) -> list[Arrival]:
    return [Arrival(one, b"{}") for one in events]


def reference(events: list[Event], most: int = 20) -> dict[str, Profile]:
    """Every person's profile by folding everything in order of time, the plain way."""
    rules = RULES.session
    known: dict[str, str | None] = defaultdict(lambda: None)
    own: dict[str, Profile] = defaultdict(Profile)
    customers: dict[str, Profile] = defaultdict(Profile)
    named: dict[str, list[str]] = defaultdict(list)
    for one in sorted(events, key=lambda e: (e.at_ms, e.position, e.index)):
        visitor = one.visitor
        user_id = one.user_id
        if user_id is not None and user_id not in named[visitor]:
            named[visitor].append(user_id)
        if user_id is not None and named[visitor].index(user_id) >= most:
            if known[visitor] is not None:
                known[visitor], own[visitor] = None, Profile()
        elif one.user_id is not None and one.user_id != known[visitor]:
            if known[visitor] is None:
                crowded = len(named[visitor]) > most
                absorbed = absorb(customers[one.user_id], Profile() if crowded else own[visitor])
                customers[one.user_id] = _with_visitor(absorbed, visitor)
            known[visitor], own[visitor] = one.user_id, Profile()
        user_id = known[visitor]
        if user_id is None:
            own[visitor], _ = apply(own[visitor], one, rules)
        else:
            folded, _ = apply(customers[user_id], one, rules)
            customers[user_id] = _with_visitor(folded, visitor)
            if one.action is Action.LOGOUT:
                known[visitor] = None
    people = {f"u:{user_id}": profile for user_id, profile in customers.items()}
    people.update({f"a:{v}": own[v] for v in {e.visitor for e in events} if known[v] is None})
    return people


def _with_visitor(profile: Profile, visitor: str) -> Profile:
    """The profile with one more device. `user:` visitors are tills and servers, not devices."""
    if visitor.startswith("user:"):
        return profile
    return msgspec.structs.replace(profile, visitors=with_device(profile.visitors, visitor))
