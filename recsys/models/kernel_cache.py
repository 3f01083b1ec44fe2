"""When a compiled kernel on disk is stale: as soon as anything that it was compiled from has changed.

numba's own cache looks at the file of the called kernel only. A constant or a kernel that this one takes
from another file would go on in its old version there; so here all the files count that it imports of
this project, and those that they import.
"""

from __future__ import annotations

import pickle
import re
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

_PACKAGES: Final = Path(__file__).parents[2]
"""The folder that has `recsys`."""
_PLACES: Final[tuple[Any, ...]] = (UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator)
_IMPORT: Final = re.compile(r"^(?:from|import) (recsys[\w.]*)", re.MULTILINE)


class BySources:
    """A cache locator as numba has them, in their order, with a stamp of its own."""

    @classmethod
    def from_function(cls, function: Any, path: str) -> Any:
        """Where to keep the compiled `function`, which stands in the file `path`; None for nowhere."""
        for locator in _PLACES:
            found = locator.from_function(function, path)
            if found is not None:
                found.get_source_stamp = lambda: stamp_of(Path(path))
                index = f"{Path(path).stem}.{function.__qualname__}-{found.get_disambiguator()}.*.nbi"
                for one in Path(found.get_cache_path()).glob(index):
                    _drop_unreadable(one)
                return found
        return None


def _drop_unreadable(index: Path) -> None:
    """An index names types by the modules they stood in. One from before a type moved cannot be read, and
    numba reads it before it looks at the stamp: without this an update would end at its first import."""
    try:
        with index.open("rb") as file:
            for _ in ("numba's version", "stamp and types"):
                pickle.load(file)  # noqa: S301 - as numba is about to do
    except (AttributeError, ImportError):
        index.unlink(missing_ok=True)


def stamp_of(path: Path) -> str:
    """A digest of the file and of those of this project that it imports, and so on."""
    seen, left = {path}, [path]
    while left:
        for other in _imported(left.pop()) - seen:
            seen.add(other)
            left.append(other)
    digests = (_digest(one, one.stat().st_mtime_ns) for one in sorted(seen))
    return sha256("".join(digests).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _imported(path: Path) -> frozenset[Path]:
    """The files of the modules that this one names in its imports."""
    found = set()
    for name in _IMPORT.findall(path.read_text(encoding="utf-8")):
        module = _PACKAGES.joinpath(*name.split("."))
        found |= {one for one in (module.with_suffix(".py"), module / "__init__.py") if one.exists()}
    return frozenset(found)


@lru_cache(maxsize=1024)
def _digest(path: Path, _mtime_ns: int) -> str:
    return sha256(path.read_bytes()).hexdigest()
