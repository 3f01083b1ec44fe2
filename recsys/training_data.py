"""What the models learn from: the archive's events as interactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import archive
from recsys.events import Action
from recsys.models.interactions import InteractionKind, Interactions, encode_strings

MAX_INTERACTIONS: Final = 20_000_000
"""The newest are used. 9.8 million of 840,000 people and 50,000 items took 3.4 GB at the peak, when the
models to publish are fitted beside the early ones; so 20 million need about 7 GB."""
_COLUMNS: Final = ("at_ms", "action", "visitor", "person", "session_ms", "items")
_LONGEST_PAUSE_S: Final = 12 * 3600.0
"""The flow has cut the sessions by its own settings and marked each event with its own. Events that
came too late for theirs bear an older mark: this keeps them from joining sittings days apart."""
_CUSTOMER: Final = "u:"

INTERACTIONS: Final[Mapping[int, InteractionKind]] = {
    Action.VIEW: InteractionKind.VIEW,
    Action.CLICK: InteractionKind.VIEW,
    Action.CART_ADD: InteractionKind.CART,
    Action.ORDER: InteractionKind.ORDER,
    Action.READ: InteractionKind.READ,
}
"""The actions that teach the models something, each with its kind."""
_KIND_OF: Final = np.array([INTERACTIONS.get(action, -1) for action in range(128)], np.int8)
"""By Action, an InteractionKind; -1 for what teaches nothing."""


def read_interactions(
    archive_dir: Path | str,
    since_ms: int | None = None,
    max_interactions: int = MAX_INTERACTIONS,
    told: Callable[[int], None] = lambda _: None,
) -> Interactions:
    """The newest interactions at or after `since_ms` (epoch), all without it; `told` how many events have
    been read.

    An event of several items (an order) becomes a row for each. What a visitor did before they were
    known counts for the customer they turned out to be, unless several customers used that device.
    Raises ValueError naming the file when one cannot be read.
    """
    chunks: list[Any] = []
    waiting = seen = 0
    customers: dict[str, str | None] = {}
    for batch in archive.read(archive_dir, _COLUMNS, since_ms):
        _learn_customers(customers, batch)
        chunk = _interactions_of(batch)
        chunks.append(chunk)
        waiting += chunk.num_rows
        seen += batch.num_rows
        told(seen)
        if waiting > 2 * max_interactions:
            chunks = [_newest(pa.concat_tables(chunks), max_interactions)]
            waiting = max_interactions
    if not chunks:
        return Interactions.from_columns([], [], [], [], [])
    table = _newest(pa.concat_tables(chunks), max_interactions)
    visitor, visitor_ids = encode_strings(table["visitor"])
    person, person_ids = encode_strings(table["person"])
    return Interactions.from_columns(
        pa.DictionaryArray.from_arrays(*_identified(person, person_ids, visitor, visitor_ids, customers)),
        pa.DictionaryArray.from_arrays(visitor, visitor_ids),
        table["item"],
        table["kind"].to_numpy(),
        table["at_ms"].to_numpy(),
        session_marks=table["session_ms"].to_numpy(),
        session_gap_s=_LONGEST_PAUSE_S,
    )


def _interactions_of(batch: pa.RecordBatch) -> Any:
    """One row for each item of an event that is an interaction."""
    kind = _KIND_OF[batch["action"].to_numpy(zero_copy_only=False)]
    wanted = np.flatnonzero(kind >= 0)
    batch = batch.take(pa.array(wanted))
    event = pc.list_parent_indices(batch["items"])
    columns = {name: batch[name].take(event) for name in ("at_ms", "session_ms")}
    for name in ("visitor", "person"):
        # Encoded first: a string for each row of a large order would be many times the size.
        columns[name] = batch[name].dictionary_encode().take(event)
    columns["item"] = pc.list_flatten(batch["items"]).dictionary_encode()
    columns["kind"] = pa.array(kind[wanted].astype(np.uint8)).take(event)
    return pa.table(columns)


def _newest(table: Any, max_rows: int) -> Any:
    if table.num_rows <= max_rows:
        return table
    at_ms = table["at_ms"].to_numpy()
    newest = np.argpartition(at_ms, table.num_rows - max_rows)[table.num_rows - max_rows :]
    return table.take(pa.array(np.sort(newest))).unify_dictionaries()


def _learn_customers(customers: dict[str, str | None], batch: pa.RecordBatch) -> None:
    """Visitor -> the one customer behind it, None for several. A login tells, whatever else it is."""
    named = batch.filter(pc.starts_with(batch["person"], _CUSTOMER)).select(["visitor", "person"])
    for pair in pa.Table.from_batches([named]).group_by(["visitor", "person"]).aggregate([]).to_pylist():
        visitor, person = pair["visitor"], pair["person"]
        customers[visitor] = person if customers.get(visitor, person) == person else None


def _identified(
    person: npt.NDArray[np.int32],
    person_ids: list[str],
    visitor: npt.NDArray[np.int32],
    visitor_ids: list[str],
    customers: Mapping[str, str | None],
) -> tuple[npt.NDArray[np.int32], list[str]]:
    """The person of each row, int32[n], and the ids they stand for; for a visitor known as just one
    customer that customer."""
    code = {person_id: index for index, person_id in enumerate(person_ids)}
    known = np.full(len(visitor_ids), -1, np.int32)
    for index, visitor_id in enumerate(visitor_ids):
        customer = customers.get(visitor_id)
        if customer is not None:
            known[index] = code.setdefault(customer, len(code))
    is_customer = np.array([person_id.startswith(_CUSTOMER) for person_id in person_ids], bool)
    behind = known[visitor]
    persons = np.where(~is_customer[person] & (behind >= 0), behind, person)
    return persons.astype(np.int32), list(code)
