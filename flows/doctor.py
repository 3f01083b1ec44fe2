"""Doctor: what stands well with this home, and what does not."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.dead_letters import DeadLetters
from flows.run import is_running
from recsys.keys import FLOW_KEY, ITEM_PREFIX
from recsys.models.bundle import current_version
from recsys.open import open_log, open_store
from recsys.ports import EventLog, ProfileStore
from recsys.progress import FlowProgress, decode_progress
from recsys.segment import CALLS, KNOWN_EVENT_NAMES
from recsys.settings import Settings

LETTERS_SHOWN = 5
MIN_FREE_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """`ok` None: neither good nor bad, good to know."""

    ok: bool | None
    title: str
    detail: str


def examine(settings: Settings, home: Path) -> list[Finding]:
    """Look at log, state, flow, tally, dead letters, catalogue, bundle, server and disk. Writes
    nothing."""
    findings: list[Finding] = []

    def attempt(title: str, look: Callable[[], Iterator[Finding]]) -> None:
        try:
            findings.extend(look())
        except Exception as error:  # noqa: BLE001 (whatever is wrong is the finding)
            findings.append(Finding(False, title, f"{type(error).__name__}: {error}"))

    opened: dict[str, object] = {}

    def look_at_log() -> Iterator[Finding]:
        log = opened["log"] = open_log(settings.log)
        end = log.end()
        records = sum(offset + 1 for offset in end.values())
        yield Finding(True, "log", f"{records:,} records in {len(end)} of {log.partitions} partitions")

    def look_at_state() -> Iterator[Finding]:
        store = opened["state"] = open_store(settings.state)
        items = sum(1 for _ in store.scan(ITEM_PREFIX))
        yield Finding(True, "state", settings.state.split("@")[-1])
        yield Finding(
            items > 0, "catalogue", f"{items:,} items" if items else "empty: `headrace catalog import FILE`"
        )

    attempt("log", look_at_log)
    attempt("state", look_at_state)
    log, store = opened.get("log"), opened.get("state")
    if log is not None and store is not None:
        attempt("flow", lambda: _flow(settings, log, store))  # type: ignore[arg-type]
    attempt("dead letters", lambda: _letters(Path(settings.dead_letters)))
    attempt("bundle", lambda: _bundle(Path(settings.bundles)))
    attempt("server", lambda: _server(settings))
    attempt("disk", lambda: _disk(home))
    return findings


def _flow(settings: Settings, log: EventLog, store: ProfileStore) -> Iterator[Finding]:
    data = store.get_many([FLOW_KEY])[0]
    progress = decode_progress(data) if data is not None else FlowProgress()
    behind = progress.behind(log.end())
    if is_running(Path(settings.recovery)):
        age_s = time.time() - progress.written_ms / 1000
        yield Finding(age_s < 30, "flow", f"running, {behind:,} records behind, heartbeat {age_s:.0f} s ago")
    else:
        state = (
            "everything taken" if not behind else f"{behind:,} records wait: `headrace flow` or `headrace up`"
        )
        yield Finding(None if behind else True, "flow", f"not running, {state}")
    p = progress
    yield Finding(
        p.received == p.accepted + p.duplicates + p.dead,
        "tally",
        f"received {p.received:,} = accepted {p.accepted:,} + duplicates {p.duplicates:,} + dead {p.dead:,}"
        f" (late {p.late:,}, blocked ids {p.blocked_ids:,}, catalogue {p.catalog:,}, served {p.served:,})",
    )
    known = {*KNOWN_EVENT_NAMES, *CALLS}
    unknown = [(name, times) for name, times in p.names if name.lower().replace("_", " ") not in known]
    if unknown:
        named = ", ".join(f"{name} ({times:,})" for name, times in unknown[:10])
        yield Finding(None, "unknown event names", f"{len(unknown)} kept and counted: {named}")
    if p.dead_kinds:
        yield Finding(None, "dead by kind", ", ".join(f"{kind} {times:,}" for kind, times in p.dead_kinds))


def _letters(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(True, "dead letters", "none")
        return
    letters = DeadLetters(path)
    try:
        count = letters.count()
        yield Finding(True if not count else None, "dead letters", f"{count:,} kept in {path}")
        for letter in letters.newest(LETTERS_SHOWN):
            yield Finding(
                None, f"  {letter.position} event {letter.index}", f"{letter}: {letter.raw[:120]!r}"
            )
    finally:
        letters.close()


def _bundle(directory: Path) -> Iterator[Finding]:
    version = current_version(directory)
    yield Finding(version is not None, "bundle", version or "none published: `headrace train`")


def _server(settings: Settings) -> Iterator[Finding]:
    server = settings.server
    try:
        with socket.create_connection((server.host, server.port), timeout=1):
            yield Finding(True, "server", f"listens on {server.host}:{server.port}")
    except OSError:
        yield Finding(None, "server", f"nothing listens on {server.host}:{server.port}: `headrace up`")


def _disk(home: Path) -> Iterator[Finding]:
    place = next(path for path in (home, *home.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    yield Finding(free_gb >= MIN_FREE_GB, "disk", f"{free_gb:.1f} GB free at {place}")
