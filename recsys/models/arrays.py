"""Arrays on disk: one `.npy` a file and one `settings.json` a model, nothing that runs when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
"""Item rows, int32[k], -1 for an item the model does not know."""
Scores = npt.NDArray[np.float32]
"""Scores of `Rows`, float32[k], the best first; comparable within one answer only."""
Ranked = tuple[Rows, Scores]
Vectors = npt.NDArray[np.float32]

NOTHING: Ranked = (np.empty(0, np.int32), np.empty(0, np.float32))


class Offer(NamedTuple):
    """Which rows may be answered: row i where `of_row[i] & types`, uint8[c >= n_items]; where `of_row` is
    empty, all of them."""

    of_row: npt.NDArray[np.uint8]
    types: int


EVERYTHING: Final = Offer(np.empty(0, np.uint8), 0)

_SETTINGS_FILE = "settings.json"
_S = TypeVar("_S", bound=msgspec.Struct)


def save_arrays(directory: Path, arrays: Mapping[str, npt.NDArray[Any]], settings: msgspec.Struct) -> None:
    """Write `<directory>/<name>.npy` for each array, and the settings as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    (directory / _SETTINGS_FILE).write_bytes(msgspec.json.encode(settings))


def load_array(directory: Path, name: str) -> npt.NDArray[Any]:
    """Map `<directory>/<name>.npy` read-only, so that processes on one machine share its pages.

    The plain ndarray view is returned, for `np.memmap` slows every slice of it.
    """
    path = directory / f"{name}.npy"
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(mapped)


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view. Kernels that take arrays in a named tuple have one signature for those in memory and
    mapped ones: both read-only."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def load_settings(directory: Path, kind: type[_S]) -> _S:
    return msgspec.json.decode((directory / _SETTINGS_FILE).read_bytes(), type=kind)
