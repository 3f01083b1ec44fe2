"""Keys of the state: one letter for the kind of record, a colon, the id."""

from __future__ import annotations

from hashlib import blake2b


def visitor_key(visitor: str) -> str:
    """-> `VisitorLink`."""
    return f"v:{visitor}"


def person_key(user_id: str) -> str:
    """-> `PersonRecord` of a known customer."""
    return f"p:{user_id}"


def item_key(item_id: str) -> str:
    """-> `Item`."""
    return f"i:{item_id}"


def counter_key(item_id: str) -> str:
    """-> `ItemCounters`."""
    return f"c:{item_id}"


def decision_key(decision_id: str) -> str:
    """-> what was served, as JSON."""
    return f"d:{decision_id}"


def campaign_key(campaign: str, person: str) -> str:
    """-> the id of the rendering that is the person's in this mailing."""
    return f"w:{blake2b(campaign.encode(), digest_size=12).hexdigest()}:{person}"  # ids are long enough


def logged_key(mark: str) -> str:
    """-> that a pack of a mailing, or a decision by itself, is in the log."""
    return f"l:{mark}"


def shown_key(person: str) -> str:
    """-> `ShownRecord` of `u:<user id>` or `a:<visitor>`."""
    return f"x:{person}"


FLOW_KEY = "m:flow"
"""-> `FlowProgress`."""

ITEMS_JOURNAL = "items"
"""Names the items whose record or counters changed."""

PERSON_PREFIX = "p:"
VISITOR_PREFIX = "v:"
ITEM_PREFIX = "i:"
COUNTER_PREFIX = "c:"
IDLE_PREFIX = "s:"


def idle_key(stage: str, key: str) -> str:
    """-> the flow's own state of a key that has been idle; `stage` is v, p, i or x."""
    return f"s:{stage}:{key}"
