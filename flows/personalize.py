"""The dataflow, from top to bottom, with the data's shape behind each step.

Between keyed steps travels one value for each key of a batch, not one for each event: what a value
costs on its way through the engine is paid a few times less.
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
    records = op.input("log", flow, source)  # (Record, watermark_ms)
    decoded = op.flat_map_batch("decode", records, stages.decode)  # Arrival | DeadLetter | CatalogChange

    visits = op.flat_map_batch("visits", decoded, steps.visits)  # (visitor, [Arrival])
    visited = op.stateful_batch("visitor", visits, stages.visitor)  # (visitor, Visited)

    facts = op.flat_map_batch("facts", visited, steps.facts)  # (user_id, [Fact])
    told = op.stateful_batch("person", facts, stages.person)  # (user_id, Told)

    mentions = op.flat_map_batch("mentions", visited, steps.mentions)  # (item_id, [Mention])
    changes = op.flat_map_batch("changes", decoded, steps.changes)  # (item_id, [CatalogChange])
    items = op.stateful_batch("item", op.merge("news", mentions, changes), stages.item)  # (item_id, Seen)

    aside = op.flat_map_batch("aside", decoded, steps.count_decoded)  # ("tally", Count)
    fates = op.flat_map_batch("fates", visited, steps.count_visited)  # ("tally", Count)
    effects = op.flat_map_batch("effects", told, steps.count_told)  # ("tally", Count)
    tally = op.stateful_batch("tally", op.merge("counts", aside, fates, effects), stages.tally)

    saved = op.flat_map_batch("saves", op.merge("kept", visited, told, items, tally), steps.saves)  # Save
    served = op.flat_map_batch("served", decoded, steps.served)  # Claim
    op.output("state", op.merge("writes", saved, served), sinks.state)

    seen = op.flat_map_batch("seen", visited, steps.rows)  # ("0", [archive row])
    shown = op.flat_map_batch("shown", decoded, steps.served_rows)  # ("0", [archive row])
    op.output("archive", op.merge("rows", seen, shown), sinks.archive)

    broken = op.flat_map_batch("broken", decoded, steps.broken)  # DeadLetter
    refused = op.flat_map_batch("refused", visited, steps.refused)  # DeadLetter
    op.output("dead", op.merge("dead_letters", broken, refused), sinks.dead_letters)
    return flow
