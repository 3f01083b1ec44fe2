"""Which rows pass a filter: all are looked at once for each filter, and those that change once again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.filters.attributes import Attributes
from recsys.filters.expression import compile_filter

MAX_KEPT: Final = 64
"""Filters whose rows are kept, the least recently used given up first: a byte a row each."""

Mask = npt.NDArray[np.bool_]


class Passing:
    """The rows of one catalogue that pass filters. Thread-safe."""

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[int, Mask]] = OrderedDict()

    @property
    def asks_age(self) -> bool:
        """Whether some item is not for everybody's age."""
        return self._attributes.n_with_age > 0

    @property
    def asks_market(self) -> bool:
        """Whether some item is not for every market."""
        return self._attributes.n_with_market > 0

    def rows(self, text: str, capacity: int) -> Mask:
        """bool[capacity]: True where there is an item and it passes. Raises FilterError."""
        # The version from before: should the catalogue change meanwhile, the next one looks again.
        version = self._attributes.version
        with self._lock:
            known = self._kept.get(text)
            if known is not None and known[0] == version and len(known[1]) == capacity:
                self._kept.move_to_end(text)
                return known[1]
        mask = None
        if known is not None and len(known[1]) == capacity:
            mask = self._patched(text, *known)
        if mask is None:
            found = compile_filter(text).rows(self._attributes)
            mask = np.zeros(capacity, np.bool_)
            mask[: len(found)] = found[:capacity]
        with self._lock:
            self._kept[text] = version, mask
            self._kept.move_to_end(text)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return mask

    def _patched(self, text: str, version: int, mask: Mask) -> Mask | None:
        """The rows of an older version, those that have changed since looked at again; None where that was
        too long ago."""
        changed = self._attributes.changed_since(version)
        if changed is None:
            return None
        changed = changed[changed < len(mask)]
        patched = mask.copy()
        patched[changed] = compile_filter(text).rows(self._attributes, changed)
        return patched
