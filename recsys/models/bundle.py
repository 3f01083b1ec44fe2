"""The bundle: every model of one training in one immutable, versioned, checksummed directory.

    <bundles>/current              a file that holds the name of the version to serve
    <bundles>/<version>/manifest.json
    <bundles>/<version>/<model>/...
    <bundles>/.draft-<version>-<random>/   being written

A file rather than a symbolic link names the current version: it works on every file system and in
object stores, and os.replace swaps it atomically.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from recsys.models.als import Als
from recsys.models.bought_together import BoughtTogether
from recsys.models.content import Content
from recsys.models.current import BundleBroken, current_version
from recsys.models.evaluation import Metrics
from recsys.models.item_to_item import ItemToItem
from recsys.models.kindred import Kindred
from recsys.models.kindred_ranker import KindredRanker
from recsys.models.kindred_signals import desks
from recsys.models.neighbours import SessionNeighbours
from recsys.models.opinions import Opinions
from recsys.models.popularity import Popularity
from recsys.models.ranker import Ranker
from recsys.models.repurchase import Repurchase
from recsys.models.scratch import Scratch
from recsys.models.transitions import Transitions

FORMAT = 10
"""2: lists instead of FAISS indexes, neighbours by content. Bundles of format 1 are read: without
those neighbours, so that content is searched by its vectors. 3: a learned ranker, where there was enough
to learn from. Bundles without one are read: sources are then weighed by the placement. 4: the ranker asks
for opinions of other models; one that does not is read. 5: what kindred people have, and a ranker of its own
where sessions tell no order; what is ordered again, and when. Bundles without them are read, and name
nothing by them. 6: that ranker hears a spectrum; one that does not is read.
7: texts may be read by a sentence model, and not by words. 8: the spectrum is heard through a narrower filter
besides; a ranker that does not ask for it is read. 9: rankers are told of surges of an hour; one that does
not ask for them is read. 10: rankers are told where a session points by vectors taught to foretell; one that
does not ask for them is read."""
MANIFEST_FILE = "manifest.json"
_ITEMS_FILE = "item_ids.json"
_BLOCK_BYTES: Final = 1 << 17
"""Read at once for a checksum: a fifth of a millisecond's work."""

Pace = Callable[[Iterable[Any]], Iterable[Any]]
"""May make whoever works something through wait between its parts."""


class BundleTooNew(BundleBroken):
    """The bundle was written by a later Headrace in a format that this one does not know."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of a bundle, as its manifest names it."""

    size_bytes: int
    blake2b: str
    """Hexadecimal BLAKE2b checksum of 32 bytes."""


class TrainingRange(msgspec.Struct, frozen=True):
    """Which interactions the models were fitted on; epoch seconds, None without any."""

    from_s: float | None = None
    to_s: float | None = None
    interactions: int = 0
    sessions: int = 0
    persons: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """Later versions may add fields; they are ignored here as long as the format stays the same."""

    format: int
    version: str
    headrace: str
    created_at_ms: int
    training: TrainingRange
    evaluation: dict[str, Metrics]
    """By name of what was evaluated: `popularity`, `markov`, `neighbours`, ..."""
    n_items: int
    files: dict[str, FileEntry]
    """By path within the bundle, with forward slashes; all but the manifest itself."""


@dataclass(frozen=True)
class Models:
    """One of each. Rows of all of them are rows of `item_ids`."""

    item_ids: list[str]
    popularity: Popularity
    transitions: Transitions
    neighbours: SessionNeighbours
    als: Als
    item_to_item: ItemToItem
    bought_together: BoughtTogether
    content: Content
    ranker: Ranker | None = None
    """None where there was too little to learn from, and in bundles of formats 1 and 2."""
    kindred: Kindred | None = None
    """None in bundles of formats before 5."""
    kindred_ranker: KindredRanker | None = None
    """Instead of `ranker`, where sessions tell no order."""
    repurchase: Repurchase | None = None
    """None in bundles of formats before 5."""

    def opinions(self) -> Opinions:
        """What they think of candidates."""
        return Opinions(self.als, self.item_to_item, self.bought_together, self.content)

    def save(self, directory: Path) -> None:
        (directory / _ITEMS_FILE).write_bytes(msgspec.json.encode(self.item_ids))
        for name in _KINDS:
            model = getattr(self, name)
            if model is not None:
                model.save(directory / name)

    @classmethod
    def load(cls, directory: Path, pace: Pace = iter) -> Models:
        item_ids = msgspec.json.decode((directory / _ITEMS_FILE).read_bytes(), type=list[str])
        return cls(
            item_ids,
            **{
                name: kind.load(directory / name)
                for name, kind in pace(_KINDS.items())
                if name not in _LATER or (directory / name).is_dir()
            },
        )


_KINDS: Final[Mapping[str, Any]] = {
    "popularity": Popularity,
    "transitions": Transitions,
    "neighbours": SessionNeighbours,
    "als": Als,
    "item_to_item": ItemToItem,
    "bought_together": BoughtTogether,
    "content": Content,
    "ranker": Ranker,
    "kindred": Kindred,
    "kindred_ranker": KindredRanker,
    "repurchase": Repurchase,
}
"""The models by their folders."""
_LATER: Final = ("ranker", "kindred", "kindred_ranker", "repurchase")
"""Those that a bundle may lack."""


