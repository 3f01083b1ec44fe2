"""Writing bundles: a draft becomes a version at once, or leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

import msgspec

from recsys.models.bundle import (
    FORMAT,
    MANIFEST_FILE,
    FileEntry,
    Manifest,
    Models,
    TrainingRange,
    checksum,
    read_manifest,
    verify,
    version_of,
)
from recsys.models.current import CURRENT_FILE, BundleBroken, current_version
from recsys.models.evaluation import Metrics

KEPT_BUNDLES = 3
_DRAFT_PREFIX = ".draft-"
_LOCK_SUFFIX = ".lock"


class Draft:
    """A complete bundle under a temporary name. `publish` it or `discard` it; leaving the `with`
    block discards what was not published.

    The draft holds a file lock that the system frees when its writer dies, so that whoever publishes
    next can tell an abandoned draft from one that is being written.
    """

    def __init__(self, bundles: Path) -> None:
        bundles.mkdir(parents=True, exist_ok=True)
        self.bundles = bundles
        self.directory = Path(tempfile.mkdtemp(prefix=_DRAFT_PREFIX, dir=bundles))
        # mkdtemp is private to the owner; servers may run as somebody else.
        self.directory.chmod(0o755)
        self._lock_path = _lock_of(self.directory)
        self._lock = self._lock_path.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.version = ""

    def __enter__(self) -> Draft:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def write(
        self,
        models: Models,
        *,
        headrace: str,
        created_at_ms: int,
        training: TrainingRange,
        evaluation: dict[str, Metrics],
    ) -> Manifest:
        """Write models and manifest, and wait until they are on the disk."""
        models.save(self.directory)
        files = {}
        for path in sorted(path for path in self.directory.rglob("*") if path.is_file()):
            _sync(path)
            name = path.relative_to(self.directory).as_posix()
            files[name] = FileEntry(path.stat().st_size, checksum(path))
        self.version = version_of(created_at_ms, files)
        manifest = Manifest(
            format=FORMAT,
            version=self.version,
            headrace=headrace,
            created_at_ms=created_at_ms,
            training=training,
            evaluation=evaluation,
            n_items=len(models.item_ids),
            files=files,
        )
        (self.directory / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        _sync(self.directory / MANIFEST_FILE)
        for directory in [path for path in self.directory.rglob("*") if path.is_dir()]:
            _sync(directory)
        _sync(self.directory)
        return manifest

    def publish(self, *, keep: int = KEPT_BUNDLES, in_use: Collection[str] = ()) -> Path:
        """Make this bundle the current one; then remove abandoned drafts and old bundles.

        `keep` newest bundles stay, and those `in_use`. Checksums are compared first, so what is
        published is what was written. Raises BundleBroken, and leaves the old one current.
        """
        verify(self.directory, read_manifest(self.directory), checksums=True)
        published = self.bundles / self.version
        if not published.exists():
            self.directory.rename(published)
            _sync(self.bundles)
        set_current(self.bundles, self.version)
        self.discard()
        remove_abandoned(self.bundles)
        prune(self.bundles, keep=keep, in_use=in_use)
        return published

    def discard(self) -> None:
        """Remove the draft; nothing happens if it was published or discarded before."""
        if self._lock.closed:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        self._lock.close()


def set_current(bundles: Path, version: str) -> None:
    """Let `version` be served: atomically, and durable when the call returns."""
    if not (bundles / version / MANIFEST_FILE).is_file():
        raise BundleBroken(f"Expected a bundle, got no manifest - at `{bundles / version}`")
    handle, temporary = tempfile.mkstemp(prefix=f".{CURRENT_FILE}-", dir=bundles)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(version + "\n")
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    Path(temporary).replace(bundles / CURRENT_FILE)
    _sync(bundles)


def prune(bundles: Path, *, keep: int = KEPT_BUNDLES, in_use: Collection[str] = ()) -> list[str]:
    """Remove all but the `keep` newest bundles, never the current one nor those `in_use`.

    Returns the removed versions. A server that has mapped a removed bundle goes on with it; one
    that is about to load it finds `current` changed and loads that.
    """
    versions = sorted(path.name for path in bundles.iterdir() if (path / MANIFEST_FILE).is_file())
    versions = [version for version in versions if not version.startswith(".")]
    spared = {current_version(bundles), *in_use, *versions[max(0, len(versions) - keep) :]}
    removed = [version for version in versions if version not in spared]
    for version in removed:
        # Out of sight first: nobody finds half a bundle while its files go one by one.
        hidden = bundles / f"{_DRAFT_PREFIX}removed-{version}"
        (bundles / version).rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    return removed


def remove_abandoned(bundles: Path) -> None:
    """Remove drafts whose writer is gone, and what an interrupted removal left."""
    for path in bundles.glob(f"{_DRAFT_PREFIX}*"):
        if not path.is_dir():
            continue
        with _lock_of(path).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(path, ignore_errors=True)
            _lock_of(path).unlink(missing_ok=True)
    for temporary in bundles.glob(f".{CURRENT_FILE}-*"):
        temporary.unlink(missing_ok=True)


def _lock_of(draft: Path) -> Path:
    """Beside the draft, not in it: the file must not become part of the bundle."""
    return draft.with_name(draft.name + _LOCK_SUFFIX)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
