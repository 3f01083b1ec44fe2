"""The dataflow, from top to bottom, with the data's shape behind each step."""

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
    decoded = op.flat_map_batch("decode", records, stages.decode)  # Event | DeadLetter | CatalogChange

    visits = op.flat_map_batch("visits", decoded, steps.visits)  # (visitor, Event)
    visited = op.stateful_batch("visitor", visits, stages.visitor)
    # (visitor, Accepted | Duplicate | DeadLetter | Fact | Save)

    facts = op.flat_map_batch("facts", visited, steps.facts)  # (user_id, Fact)
    persons = op.stateful_batch("person", facts, stages.person)  # (user_id, Save | Effect)

    mentions = op.flat_map_batch("mentions", visited, steps.mentions)  # (item_id, Mention)
    changes = op.flat_map_batch("changes", decoded, steps.changes)  # (item_id, CatalogChange)
    items = op.stateful_batch(
        "item", op.merge("item_news", mentions, changes), stages.item
    )  # (item_id, Save)

    fates = op.merge(
        "fates", decoded, op.flat_map_batch("values", op.merge("told", visited, persons), steps.values)
    )
    counts = op.flat_map_batch("count", fates, steps.counts)  # ("tally", Count)
    tally = op.stateful_batch("tally", counts, stages.tally)  # ("tally", Save)

    saves = op.flat_map_batch("saves", op.merge("kept", visited, persons, items, tally), steps.saves)  # Save
    served = op.flat_map_batch("served", decoded, steps.served)  # Claim
    op.output("state", op.merge("writes", saves, served), sinks.state)
    op.output("archive", op.flat_map_batch("rows", fates, steps.rows), sinks.archive)  # ("0", archive row)
    op.output("dead", op.flat_map_batch("dead_letters", fates, steps.dead_letters), sinks.dead_letters)
    return flow