class Bundle:
    """The models of one version, mapped from its directory; read-only and safe to share by threads,
    each of which brings its own `scratch()`. It stays usable when its directory is pruned.

    item_ids: the ids in the order of rows; item_row: the row of each id.
    """

    def __init__(self, manifest: Manifest, models: Models) -> None:
        self.manifest = manifest
        self.version = manifest.version
        self.item_ids = models.item_ids
        self.item_row = {item_id: row for row, item_id in enumerate(models.item_ids)}
        self.popularity = models.popularity
        self.transitions = models.transitions
        self.neighbours = models.neighbours
        self.als = models.als
        self.item_to_item = models.item_to_item
        self.bought_together = models.bought_together
        self.content = models.content
        self.ranker = models.ranker
        self.opinions = models.opinions()
        self.kindred = models.kindred
        self.kindred_ranker = models.kindred_ranker
        self.repurchase = models.repurchase

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def scratch(self) -> Scratch:
        """Working memory for every kernel on this bundle; one a thread."""
        settings = self.neighbours.settings
        return Scratch(
            self.n_items,
            settings.m_most_recent_sessions,
            settings.max_session_items,
            self.als.item_factors.shape[1],
            self.als.settings.max_history_items,
            self.ranker.desk() if self.ranker is not None else None,
            desks(self.kindred) if self.kindred is not None else None,
        )


def load(directory: Path, *, checksums: bool = False, pace: Pace = iter) -> Bundle:
    """Map the bundle in `directory`; `pace` may make it wait between models, and parts of files.

    The size of every file is always compared with the manifest, the checksum if asked for: at the
    first load of a version, not at every start of a worker. Raises BundleBroken.
    """
    manifest = read_manifest(directory)
    verify(directory, manifest, checksums=checksums, pace=pace)
    try:
        models = Models.load(directory, pace)
    except (msgspec.DecodeError, OSError, ValueError, RuntimeError, KeyError) as error:
        where = f"in bundle `{directory.name}`"
        raise BundleBroken(f"Expected models that load, got `{error}` - {where}") from error
    if len(models.item_ids) != manifest.n_items:
        raise BundleBroken(
            f"Expected {manifest.n_items} items, got {len(models.item_ids)}"
            f" - at `{_ITEMS_FILE}` in bundle `{directory.name}`"
        )
    return Bundle(manifest, models)


def load_current(bundles: Path, *, checksums: bool = False) -> Bundle | None:
    """The bundle to serve, None before the first one is published."""
    version = current_version(bundles)
    return None if version is None else load(bundles / version, checksums=checksums)


def read_manifest(directory: Path) -> Manifest:
    """What a bundle says of itself. Raises BundleTooNew for a later format, BundleBroken for what is none."""
    path = directory / MANIFEST_FILE
    try:
        encoded = path.read_bytes()
        format_number = msgspec.json.decode(encoded, type=_FormatOnly).format
        if format_number > FORMAT:
            raise BundleTooNew(
                f"Expected bundle format {FORMAT} or older, got {format_number}"
                f" - at `{MANIFEST_FILE}` in bundle `{directory.name}`; update Headrace or train again"
            )
        return msgspec.json.decode(encoded, type=Manifest)
    except FileNotFoundError as error:
        raise BundleBroken(f"Expected a manifest, got no file - at `{path}`") from error
    except msgspec.DecodeError as error:
        raise BundleBroken(f"{error} - at `{MANIFEST_FILE}` in bundle `{directory.name}`") from error


def verify(directory: Path, manifest: Manifest, *, checksums: bool, pace: Pace = iter) -> None:
    """Compare every file with the manifest; raise BundleBroken at the first that differs."""
    for name, entry in pace(manifest.files.items()):
        where = f"at `{name}` in bundle `{directory.name}`"
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute():
            raise BundleBroken(f"Expected a path within the bundle, got `{name}` - {where}")
        path = directory.joinpath(*parts)
        if not path.is_file():
            raise BundleBroken(f"Expected {entry.size_bytes} bytes, got no file - {where}")
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            raise BundleBroken(f"Expected {entry.size_bytes} bytes, got {size_bytes} - {where}")
        if checksums and (got := checksum(path, pace)) != entry.blake2b:
            raise BundleBroken(f"Expected checksum `{entry.blake2b}`, got `{got}` - {where}")


def checksum(path: Path, pace: Pace = iter) -> str:
    """Hexadecimal BLAKE2b checksum of 32 bytes; about 1 GB/s."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        for block in pace(iter(partial(file.read, _BLOCK_BYTES), b"")):
            digest.update(block)
    return digest.hexdigest()


def version_of(created_at_ms: int, files: dict[str, FileEntry]) -> str:
    """A name that sorts by time of creation, and differs where the content differs."""
    digest = hashlib.blake2b(msgspec.json.encode(files, order="sorted"), digest_size=4)
    created = datetime.fromtimestamp(created_at_ms / 1000, timezone.utc)
    return f"{created:%Y%m%dT%H%M%S}-{digest.hexdigest()}"


class _FormatOnly(msgspec.Struct):
    format: int
