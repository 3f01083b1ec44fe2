"""The contestant of `bench.flow` that is built from the engine's own parts: a session window.

Log, decoding, keys, recovery and the kind of store are those of Headrace. Between them stands
Bytewax's `collect_window` with a SessionWindower: gap and lateness are Headrace's, on event time. A
session's summary is written when its window closes; identity, carts, intent, counters, archive and
dead letters are not done at all, so the work is a fraction of what the flow does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.flow import settings_of
from bench.runner import Took, timed
from flows import steps
from flows.pace import Pace
from flows.run import decoder_of, rules_of
from flows.sinks import StateSink
from flows.source import LogSource, Until
from flows.stages import Stages
from recsys.events import Arrival
from recsys.keys import visitor_key
from recsys.open import open_log, open_store
from recsys.settings import Settings


class SessionSummary(msgspec.Struct, frozen=True, array_like=True):
    """What a closed window leaves in the store."""

    start_ms: int
    last_ms: int
    events: int
    items: tuple[str, ...]


def at(arrival: Arrival) -> datetime:
    return datetime.fromtimestamp(arrival.event.at_ms / 1000, timezone.utc)


def by_visitor(batch: Sequence[steps.Decoded]) -> list[tuple[str, Arrival]]:
    return [(visitor, one) for decoded in batch for visitor, visit in decoded.visits.items() for one in visit]


def save(session: tuple[str, tuple[int, list[Arrival]]]) -> steps.Records:
    visitor, (_, arrivals) = session
    events = [arrival.event for arrival in arrivals]
    items = tuple(line.item for event in events for line in event.lines)
    summary = SessionSummary(events[0].at_ms, events[-1].at_ms, len(events), items)
    return {visitor_key(visitor): msgspec.msgpack.encode(summary)}


def windows(settings: Settings) -> Dataflow:
    """log -> events -> sessions of visitors -> state."""
    stages = Stages(rules_of(settings), decoder_of(settings), lambda _: None, settings.flow.idle_s)
    source = LogSource(
        lambda: open_log(settings.log),
        Until(open_log(settings.log).end()),
        Pace(settings.flow.batch, settings.flow.step_ms),
    )
    flow = Dataflow("bytewax_window")
    reads = op.input("log", flow, source)  # ([Record], watermark_ms)
    decoded = op.flat_map_batch("decode", reads, stages.decode)
    visits = op.flat_map_batch("visits", decoded, by_visitor)  # (visitor, Arrival)
    clock = win.EventClock(at, wait_for_system_duration=timedelta(seconds=settings.flow.allowed_lateness_s))
    windower = win.SessionWindower(gap=timedelta(seconds=settings.session.gap_s))
    sessions = win.collect_window("session", visits, clock, windower)  # (visitor, (window id, arrivals))
    saves = op.map("save", sessions.down, save)
    op.output("state", saves, StateSink(lambda: open_store(settings.state), settings.server.render_ttl_s))
    return flow


def bytewax_window(argument: dict[str, Any]) -> Took:
    """The whole flow."""
    settings = settings_of(Path(argument["home"]), argument["log"])
    return timed(lambda: run(settings))


def run(settings: Settings) -> None:
    recovery = Path(settings.recovery)
    recovery.mkdir(parents=True)
    init_db_dir(recovery, 1)
    cli_main(
        windows(settings),
        workers_per_process=1,
        epoch_interval=timedelta(seconds=settings.flow.snapshot_s),
        recovery_config=RecoveryConfig(str(recovery)),
    )
