"""Tastes: matrix factorisation of who did what with which item, by alternating least squares.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008, as built by the
`implicit` library. People are not stored: a person's vector is computed per request from the live
history, so it is never older than the last event and erasing a person needs no new model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse
from threadpoolctl import threadpool_limits

from recsys.models.als_kernels import fold_person
from recsys.models.arrays import (
    Rows,
    Scores,
    Vectors,
    load_array,
    load_settings,
    save_arrays,
)
from recsys.models.direct import direct
from recsys.models.interactions import Interactions
from recsys.models.progress import Progress, silent
from recsys.models.scratch import Scratch
from recsys.models.vectors import IndexSettings, VectorIndex


class AlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How tastes are factorised; kept with the model."""

    factors: int = 64
    iterations: int = 15
    regularization: float = 0.05
    alpha: float = 10.0
    """Confidence that a person likes an item is 1 + alpha x ln(1 + sum of the weights of what they did)."""
    kind_weights: tuple[float, float, float, float] = (1.0, 3.0, 5.0, 1.0)
    """The weight of a view, a cart, an order and a read."""
    min_items_per_person: int = 2
    """Persons with fewer distinct items say nothing about which items go together; they are left out."""
    max_cells: int = 2_000_000
    """Of the matrix of persons and items; of more, whole persons are drawn by the seed. Persons are not
    kept, and items' factors hardly change with the last of millions who taught them."""
    max_history_items: int = 200
    """How many distinct items of a history are folded in, the last of those given."""
    seed: int = 0


DEFAULTS = AlsSettings()
_fold_person: Final = direct(fold_person)
_FEW_CELLS = 1_500_000
"""Up to so many a fit takes no minute, goes on as long as it is set to, and does not depend on a start."""
_ITERATIONS_OF_MANY = 8
_WARM_ITERATIONS = 4
"""From nothing 6 iterations find as much as 15; see "Rounds of ALS" in bench/RESULTS.md."""
_INDEX = IndexSettings(wanted_recall=0.8, most_probed=0.025, least_recall=0.0)
"""Tastes are searched in every request, and the best are in the first lists. With 43,000 items 16 of 830
lists find .78 of the first 100 and .93 of the first 20, 64 find .93 and .98, and the blend's HR@20 is
.441 with the one and .440 with the other. So the search is never exact where that would take longer."""


class Als:
    """item_factors float32[n_items, f] (zero for items nobody taught it), and an index over them.

    kind_weights float32[4] is the weight of each InteractionKind, as `fold_in` wants it.
    nobody float32[f] is the vector of somebody of whom nothing is known.
    gram float64[f, f] is Y'Y + regularisation x I, what folding a person in needs of all items.
    """

    def __init__(
        self,
        settings: AlsSettings,
        item_factors: Vectors,
        gram: npt.NDArray[np.float64],
        index: VectorIndex,
    ) -> None:
        self.settings = settings
        self.item_factors = item_factors
        self.gram = gram
        self.index = index
        self.kind_weights = np.asarray(settings.kind_weights, np.float32)
        self.nobody = np.zeros(item_factors.shape[1], np.float32)
        self._gram_inverse = np.ascontiguousarray(np.linalg.pinv(gram, hermitian=True))

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: AlsSettings = DEFAULTS,
        *,
        start: Als | None = None,
        threads: int = 1,
        progress: Progress = silent,
    ) -> Als:
        """With one thread the same interactions give the same bytes. Many of them go on from a `start` that
        knows most of them, with the same rows for items, and need few iterations."""
        confidence = _confidence_matrix(interactions, settings)
        if confidence.nnz == 0:
            item_factors = np.zeros((interactions.n_items, settings.factors), np.float32)
            index = VectorIndex.build(item_factors, settings=_INDEX, threads=threads)
            return cls(settings, item_factors, _gram(item_factors, settings), index)
        # implicit runs its own threads; BLAS threads beside them slow it tenfold, and it warns.
        with threadpool_limits(limits=1, user_api="blas"):
            item_factors, persons = _factorise(confidence, settings, start, threads, progress)
            index = VectorIndex.build(item_factors, queries=persons, settings=_INDEX, threads=threads)
            gram = _gram(item_factors, settings)
        progress("als", 1.0)
        return cls(settings, item_factors, gram, index)

    @property
    def n_items(self) -> int:
        return len(self.item_factors)

    def scratch(self) -> Scratch:
        """Working memory for `fold_in`; one a thread."""
        return Scratch(
            self.n_items,
            n_factors=self.item_factors.shape[1],
            max_history_items=self.settings.max_history_items,
        )

    def fold_in(self, rows: Rows, weights: Scores, scratch: Scratch) -> Vectors:
        """The vector float32[f] of a person who did this: the one that `fit` would give them.

        rows int32[h] in the order of time, repeats and unknown (-1) allowed; weights float32[h] > 0
        of each. A history without a known item gives the zero vector.
        """
        vector = np.zeros(self.item_factors.shape[1], np.float32)
        _fold_person(
            rows, weights, self.settings.alpha, self.item_factors, self.gram, self._gram_inverse,
            scratch.sums, scratch.history_items, scratch.history_extra,
            scratch.solve_shares, scratch.solve_matrix, scratch.solve_target, vector,
        )  # fmt: skip
        return vector

    def save(self, directory: Path) -> None:
        save_arrays(directory, {"item_factors": self.item_factors, "gram": self.gram}, self.settings)
        self.index.save(directory / "index")

    @classmethod
    def load(cls, directory: Path) -> Als:
        return cls(
            load_settings(directory, AlsSettings),
            load_array(directory, "item_factors"),
            load_array(directory, "gram"),
            VectorIndex.load(directory / "index"),
        )


