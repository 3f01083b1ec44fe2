"""What a sentence model has read before: kept in the bundle, so that a training reads only what is new.

A catalogue of 50,000 texts takes minutes to read, and next to nothing of it changes within the hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.models.arrays import load_array
from recsys.models.progress import Progress, silent
from recsys.models.sentence_model import Encoder


class Readings(NamedTuple):
    """digests uint64[n] of the texts; vectors float16[n, w], as the sentence model told them."""

    digests: npt.NDArray[np.uint64]
    vectors: npt.NDArray[np.float16]

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        encoder: Encoder,
        before: Readings | None = None,
        progress: Progress = silent,
    ) -> Readings:
        """`before`: of the same model; what is there is not read again."""
        digests = np.array([_digest(text) for text in texts], np.uint64)
        if before is None or not len(before.digests):
            return cls(digests, encoder.encode(texts, progress).astype(np.float16))
        order = np.argsort(before.digests)
        places = order[np.searchsorted(before.digests, digests, sorter=order).clip(max=len(order) - 1)]
        vectors = np.asarray(before.vectors[places])
        unread = np.flatnonzero(before.digests[places] != digests)
        vectors[unread] = encoder.encode([texts[row] for row in unread.tolist()], progress)
        return cls(digests, vectors)

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, array in self._asdict().items():
            np.save(directory / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> Readings:
        arrays: list[Any] = [load_array(directory, name) for name in cls._fields]
        return cls(*arrays)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
