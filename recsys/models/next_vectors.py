"""Item vectors taught to foretell: the direction of a session is near what comes next in it.

Softmax over sampled items, one vector an item for what was seen and for what comes (Hou et al., "CORE: Simple
and Effective Session-based Recommendation within Consistent Representation Space", SIGIR 2022, without its
attention). What a truncated SVD says of the items is where it begins.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.models.arrays import Rows, Vectors
from recsys.models.interactions import Interactions
from recsys.models.next_vectors_kernels import add_gradients, point, step
from recsys.models.progress import Progress, silent
from recsys.models.vectors import unit_length

_STEP: Final = "vectors"
_LEAST_PLACES: Final = 256
"""Fewer beginnings of sessions than this teach nothing."""
_TELL_EVERY: Final = 20


class NextSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epochs: int = 3
    """How often each beginning of a session is looked at."""
    least_steps: int = 300
    """A small shop's are looked at more often, as vectors move by steps."""
    max_places: int = 1_000_000
    """At most so many are looked at all in all, the newest, so that a large shop takes no longer."""
    batch: Annotated[int, msgspec.Meta(ge=1)] = 512
    others: int = 1024
    """Items that did not come next, drawn for each batch: more make a batch dearer."""
    others_power: float = 0.75
    """They are drawn by how often an item occurs to this power, which is taken out of the loss again."""
    temperature: float = 0.08
    """Cosines are divided by it: the smaller, the more the nearest wrong items count."""
    rate: float = 0.008
    """Of the first step; it falls to nothing."""
    seed: int = 0


DEFAULTS = NextSettings()


def taught(
    vectors: Vectors,
    interactions: Interactions,
    settings: NextSettings = DEFAULTS,
    progress: Progress = silent,
) -> Vectors:
    """`vectors` float32[n, d] moved so that sessions point to what came next; of length 1, as they were where
    there is too little to learn from, zero for an item that never occurred. `interactions` must not repeat an
    item right behind itself. Memory: three times that of the vectors, and 8 bytes an interaction.
    """
    places = 1 + np.flatnonzero(np.diff(interactions.session) == 0)
    if len(places) < _LEAST_PLACES:
        return vectors
    random = np.random.default_rng(settings.seed)
    counts = np.bincount(interactions.item, minlength=len(vectors))
    moved = vectors.copy()
    lost = np.flatnonzero((counts > 0) & ~vectors.any(axis=1))
    moved[lost] = unit_length(random.standard_normal((len(lost), vectors.shape[1])).astype(np.float32))
    likely = counts**settings.others_power / np.sum(counts**settings.others_power)
    lessons = _Taught(interactions.item, interactions.session_starts[interactions.session], moved, likely)
    n_steps = min(settings.epochs * len(places), settings.max_places) // settings.batch
    n_steps = max(n_steps, settings.least_steps)
    places = places[-settings.max_places :]
    queue = np.empty(0, np.int64)
    for number in range(n_steps):
        while len(queue) < settings.batch:
            queue = np.concatenate((queue, random.permutation(places)))
        now, queue = queue[: settings.batch], queue[settings.batch :]
        others = np.searchsorted(lessons.drawn_until, random.random(settings.others))
        lessons.step(now, others, settings, settings.rate * (1.0 - number / n_steps))
        if number % _TELL_EVERY == 0:
            progress(_STEP, number / n_steps)
    return unit_length(moved)


class _Taught:
    """vectors float32[n, d], which `step` moves; item int32[t] and begin int64[t]: each place of the
    sessions, and where its session begins; likely float64[n]: how likely an item is drawn."""

    def __init__(
        self, item: Rows, begin: npt.NDArray[np.int64], vectors: Vectors, likely: npt.NDArray[np.float64]
    ) -> None:
        self._item = item
        self._begin = begin
        self._vectors = vectors
        self._log_likely = np.log(np.maximum(likely, 1e-12)).astype(np.float32)
        self.drawn_until = np.minimum(np.cumsum(likely), 1.0)
        self.drawn_until[-1] = 1.0
        self._gradient = np.zeros_like(vectors)
        self._moment = np.zeros_like(vectors)
        self._squares = np.zeros(len(vectors), np.float32)
        self._touched = np.zeros(len(vectors), np.bool_)

    def step(
        self,
        places: npt.NDArray[np.int64],
        others: npt.NDArray[np.int64],
        settings: NextSettings,
        rate: float,
    ) -> None:
        """Learn what came at `places` int64[b], rather than one of `others` int64[m]."""
        vectors, came = self._vectors, self._item[places]
        rows, column = np.unique(np.concatenate((came, others)), return_inverse=True)
        column = column[: len(places)]
        directions = np.empty((len(places), vectors.shape[1]), np.float32)
        lengths, ones = np.empty(len(places), np.float32), np.ones(len(places), np.float32)
        point(self._item, self._begin, places, vectors, directions, lengths)
        chosen = vectors[rows]
        norms = np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), np.float32(1e-9))
        chosen /= norms
        # One matrix is as long as the catalogue is wide: what can be is done to the narrow ones. Cosines are
        # 1 at most, and so no sum overflows.
        told = (
            np.column_stack((directions / np.float32(settings.temperature), ones))
            @ np.column_stack((chosen, -self._log_likely[rows])).T
        )
        np.exp(told, out=told)
        sums = told.sum(axis=1)
        told[np.arange(len(places)), column] -= sums
        scale = 1 / (sums * np.float32(settings.temperature * len(places)))[:, None]
        of_directions, of_chosen = scale * (told @ chosen), told.T @ (scale * directions)
        of_chosen -= np.einsum("ij,ij->i", of_chosen, chosen)[:, None] * chosen
        of_chosen /= norms
        self._gradient[rows] = of_chosen
        self._touched[rows] = True
        add_gradients(
            self._item, self._begin, places, directions, lengths, of_directions, self._gradient, self._touched
        )
        moving = np.flatnonzero(self._touched)
        step(moving, rate, self._gradient, self._moment, self._squares, vectors)
        self._touched[moving] = False
