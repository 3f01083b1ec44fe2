"""What the visitor stage knows of one device between two events: who it is, its session, its customers."""

from __future__ import annotations

import msgspec

from recsys.draft import Draft
from recsys.events import Action, Event
from recsys.fold import SessionRules
from recsys.logins import Login
from recsys.seen import hash_of

LOGOUT = Action.LOGOUT
ANYBODY = 0
LOOKED = frozenset((Action.VIEW, Action.READ))


class View(msgspec.Struct, array_like=True, gc=False):
    """Changed in place."""

    user_id: str | None = None
    profile: Draft = msgspec.field(default_factory=Draft)
    last_ms: int = 0
    session_ms: int = 0
    """Start of the device's session."""
    closed: bool = False
    """Whether that session ended with a logout: what comes next is a new one."""
    last_item: str = ""
    """What was looked at last in that session."""
    customers: tuple[int, ...] = ()
    """Hashes of the user ids that the device named first: as many as are believed, and one more."""
    login: Login | None = None
    """The newest login, while it may be taken back."""
    undone: tuple[int, int] = (ANYBODY, -1)
    """The customer (as in `customers`) whose login was taken back last, and when; ANYBODY where none was
    known yet."""

    def copy(self) -> View:
        return View(
            self.user_id,
            self.profile.copy(),
            self.last_ms,
            self.session_ms,
            self.closed,
            self.last_item,
            self.customers,
            None if self.login is None else self.login.copy(),
            self.undone,
        )

    def named(self, event: Event) -> str | None:
        """The customer whom an event names; None where that login was taken back after it had happened,
        however late it comes."""
        customer, undone_ms = self.undone
        if event.user_id is None or event.at_ms > undone_ms:
            return event.user_id
        return None if customer in (ANYBODY, hash_of(event.user_id)) else event.user_id

    def believes(self, customer: int, most: int) -> bool:
        """Whether the device is one of a customer (the hash of the id), when so many are believed of it;
        0: any number. Who logs in as ever more of them is a bot, or everybody's: what it does would
        spoil what is known of each (posthog#5898)."""
        if not most:
            return True
        if len(self.customers) <= most and customer not in self.customers:
            self.customers = (*self.customers, customer)
        return customer in self.customers[:most]

    def is_crowded(self, most: int) -> bool:
        """Whether it has named more customers than are believed."""
        return 0 < most < len(self.customers)


def look(view: View, event: Event, rules: SessionRules) -> str:
    """Move the device's session on by an event in its place; the item that it came from, within the
    session, to one that it looks at now, "" for none."""
    at_ms, item = event.at_ms, ""
    if event.action in LOOKED and event.lines:
        item = event.lines[0].item
    came_from = ""
    if (
        view.session_ms
        and not view.closed
        and at_ms - view.last_ms <= rules.gap_ms
        and at_ms - view.session_ms < rules.cap_ms
    ):
        if item and view.last_item != item:
            came_from = view.last_item
    else:
        view.session_ms = at_ms
    if item:
        view.last_item = item
    if at_ms > view.last_ms:  # noqa: PLR1730 (`max` costs ten times as much)
        view.last_ms = at_ms
    if event.action is LOGOUT:
        view.closed = True
    elif view.closed:
        view.closed = False
    return came_from
