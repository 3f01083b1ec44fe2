"""Categories that go together, as what is bought together tells."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse

from recsys.models.arrays import Rows
from recsys.models.tables import TopTable

MOST_COMPLEMENTS: Final = 3
"""Categories that are kept for each."""

Complements = dict[int, tuple[tuple[int, float], ...]]
"""For the code of a category those that are bought with it, the one most surely first, with their shares."""


def complements_of(table: TopTable, leaf: Rows) -> Complements:
    """`table`: what is bought together with each item; leaf int32[n_items]: the code of the last category of
    each, -1 for none. A share is of all that is bought with a category from other ones."""
    filled = np.arange(table.rows.shape[1])[None, :] < table.lengths[:, None]
    one, other = np.repeat(leaf, table.lengths), leaf[table.rows[filled]]
    kept = (one >= 0) & (other >= 0) & (one != other)
    if not kept.any():
        return {}
    n_codes = int(leaf.max()) + 1
    pairs = scipy.sparse.csr_matrix(
        (table.scores[filled][kept], (one[kept], other[kept])), shape=(n_codes, n_codes)
    )
    found: Complements = {}
    for code in np.flatnonzero(np.diff(pairs.indptr)).tolist():
        codes, sums = (
            part[pairs.indptr[code] : pairs.indptr[code + 1]] for part in (pairs.indices, pairs.data)
        )
        best = np.argsort(-sums, kind="stable")[:MOST_COMPLEMENTS]
        shares = sums[best] / sums.sum()
        found[code] = tuple(zip(codes[best].tolist(), shares.tolist(), strict=True))
    return found
