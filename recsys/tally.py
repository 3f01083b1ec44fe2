"""The tally stage: what became of every event, exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter
from recsys.fold import Effect
from recsys.ports import Position
from recsys.progress import MAX_NAMES, FlowProgress, decode_progress, encode_progress
from recsys.visitor import Accepted, Duplicate


class Count(msgspec.Struct, array_like=True):
    """What one batch of one worker adds."""

    partitions: dict[int, int] = {}
    watermark_ms: int = 0
    totals: dict[str, int] = {}
    names: dict[str, int] = {}
    dead_kinds: dict[str, int] = {}
    effects: dict[str, int] = {}


def count_of(batch: Iterable[object]) -> Count:
    """Counts whatever of a batch counts: Accepted, Duplicate, DeadLetter, CatalogChange, blocks
    served and Effects; everything else is passed over."""
    partitions: dict[int, int] = {}
    totals: Counter[str] = Counter()
    names: Counter[str] = Counter()
    dead: Counter[str] = Counter()
    effects: Counter[str] = Counter()
    watermark_ms = 0
    for out in batch:
        position: Position
        if isinstance(out, Accepted):
            event = out.event
            position = event.position
            watermark_ms = max(watermark_ms, event.watermark_ms)
            totals["accepted"] += 1
            totals["late"] += out.late
            totals["blocked_ids"] += event.blocked_ids
            # Pages are named by their titles: counted as what they are, not one by one.
            names["page" if event.action is Action.PAGE else event.name] += 1
            for effect in out.effects:
                effects[effect.kind] += 1
        elif isinstance(out, Effect):
            effects[out.kind] += 1
            continue
        elif isinstance(out, Duplicate):
            position = out.event.position
            totals["duplicates"] += 1
        elif isinstance(out, DeadLetter):
            position = out.position
            totals["dead"] += 1
            dead[out.kind] += 1
        elif isinstance(out, CatalogChange):
            position = out.position
            totals["accepted"] += 1
            totals["catalog"] += 1
        elif isinstance(out, Arrival) and out.event.action is Action.SERVED:
            position = out.event.position
            totals["accepted"] += 1
            totals["served"] += 1
        else:
            continue
        if position.offset > partitions.get(position.partition, -1):
            partitions[position.partition] = position.offset
    return Count(partitions, watermark_ms, dict(totals), dict(names), dict(dead), dict(effects))


_TOTALS = ("accepted", "duplicates", "dead", "late", "blocked_ids", "served", "catalog")


class TallyState:
    """Sums up counts. Not shared between threads."""

    def __init__(self, known: FlowProgress | None = None) -> None:
        known = known if known is not None else FlowProgress()
        self.partitions = dict(known.partitions)
        self.watermark_ms = known.watermark_ms
        self.totals = Counter({name: getattr(known, name) for name in _TOTALS})
        self.names = Counter(dict(known.names))
        self.dead_kinds = Counter(dict(known.dead_kinds))
        self.effects = Counter(dict(known.effects))

    def take(self, count: Count) -> None:
        for partition, offset in count.partitions.items():
            self.partitions[partition] = max(self.partitions.get(partition, -1), offset)
        self.watermark_ms = max(self.watermark_ms, count.watermark_ms)
        self.totals.update(count.totals)
        self.dead_kinds.update(count.dead_kinds)
        self.effects.update(count.effects)
        for name, times in count.names.items():
            known = name in self.names or len(self.names) < MAX_NAMES
            self.names[name if known else "(other)"] += times

    def progress(self, now_ms: int) -> FlowProgress:
        return FlowProgress(
            partitions=tuple(sorted(self.partitions.items())),
            watermark_ms=self.watermark_ms,
            written_ms=now_ms,
            names=_ranked(self.names),
            dead_kinds=_ranked(self.dead_kinds),
            effects=_ranked(self.effects),
            **self.totals,
        )

    def encode(self) -> bytes:
        return encode_progress(self.progress(0))

    @classmethod
    def decode(cls, data: bytes) -> TallyState:
        return cls(decode_progress(data))


def _ranked(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
