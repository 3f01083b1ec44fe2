"""The archive read as training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import archive
from recsys.models.interactions import Interactions, encode_strings

_COLUMNS = ("at_ms", "visitor", "person", "session_ms", "action", "items")
_NO_INTERACTION = -1
_KIND_OF_ACTION = np.full(256, _NO_INTERACTION, np.int16)
for _action, _kind in archive.KINDS.items():
    _KIND_OF_ACTION[int(_action)] = _kind


def read_interactions(
    directory: Path | str, since_ms: int | None = None, *, session_gap_s: float = 1800.0
) -> Interactions:
    """The interactions in the archive at or after `since_ms` (epoch); without any, no rows.

    An event of several items (an order) becomes a row for each. What a visitor did anonymously counts
    for the customer the visitor became, unless several customers used that device. A session is what
    the flow called one, and is cut at gaps besides: events that came too late for their session bear
    no session's name. Memory: about 100 bytes an item seen, and each distinct id once.
    """
    batches = [_encoded(batch) for batch in archive.read(directory, _COLUMNS, since_ms)]
    if not batches:
        return Interactions.from_columns([], [], [], [], [])
    table = pa.Table.from_batches(batches)
    person, person_ids = encode_strings(table["person"])
    visitor, visitor_ids = encode_strings(table["visitor"])
    person = _identified(person, person_ids, visitor, len(visitor_ids))

    kind = _KIND_OF_ACTION[table["action"].to_numpy()]
    is_interaction = kind != _NO_INTERACTION
    items = table["items"].filter(pa.array(is_interaction)).combine_chunks()
    # One row an item: `event` is the row of the event it came with.
    event = np.flatnonzero(is_interaction)[pc.list_parent_indices(items).to_numpy(zero_copy_only=False)]
    return Interactions.from_columns(
        pa.DictionaryArray.from_arrays(person[event], person_ids),
        pa.DictionaryArray.from_arrays(visitor[event], visitor_ids),
        pc.list_flatten(items),
        kind[event],
        table["at_ms"].to_numpy()[event],
        session_marks=table["session_ms"].to_numpy()[event],
        session_gap_s=session_gap_s,
    )


def _encoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same batch with each visitor and person kept once."""
    columns = [batch[name] for name in _COLUMNS]
    for name in ("visitor", "person"):
        at = _COLUMNS.index(name)
        columns[at] = columns[at].dictionary_encode()
    return pa.RecordBatch.from_arrays(columns, names=list(_COLUMNS))


def _identified(
    person: npt.NDArray[np.int32], person_ids: list[str], visitor: npt.NDArray[np.int32], n_visitors: int
) -> npt.NDArray[np.int32]:
    """Give anonymous rows the one customer their visitor was identified as, if there is just one.

    Persons are named `u:<user id>` and `a:<anonymous id>` (`recsys.visitor`).
    """
    is_customer = np.array([person_id.startswith("u:") for person_id in person_ids], bool)
    named = is_customer[person]
    pairs = np.unique(np.stack((visitor[named], person[named])), axis=1)
    customers = np.bincount(pairs[0], minlength=n_visitors)
    customer = np.full(n_visitors, -1, np.int32)
    customer[pairs[0]] = pairs[1]
    customer[customers != 1] = -1
    of_visitor = customer[visitor]
    return np.where(~named & (of_visitor >= 0), of_visitor, person).astype(np.int32)