def confidence_of(total_weight: npt.NDArray[np.floating[Any]], alpha: float) -> npt.NDArray[np.float64]:
    """Confidence float64[h] > 1 from summed weights: a tenth view tells less than the second."""
    return 1.0 + alpha * np.log1p(total_weight.astype(np.float64))


def _confidence_matrix(interactions: Interactions, settings: AlsSettings) -> Any:
    """float32 CSR [persons, items] of the persons with enough items."""
    weights = np.asarray(settings.kind_weights, np.float64)[interactions.kind]
    shape = (interactions.n_persons, interactions.n_items)
    matrix = scipy.sparse.csr_matrix((weights, (interactions.person, interactions.item)), shape=shape)
    matrix.sum_duplicates()
    cells = np.diff(matrix.indptr)
    persons = np.flatnonzero(cells >= settings.min_items_per_person)
    if cells[persons].sum() > settings.max_cells:
        drawn = np.random.default_rng(settings.seed).permutation(persons)
        persons = np.sort(drawn[np.cumsum(cells[drawn]) <= settings.max_cells])
    matrix = matrix[persons]
    matrix.data = confidence_of(matrix.data, settings.alpha)
    return matrix.astype(np.float32)


def _factorise(
    confidence: Any, settings: AlsSettings, start: Als | None, threads: int, progress: Progress
) -> tuple[Vectors, Vectors]:
    """(item factors, person factors) of implicit's ALS."""
    shape = (confidence.shape[1], settings.factors)
    is_warm = confidence.nnz > _FEW_CELLS and start is not None and start.item_factors.shape == shape
    iterations = settings.iterations
    if confidence.nnz > _FEW_CELLS:
        iterations = min(iterations, _WARM_ITERATIONS if is_warm else _ITERATIONS_OF_MANY)
    # Imported here: implicit takes half a second and only training needs it.
    from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415

    als = AlternatingLeastSquares(
        factors=settings.factors,
        regularization=settings.regularization,
        iterations=iterations,
        num_threads=threads,
        random_state=settings.seed,
    )
    if start is not None and is_warm:
        als.item_factors = start.item_factors.copy()
    als.fit(
        confidence,
        show_progress=False,
        callback=lambda iteration, *_: progress("als", (iteration + 1) / (iterations + 1)),
    )
    item_factors = np.ascontiguousarray(als.item_factors, np.float32)
    untaught = np.ones(confidence.shape[1], bool)
    untaught[confidence.indices] = False
    # ALS shrinks these towards zero but leaves a random rest, which would rank.
    item_factors[untaught] = 0.0
    return item_factors, np.ascontiguousarray(als.user_factors, np.float32)


def _gram(item_factors: Vectors, settings: AlsSettings) -> npt.NDArray[np.float64]:
    wide = item_factors.astype(np.float64)
    return wide.T @ wide + settings.regularization * np.eye(item_factors.shape[1])
