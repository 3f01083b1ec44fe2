"""The tally stage: what became of every event, exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import astuple

from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter, Flaw
from recsys.fold import Effect
from recsys.ports import Position
from recsys.progress import (
    FOLD_RULES,
    MAX_CROWDED,
    MAX_FLAWS,
    MAX_NAMES,
    OTHER_FLAWS,
    FlowProgress,
    decode_progress,
    encode_progress,
)
from recsys.visitor import Accepted, Duplicate

PAGE = Action.PAGE


class Count(msgspec.Struct, array_like=True):
    """What one batch of one worker adds."""

    partitions: dict[int, int] = {}
    watermark_ms: int = 0
    totals: dict[str, int] = {}
    names: dict[str, int] = {}
    dead_kinds: dict[str, int] = {}
    effects: dict[str, int] = {}
    crowded: dict[str, int] = {}
    flaws: dict[Flaw, int] = {}


def count_of(batch: Iterable[object]) -> Count:
    """Counts whatever of a batch counts: Accepted, Duplicate, DeadLetter, CatalogChange, blocks
    served and Effects; everything else is passed over."""
    accepted: list[Accepted] = []
    others: list[object] = []
    for out in batch:
        if type(out) is Accepted:
            accepted.append(out)
        else:
            others.append(out)
    return count_fates(accepted, others)


def count_fates(accepted: Sequence[Accepted], others: Iterable[object] = ()) -> Count:
    """`count_of` both, where they are known apart."""
    count = _count_accepted(accepted)
    for out in others:
        _count_other(count, out)
    return count


def _count_accepted(accepted: Sequence[Accepted]) -> Count:
    if not accepted:
        return Count()
    events = [one.event for one in accepted]
    names: Counter[str] = Counter([event.name for event in events if event.action is not PAGE])
    # Pages are named by their titles: counted as what they are, not one by one.
    pages = len(events) - names.total()
    if pages:
        names["page"] += pages
    partitions: dict[int, int] = {}
    for partition, offset in [event.position for event in events]:
        if offset > partitions.get(partition, -1):
            partitions[partition] = offset
    # Most events are as any other: what only some have is looked for among those.
    odd = [one for one in accepted if one.effects or one.late or one.crowded or one.flaws]
    totals = {
        "accepted": len(accepted),
        "late": sum([one.late for one in odd]),
        "blocked_ids": sum([event.blocked_ids for event in events]),
    }
    return Count(
        partitions,
        max([event.watermark_ms for event in events]),
        totals,
        dict(names),
        {},
        dict(Counter([effect.kind for one in odd for effect in one.effects])),
        dict(Counter([one.event.visitor for one in odd if one.crowded])),
        dict(Counter([flaw.counted() for one in odd for flaw in one.flaws])),
    )


def _count_other(count: Count, out: object) -> None:
    position: Position
    totals = count.totals
    if isinstance(out, Effect):
        _add(count.effects, out.kind)
        return
    if isinstance(out, Duplicate):
        position = out.event.position
        _add(totals, "duplicates")
    elif isinstance(out, DeadLetter):
        position = out.position
        _add(totals, "dead")
        _add(count.dead_kinds, out.kind)
    elif isinstance(out, CatalogChange):
        position = out.position
        _add(totals, "accepted")
        _add(totals, "catalog")
    elif isinstance(out, Arrival) and out.event.action is Action.SERVED:
        position = out.event.position
        _add(totals, "accepted")
        _add(totals, "served")
    else:
        return
    if position.offset > count.partitions.get(position.partition, -1):
        count.partitions[position.partition] = position.offset


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


_TOTALS = ("accepted", "duplicates", "dead", "late", "blocked_ids", "served", "catalog")


class TallyState:
    """Sums up counts. Not shared between threads."""

    def __init__(self, known: FlowProgress | None = None) -> None:
        known = known if known is not None else FlowProgress(rules=FOLD_RULES)
        self.partitions = dict(known.partitions)
        self.watermark_ms = known.watermark_ms
        self.rules = known.rules
        self.totals = Counter({name: getattr(known, name) for name in _TOTALS})
        self.names = Counter(dict(known.names))
        self.dead_kinds = Counter(dict(known.dead_kinds))
        self.effects = Counter(dict(known.effects))
        self.crowded = Counter(dict(known.crowded))
        self.flaws = Counter(dict(known.flaws))

    def take(self, count: Count) -> None:
        """Add what one batch of one worker came to."""
        for partition, offset in count.partitions.items():
            self.partitions[partition] = max(self.partitions.get(partition, -1), offset)
        self.watermark_ms = max(self.watermark_ms, count.watermark_ms)
        self.totals.update(count.totals)
        self.dead_kinds.update(count.dead_kinds)
        self.effects.update(count.effects)
        _sum_up(self.names, count.names, MAX_NAMES, "(other)")
        _sum_up(self.crowded, count.crowded, MAX_CROWDED, "(other)")
        _sum_up(self.flaws, count.flaws, MAX_FLAWS, OTHER_FLAWS)

    def progress(self, now_ms: int, step_ms: int = 0) -> FlowProgress:
        """All of it as the state keeps it. `now_ms`: the heartbeat; `step_ms`: the longest step of late."""
        return FlowProgress(
            partitions=tuple(sorted(self.partitions.items())),
            watermark_ms=self.watermark_ms,
            written_ms=now_ms,
            names=_ranked(self.names),
            dead_kinds=_ranked(self.dead_kinds),
            effects=_ranked(self.effects),
            crowded=_ranked(self.crowded),
            flaws=tuple(sorted(self.flaws.items(), key=lambda entry: (-entry[1], astuple(entry[0])))),
            step_ms=step_ms,
            rules=self.rules,
            **self.totals,
        )

    def encode(self) -> bytes:
        """See `Versioned`."""
        return encode_progress(self.progress(0))

    @classmethod
    def decode(cls, data: bytes) -> TallyState:
        return cls(decode_progress(data))


_N = TypeVar("_N", str, Flaw)


def _sum_up(counts: Counter[_N], added: Mapping[_N, int], most: int, other: _N) -> None:
    for name, times in added.items():
        known = name in counts or len(counts) < most
        counts[name if known else other] += times


def _ranked(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
