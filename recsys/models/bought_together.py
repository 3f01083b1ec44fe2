"""Bought together: items that share baskets more often than chance would have it.

The score is the signed root of Dunning's log-likelihood ratio ("Accurate Methods for the Statistics of
Surprise and Coincidence", 1993): it asks for evidence, so a pair seen once does not beat a pair seen
fifty times, and a bestseller is not bought together with everything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse

from recsys.models.arrays import Ranked, load_settings, save_arrays
from recsys.models.interactions import InteractionKind, Interactions
from recsys.models.progress import Progress, silent
from recsys.models.tables import TopTable


class BoughtTogetherSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which baskets tell something, and how many items are kept."""

    k_items: int = 50
    """How many items are kept for each item."""
    max_basket_items: int = 60
    """Larger baskets (wholesale, test orders) say nothing and cost their square; they are left out."""
    min_baskets: int = 2
    """A pair must share this many baskets."""


DEFAULTS = BoughtTogetherSettings()


class BoughtTogether:
    """table: for each item what else is in its baskets; the score is the root log-likelihood ratio.

    A basket is what a session ordered; where it ordered nothing, what it put into the cart.
    """

    def __init__(self, settings: BoughtTogetherSettings, table: TopTable) -> None:
        self.settings = settings
        self.table = table

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: BoughtTogetherSettings = DEFAULTS,
        progress: Progress = silent,
    ) -> BoughtTogether:
        baskets = _baskets(interactions, settings.max_basket_items)
        shared = (baskets.T @ baskets).tocoo()
        kept = (shared.row != shared.col) & (shared.data >= settings.min_baskets)
        one, other, both = shared.row[kept], shared.col[kept], shared.data[kept]
        with_item = np.asarray(baskets.sum(axis=0)).ravel()
        score = root_likelihood_ratio(both, with_item[one], with_item[other], float(baskets.shape[0]))
        associated = scipy.sparse.coo_matrix((score, (one, other)), shape=shared.shape)
        progress("bought_together", 1.0)
        return cls(settings, TopTable.of_sparse(associated, settings.k_items))

    def with_item(self, row: int, k: int) -> Ranked:
        """The k items most surely bought together with item `row`."""
        return self.table.of(row, k)

    def save(self, directory: Path) -> None:
        save_arrays(directory, {}, self.settings)
        self.table.save(directory / "table")

    @classmethod
    def load(cls, directory: Path) -> BoughtTogether:
        return cls(load_settings(directory, BoughtTogetherSettings), TopTable.load(directory / "table"))


def _baskets(interactions: Interactions, max_basket_items: int) -> Any:
    """float64 CSR [baskets, items] of ones."""
    ordered = interactions.kind == InteractionKind.ORDER
    has_order = np.zeros(interactions.n_sessions, bool)
    has_order[interactions.session[ordered]] = True
    carted = (interactions.kind == InteractionKind.CART) & ~has_order[interactions.session]
    in_basket = ordered | carted
    session, item = interactions.session[in_basket], interactions.item[in_basket]
    shape = (interactions.n_sessions, interactions.n_items)
    baskets = scipy.sparse.csr_matrix((np.ones(len(item)), (session, item)), shape=shape)
    baskets.sum_duplicates()
    baskets.data[:] = 1.0
    sizes = np.diff(baskets.indptr)
    return baskets[(sizes > 0) & (sizes <= max_basket_items)]


def root_likelihood_ratio(
    both: npt.NDArray[np.float64],
    one: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
    baskets: float,
) -> npt.NDArray[np.float64]:
    """Signed root of 2 x log-likelihood ratio, float64[p], positive where the pair is more frequent
    than independent items would be.

    both, one, other float64[p]: how many of `baskets` have the pair, its first, its second item.
    """
    only_one, only_other = one - both, other - both
    neither = baskets - one - other + both
    cells = _x_log_x(both) + _x_log_x(only_one) + _x_log_x(only_other) + _x_log_x(neither)
    sums = _x_log_x(one) + _x_log_x(baskets - one) + _x_log_x(other) + _x_log_x(baskets - other)
    ratio = 2.0 * (cells - sums + _x_log_x(np.full_like(both, baskets)))
    # Rounding leaves independent pairs a little below zero.
    return np.sign(both * baskets - one * other) * np.sqrt(np.maximum(ratio, 0.0))


def _x_log_x(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(x > 0, x * np.log(np.maximum(x, 1e-300)), 0.0)
