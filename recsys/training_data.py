"""What the models learn from: the archive's events as interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import archive
from recsys.models.interactions import Interactions, encode_strings

MAX_INTERACTIONS: Final = 20_000_000
"""The newest are used. An interaction takes about 40 bytes while it is read, and fitting takes some
200 bytes for each; 20 million thus need about 5 GB."""
_COLUMNS: Final = ("at_ms", "action", "visitor", "person", "session_ms", "items")
_DAY_S: Final = 86_400.0
_CUSTOMER: Final = "u:"


def read_interactions(
    archive_dir: Path | str, since_ms: int, max_interactions: int = MAX_INTERACTIONS
) -> Interactions:
    """The newest interactions at or after `since_ms`.

    An event of several items (an order) becomes a row for each. What a visitor did before they were
    known counts for the customer they turned out to be, unless several customers used that device.
    Raises ValueError naming the file when one cannot be read.
    """
    chunks: list[Any] = []
    waiting = 0
    for batch in archive.read(archive_dir, _COLUMNS, since_ms):
        chunk = _interactions_of(batch)
        chunks.append(chunk)
        waiting += chunk.num_rows
        if waiting > 2 * max_interactions:
            chunks = [_newest(pa.concat_tables(chunks), max_interactions)]
            waiting = max_interactions
    if not chunks:
        return Interactions.from_columns([], [], [], [], [])
    table = _newest(pa.concat_tables(chunks), max_interactions)
    visitor, visitor_ids = encode_strings(table["visitor"])
    person, person_ids = encode_strings(table["person"])
    return Interactions.from_columns(
        pa.DictionaryArray.from_arrays(
            _identified(person, person_ids, visitor, len(visitor_ids)), person_ids
        ),
        pa.DictionaryArray.from_arrays(visitor, visitor_ids),
        table["item"],
        table["kind"].to_numpy(),
        table["at_ms"].to_numpy(),
        session_marks=table["session_ms"].to_numpy(),
        # The flow has cut the sessions, by its own settings: the marks decide.
        session_gap_s=_DAY_S,
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


def _identified(
    person: npt.NDArray[np.int32], person_ids: list[str], visitor: npt.NDArray[np.int32], n_visitors: int
) -> npt.NDArray[np.int32]:
    """The person of each row, int32[n]; for a visitor known as just one customer that customer."""
    is_customer = np.array([person_id.startswith(_CUSTOMER) for person_id in person_ids], bool)
    named = is_customer[person]
    pairs = np.unique(np.stack((visitor[named], person[named])), axis=1)
    customers = np.bincount(pairs[0], minlength=n_visitors)
    customer = np.full(n_visitors, -1, np.int32)
    customer[pairs[0]] = pairs[1]
    customer[customers != 1] = -1
    known = customer[visitor]
    return np.where(~named & (known >= 0), known, person).astype(np.int32)


_KIND_OF: npt.NDArray[np.int8] = np.full(128, -1, np.int8)
for _action, _kind in archive.KINDS.items():
    _KIND_OF[int(_action)] = _kind
