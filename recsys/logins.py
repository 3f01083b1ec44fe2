"""Logins that may be taken back: somebody logs in by mistake on a device that is somebody else's.

`absorb` adds up, and what came from where cannot be told afterwards. So while a login may still be taken
back, both sides keep what they would be without it: the device itself as if nobody had logged in, and the
customer without what that device has told since. Both are folded on with every event that would have
changed them; to take the login back is to go on with them.
"""

from __future__ import annotations

import msgspec

from recsys.draft import Draft

MAX_UNDOABLE = 3
"""So many devices of a customer, those that logged in last, have a login that may be taken back."""


class Login(msgspec.Struct, array_like=True, gc=False):
    """The newest customer of a device, while the device keeps what it would be without them."""

    user_id: str
    since_ms: int
    """The place of the first login in a row of the same customer's."""
    profile: Draft
    """As if nobody had logged in since."""

    def copy(self) -> Login:
        return Login(self.user_id, self.since_ms, self.profile.copy())


class Without(msgspec.Struct, array_like=True, gc=False):
    """A customer without what one device has told since it logged in."""

    visitor: str
    since_ms: int
    profile: Draft

    def copy(self) -> Without:
        return Without(self.visitor, self.since_ms, self.profile.copy())


class Customer(msgspec.Struct, array_like=True, gc=False):
    """What the person stage knows of a customer between two facts. Changed in place."""

    profile: Draft = msgspec.field(default_factory=Draft)
    without: list[Without] = []
    """By the time of the login, the newest last."""

    def copy(self) -> Customer:
        return Customer(self.profile.copy(), [each.copy() for each in self.without])

    def log_in(self, visitor: str, since_ms: int) -> None:
        """From here on the customer is known without this device too."""
        if any(each.visitor == visitor and each.since_ms == since_ms for each in self.without):
            return  # it had logged out for a while
        others = [each for each in self.without if each.visitor != visitor]
        self.without = [*others, Without(visitor, since_ms, self.profile.copy())][-MAX_UNDOABLE:]

    def undo(self, visitor: str, since_ms: int) -> None:
        """Without what the device has told since. What is kept for other devices holds that, and goes: their
        logins stay."""
        for each in self.without:
            if each.visitor == visitor and each.since_ms == since_ms:
                self.profile, self.without = each.profile, []
                return

    def forget_before(self, since_ms: int) -> None:
        """Older logins stay."""
        if self.without[0].since_ms < since_ms:
            self.without = [each for each in self.without if each.since_ms >= since_ms]
