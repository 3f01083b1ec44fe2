"""How far the flow is, and what became of every event: written by the flow, read by everybody."""

from __future__ import annotations

import msgspec

from recsys.events import Flaw
from recsys.keys import FLOW_KEY
from recsys.ports import ProfileStore
from recsys.versioned import Versioned

PROGRESS_VERSION = 4
"""2: crowded devices. 3: flaws, time of steps. 4: rules. Older records are read: without any."""
FOLD_RULES = 4
"""Counted up where the same log comes to another state than before: then a home that goes on differs from its
log folded anew. 1: an id is known again by when its messages were received. 2: what named a customer
before a login was taken back is the device's own. 3: surges fade by ten minutes. 4: and, beside that,
by an hour; a sale that turns by itself is among an item's prices."""
MAX_NAMES = 200
"""Event names counted one by one; further ones are counted together as `(other)`."""
MAX_CROWDED = 50
"""Crowded devices named; further ones are counted together as `(other)`."""

MAX_FLAWS = 100
"""Flaws counted one by one; further ones are counted together as `OTHER_FLAWS`."""
OTHER_FLAWS = Flaw("(other)", "", "", "")


class FlowProgress(msgspec.Struct, frozen=True, array_like=True):
    """`received = accepted + duplicates + dead`, always. Counts are of events, not of records."""

    partitions: tuple[tuple[int, int], ...] = ()
    """Partition and offset of the newest record taken from each."""
    watermark_ms: int = 0
    """The highest receive time the log has shown."""
    written_ms: int = 0
    """Wall clock of this record: a heartbeat."""
    accepted: int = 0
    duplicates: int = 0
    dead: int = 0
    late: int = 0
    """Accepted ones beyond the lateness allowed."""
    blocked_ids: int = 0
    served: int = 0
    """Accepted ones that are Headrace's own blocks served."""
    catalog: int = 0
    """Accepted ones that are catalogue changes."""
    names: tuple[tuple[str, int], ...] = ()
    dead_kinds: tuple[tuple[str, int], ...] = ()
    effects: tuple[tuple[str, int], ...] = ()
    crowded: tuple[tuple[str, int], ...] = ()
    """Devices that named more customers than are believed of one, and how many of their events were
    taken as nobody's."""
    flaws: tuple[tuple[Flaw, int], ...] = ()
    """What was wrong with accepted events, and with how many."""

    step_ms: int = 0
    """How long the longest step of the last minute or two took: so long does a click wait for its turn,
    at the most. Told by the process that reads the log."""
    rules: int = 0
    """The `FOLD_RULES` of the version that began the state; 0: from before they were counted."""

    @property
    def received(self) -> int:
        return self.accepted + self.duplicates + self.dead

    @property
    def crowded_events(self) -> int:
        return sum(times for _, times in self.crowded)

    @property
    def flaw_count(self) -> int:
        return sum(times for _, times in self.flaws)

    def covers(self, end: dict[int, int]) -> bool:
        """Whether everything up to the log's `end` has been taken."""
        at = dict(self.partitions)
        return all(at.get(partition, -1) >= offset for partition, offset in end.items())

    def behind(self, end: dict[int, int]) -> int:
        """How many records of the log have not been taken yet."""
        at = dict(self.partitions)
        return sum(max(offset - at.get(partition, -1), 0) for partition, offset in end.items())


_progress = Versioned("a progress record", PROGRESS_VERSION, FlowProgress)
encode_progress = _progress.encode
decode_progress = _progress.decode


def progress_in(store: ProfileStore) -> FlowProgress | None:
    """How far the flow said it is; None where none has. Raises what the store and `decode_progress` raise."""
    (data,) = store.get_many([FLOW_KEY])
    return decode_progress(data) if data is not None else None
