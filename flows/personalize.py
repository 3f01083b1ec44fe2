"""The dataflow, from top to bottom, with the data's shape behind each step.

What a value costs on its way through the engine is paid by the value: so a read of the log is one
value, between keyed steps travels one for each key of a batch, and behind the visitors all that a
batch came to is gathered into one, of which each branch takes its part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from flows import steps
from flows.stages import Stages


@dataclass(frozen=True)
class Sinks:
    """Where the flow writes. All are idempotent or cut back to the snapshot after a crash."""

    state: Sink[Any]
    archive: Sink[Any]
    dead_letters: Sink[Any]


def personalize(source: Source[Any], stages: Stages, sinks: Sinks) -> Dataflow:
    """log -> events -> visitors -> persons, items, tally -> state, archive, dead letters."""
    flow = Dataflow("personalize")
    reads = op.input("log", flow, source)  # ([Record], watermark_ms, passed)
    decoded = op.flat_map_batch("decode", reads, stages.decode)  # Decoded: visits, changes, served, dead

    visits = op.flat_map_batch("visits", decoded, steps.visits)  # (visitor, [Arrival])
    visited = op.stateful_batch("visitor", visits, stages.visitor)  # (visitor, Visited)
    came = op.flat_map_batch("came", visited, steps.gathered)  # Gathered: all that a batch came to

    facts = op.flat_map_batch("facts", came, steps.facts)  # (user_id, [Fact])
    told = op.stateful_batch("person", facts, stages.person)  # (user_id, Told)

    mentions = op.flat_map_batch("mentions", came, steps.mentions)  # (item_id, [News])
    changes = op.flat_map_batch("changes", decoded, steps.changes)  # (item_id, [News])
    items = op.stateful_batch("item", op.merge("news", mentions, changes), stages.item)  # (item_id, Kept)

    shown = op.flat_map_batch("shown", decoded, stages.shown_in)  # (person, [ShownRecord])
    remembered = op.stateful_batch("remembered", shown, stages.shown)  # (person, Kept)

    aside = op.flat_map_batch("aside", decoded, steps.count_decoded)  # ("tally", Count)
    fates = op.flat_map_batch("fates", came, steps.count_gathered)  # ("tally", Count)
    effects = op.flat_map_batch("effects", told, steps.count_told)  # ("tally", Count)
    tally = op.stateful_batch("tally", op.merge("counts", aside, fates, effects), stages.tally)

    seen = op.flat_map_batch("seen", came, steps.records)  # {key: record}
    others = op.merge("others", told, items, remembered, tally)
    kept = op.flat_map_batch("kept", others, steps.kept)  # {key: record}
    served = op.flat_map_batch("served", decoded, steps.served)  # Claim
    op.output("state", op.merge("writes", seen, kept, served), sinks.state)

    rows = op.flat_map_batch("rows", came, steps.rows)  # ("0", columns of the archive)
    blocks = op.flat_map_batch("blocks", decoded, steps.served_rows)  # ("0", columns of the archive)
    op.output("archive", op.merge("archived", rows, blocks), sinks.archive)

    broken = op.flat_map_batch("broken", decoded, steps.broken)  # DeadLetter
    refused = op.flat_map_batch("refused", came, steps.refused)  # DeadLetter
    op.output("dead", op.merge("dead_letters", broken, refused), sinks.dead_letters)
    return flow
