"""What people did with items, as columns: the training data of every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.models.session_kernels import number_sessions


class InteractionKind(IntEnum):
    """The kinds that teach the models something. Columns of bundles go by these numbers: append only."""

    VIEW = 0
    CART = 1
    ORDER = 2
    READ = 3
    """An article was viewed."""


N_KINDS = len(InteractionKind)
Strings = Any
"""A column of strings: a pyarrow array, chunked or dictionary-encoded, a numpy array or a sequence."""


@dataclass(frozen=True)
class Interactions:
    """One row an interaction, sorted by (session, time). All columns have the same length n.

    person int32[n] row of `person_ids`; session int32[n], numbered in the order of their last
    interactions' times; item int32[n] row of `item_ids`; kind uint8[n] an InteractionKind;
    at_s float64[n] epoch seconds.
    """

    person: npt.NDArray[np.int32]
    session: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    at_s: npt.NDArray[np.float64]
    item_ids: list[str]
    person_ids: list[str]

    @classmethod
    def from_columns(
        cls,
        persons: Strings,
        visitors: Strings,
        items: Strings,
        kinds: npt.ArrayLike,
        at_ms: npt.ArrayLike,
        *,
        session_marks: npt.ArrayLike | None = None,
        session_gap_s: float = 1800.0,
        session_cap_s: float = 86_400.0,
        collapse_repeats: bool = True,
    ) -> Interactions:
        """Number the ids, cut the sessions and sort.

        Sessions belong to a visitor (a device): the sessions of one person on two devices stay
        apart. `session_marks` int64[n], if given, separate sessions too: one visitor's rows with
        different marks never share a session. Rows at the same time keep their order.
        `collapse_repeats` drops a row that repeats the item and kind of the row before it in its
        session (pages fire twice). Raises ValueError for columns of different lengths.
        """
        at_ms = np.asarray(at_ms, np.int64)
        kind = np.asarray(kinds, np.uint8)
        marks = np.asarray(np.zeros_like(at_ms) if session_marks is None else session_marks, np.int64)
        person, person_ids = encode_strings(persons)
        visitor, _ = encode_strings(visitors)
        item, item_ids = encode_strings(items)
        _check_lengths(
            at_ms=at_ms, persons=person, visitors=visitor, items=item, kinds=kind, session_marks=marks
        )

        order = np.lexsort((at_ms, marks, visitor))
        by_visitor = np.empty(len(order), np.int64)
        gap_ms, cap_ms = round(session_gap_s * 1000), round(session_cap_s * 1000)
        number_sessions(visitor[order], marks[order], at_ms[order], gap_ms, cap_ms, by_visitor)
        if collapse_repeats:
            fresh = _changes(by_visitor) | _changes(item[order]) | _changes(kind[order])
            by_visitor, order = by_visitor[fresh], order[fresh]
        session, by_session = _by_last_time(by_visitor, at_ms[order])
        order = order[by_session]
        at_s = at_ms[order] / 1000.0
        return cls(person[order], session, item[order], kind[order], at_s, item_ids, person_ids)

    def __len__(self) -> int:
        return len(self.item)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def n_persons(self) -> int:
        return len(self.person_ids)

    @cached_property
    def n_sessions(self) -> int:
        return int(self.session[-1]) + 1 if len(self.session) else 0

    @cached_property
    def session_starts(self) -> npt.NDArray[np.int64]:
        """int64[n_sessions + 1]: session s has rows `session_starts[s]:session_starts[s + 1]`."""
        counts = np.bincount(self.session, minlength=self.n_sessions)
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def with_items(self, item_ids: Sequence[str]) -> Interactions:
        """The same interactions with rows for these items too (a catalogue's, never seen yet)."""
        known = set(self.item_ids)
        unseen = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in known]
        return replace(self, item_ids=self.item_ids + unseen)

    def split(self, at_s: float) -> tuple[Interactions, Interactions]:
        """(before, after): a session is after if it ended at or after epoch second `at_s`.

        So no row of a later session is known before. Item and person rows stay the same in both;
        the sessions after are numbered from 0.
        """
        if not len(self):
            return self, self
        ended_s = self.at_s[self.session_starts[1:] - 1]
        first = int(np.searchsorted(ended_s, at_s, side="left"))
        cut = int(self.session_starts[first])
        return self._slice(0, cut, 0), self._slice(cut, len(self), first)

    @cached_property
    def tells_order(self) -> bool:
        """Whether sessions say what came after what: most of their neighbouring rows have times of their
        own. Those of one basket do not."""
        apart = np.diff(self.at_s)[np.diff(self.session) == 0] > 0
        return bool(2 * np.count_nonzero(apart) > len(apart))

    def where(self, is_kept: npt.NDArray[np.bool_]) -> Interactions:
        """Those marked in bool[n]; numbers of sessions, persons and items stay."""
        columns = ("person", "session", "item", "kind", "at_s")
        return replace(self, **{name: getattr(self, name)[is_kept] for name in columns})

    def _slice(self, start: int, stop: int, first_session: int) -> Interactions:
        rows = slice(start, stop)
        session = self.session[rows] - np.int32(first_session)
        return replace(
            self,
            person=self.person[rows],
            session=session,
            item=self.item[rows],
            kind=self.kind[rows],
            at_s=self.at_s[rows],
        )


def encode_strings(column: Strings) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Codes int32[n] and the distinct strings, numbered in the order of their first appearance."""
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        column = pa.array(column, pa.string())
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 0:
            return np.empty(0, np.int32), []
        column = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if column.null_count:
        raise ValueError(f"Expected a string in every row, got {column.null_count} nulls")
    codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return codes, column.dictionary.to_pylist()


def _check_lengths(**columns: npt.NDArray[Any]) -> None:
    expected = len(columns["at_ms"])
    for name, column in columns.items():
        if len(column) != expected:
            raise ValueError(f"Expected {expected} rows like `at_ms`, got {len(column)} - at `{name}`")


def _changes(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """bool[n]: where a value differs from the one before; the first one does."""
    changed = np.ones(len(column), bool)
    changed[1:] = column[1:] != column[:-1]
    return changed


def _by_last_time(
    session: npt.NDArray[np.int64], at_ms: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Renumber sessions (each a run of rows sorted by time) by their last row's time.

    Returns the new numbers, sorted, and the order that sorts the rows.
    """
    if not len(session):
        return np.empty(0, np.int32), np.empty(0, np.int64)
    last_row = np.append(np.flatnonzero(np.diff(session)), len(session) - 1)
    number = np.empty(len(last_row), np.int32)
    number[np.argsort(at_ms[last_row], kind="stable")] = np.arange(len(last_row), dtype=np.int32)
    renumbered = number[session]
    order = np.argsort(renumbered, kind="stable")
    return renumbered[order], order
