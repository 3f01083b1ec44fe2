"""Filters: an expression over the attributes of an item, in CEL, such as

    price < 50.0 && "tents" in category && brand != "Acme"

Types are checked and the cost is bounded when a filter is compiled; no text of a caller is executed.
`ATTRIBUTES` is what it may name. What it may say has CEL's meaning:

- `&& || ! ?:`, `== != < <= > >=`, `+ - * /` on numbers, `x in category`, `brand in ["A", "B"]`
- `attributes.color`, `attributes["a name"]`, `has(attributes.color)`, `category[0]`
- `size(x)`, `double(text)` of decimals, `timestamp("2026-01-31T12:00:00Z")`, and with a literal in brackets
  `x.startsWith("a")`, `x.endsWith("a")`, `x.contains("a")`

An item passes when the answer is true. To compare a null number or time by `<`, to calculate with it,
and to ask for a key or place that is not there, is an error: the item does not pass, nor would it
under `!`, unless `&&`, `||` or `?:` decide without it. `price == null` and `has(attributes.color)` ask
first; `price != 50.0` is true of a null price. Strings are case-sensitive and in order of code points;
an unknown brand is "". An int may be compared with a double (`price < 50`), which CEL allows where it
does not check types; calculations need one type on both sides.

Of CEL, this leaves out regular expressions (`matches`), macros over lists, maps, messages, bytes,
unsigned numbers, durations, `%`, whole-number division, and comparisons of whole lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from recsys.filters.attributes import Attributes
from recsys.filters.checker import Checker
from recsys.filters.evaluate import Rows, Truth
from recsys.filters.functions import FUNCTIONS
from recsys.filters.syntax import MAX_CHARACTERS, FilterError, parse

MAX_COMPILED = 128
"""Filters kept compiled, the least recently used given up first: 5 KB for a usual one, 500 KB at most."""


@dataclass(frozen=True, eq=False)
class Filter:
    """A compiled filter. Thread-safe: it waits for the lock of the attributes."""

    text: str
    cost: int
    """In passes over a column, see `recsys.filters.checker.MAX_COST`."""
    _truth: Callable[[Rows], Truth]

    def rows(
        self, attributes: Attributes, only: npt.NDArray[np.int32] | None = None
    ) -> npt.NDArray[np.bool_]:
        """bool[attributes.n_rows], or bool[k] of the rows `only`, int32[k]: True where there is an item and
        it passes. A new array."""
        with attributes.lock, np.errstate(all="ignore"):
            rows = Rows(attributes, only)
            passing: npt.NDArray[np.bool_] = rows.present() & self._truth(rows).yes
            return passing


def compile_filter(text: str) -> Filter:
    """Raises FilterError: not CEL, an unknown attribute, a wrong type, too long, deep or costly."""
    if len(text) > MAX_CHARACTERS:  # before the cache takes it for a key
        raise FilterError(
            f"Expected a filter of at most {MAX_CHARACTERS} characters, got {len(text)}", MAX_CHARACTERS
        )
    return _compiled(text)


@lru_cache(maxsize=MAX_COMPILED)
def _compiled(text: str) -> Filter:
    checker = Checker(FUNCTIONS)
    truth = checker.truth(parse(text))
    return Filter(text, checker.cost, truth)
