"""Doctor: what stands well with this home, and what does not."""

from __future__ import annotations

import shutil
import socket
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flows.dead_letters import newest_letters, told
from flows.recovery import ANEW, loss
from flows.run import is_running
from recsys.catalog import Item, decode_item
from recsys.events import Flaw
from recsys.keys import ITEM_PREFIX
from recsys.models.current import BundleBroken, current_version
from recsys.open import is_kept, open_log, open_store
from recsys.ports import EventLog, LogUnavailable, ProfileStore, StoreUnavailable
from recsys.printable import printable, without_secrets
from recsys.progress import FOLD_RULES, OTHER_FLAWS, FlowProgress, progress_in
from recsys.segment import CALLS, KNOWN_EVENT_NAMES
from recsys.servable import check
from recsys.settings import Settings, SettingsError

LETTERS_SHOWN = 5
NAMES_SHOWN = 10
FLAWS_SHOWN = 10
NAME_CHARS = 40
MIN_FREE_GB = 1.0
_BEGIN = "`headrace up` or an import begins it"

_TYPES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "an object",
    "str": "text",
}


@dataclass(frozen=True)
class Finding:
    """`ok` None: neither good nor bad, good to know."""

    ok: bool | None
    title: str
    detail: str


def examine(settings: Settings, home: Path) -> list[Finding]:
    """Look at settings, text model, log, state, flow, tally, dead letters, catalogue, bundle, server, disk.
    Creates nothing: what is kept in this home and not there yet is told so."""
    findings: list[Finding] = []
    attempt = partial(_attempt, findings)
    log: EventLog | None = None
    store: ProfileStore | None = None

    def look_at_log() -> Iterator[Finding]:
        nonlocal log
        if not is_kept(settings.log):
            yield Finding(None, "log", f"none yet: {_BEGIN}")
            return
        opened = open_log(settings.log)
        end = opened.end()
        log = opened  # only one that answers is looked at further
        records = sum(offset + 1 for offset in end.values())
        yield Finding(True, "log", f"{records:,} records in {len(end)} of {log.partitions} partitions")
        if note := log.receipt_note():
            yield Finding(None, "  time of receipt", note)

    def look_at_state() -> Iterator[Finding]:
        nonlocal store
        if not is_kept(settings.state):
            yield Finding(None, "state", f"none yet: {_BEGIN}")
            return
        opened = open_store(settings.state)
        catalogue = _catalogue(decode_item(record) for _, record in opened.scan(ITEM_PREFIX))
        store = opened
        yield Finding(True, "state", without_secrets(settings.state))
        yield catalogue

    attempt("settings", lambda: _settings(settings))
    if settings.train.text_model:
        attempt("text model", lambda: _text_model(settings.train.text_model))
    attempt("log", look_at_log)
    attempt("state", look_at_state)
    if log is not None:
        read = log
        attempt("flow", lambda: _flow(settings, read, store))
        read.close()
    if store is not None:
        store.close()
    attempt("dead letters", lambda: _letters(Path(settings.dead_letters)))
    attempt("bundle", lambda: _bundle(Path(settings.bundles)))
    attempt("server", lambda: _server(settings))
    attempt("disk", lambda: _disk(home))
    return findings


def _attempt(findings: list[Finding], title: str, look: Callable[[], Iterator[Finding]]) -> None:
    """What a look finds; where it fails, that is the finding."""
    try:
        findings.extend(look())
    except (BundleBroken, LogUnavailable, SettingsError, StoreUnavailable) as error:
        findings.append(Finding(False, title, str(error)))
    except Exception as error:  # noqa: BLE001 (whatever is wrong is the finding)
        findings.append(Finding(False, title, f"{type(error).__name__}: {error}"))


def lines_of(finding: Finding, width: int | None) -> Iterator[str]:
    """A finding as it is printed: in full, over several lines where `width` (columns of a terminal)
    asks for it."""
    mark = "-" if finding.ok is None else "ok" if finding.ok else "BAD"
    line = printable(f"{mark:4}{finding.title}: {finding.detail}")
    if width is None:
        yield line
        return
    yield from textwrap.wrap(
        line, width, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )


def _settings(settings: Settings) -> Iterator[Finding]:
    check(settings)
    yield Finding(True, "settings", f"{len(settings.all_placements())} placements")


def _catalogue(items: Iterable[Item]) -> Finding:
    count = Counter("removed" if item.removed else "fed" if item.fed else "seen" for item in items)
    if not count:
        return Finding(False, "catalogue", "empty: `headrace catalog import FILE`")
    return Finding(
        count["fed"] + count["seen"] > 0,
        "catalogue",
        f"{count['fed']:,} from feeds, {count['seen']:,} known from events only,"
        f" {count['removed']:,} taken out",
    )


def _flow(settings: Settings, log: EventLog, store: ProfileStore | None) -> Iterator[Finding]:
    kept = progress_in(store) if store is not None else None
    if store is not None and (lost := loss(kept, Path(settings.recovery))):
        yield Finding(False, "state", lost)
        return
    p = kept or FlowProgress()
    behind = p.behind(log.end())
    # To ask for the lock would create its folder; where none is, no flow has run.
    if Path(settings.recovery).is_dir() and is_running(Path(settings.recovery)):
        age_s = time.time() - p.written_ms / 1000
        heartbeat = f"heartbeat {age_s:.0f} s ago, longest step {p.step_ms:,} ms"
        if not p.written_ms:
            heartbeat = "no heartbeat yet"
        elif age_s < -1:
            heartbeat = f"heartbeat {-age_s:.0f} s ahead of this clock: was it set back?"
        yield Finding(-1 <= age_s < 30, "flow", f"running, {behind:,} records behind, {heartbeat}")
    else:
        waiting = f"{behind:,} records wait" if behind > 1 else "1 record waits"
        state = f"{waiting}: `headrace flow` or `headrace up`" if behind else "everything taken"
        yield Finding(None if behind else True, "flow", f"not running, {state}")
    yield Finding(
        p.received == p.accepted + p.duplicates + p.dead,
        "tally",
        f"received {p.received:,} = accepted {p.accepted:,} + duplicates {p.duplicates:,} + dead {p.dead:,}"
        f" (late {p.late:,}, blocked ids {p.blocked_ids:,}, catalogue {p.catalog:,}, served {p.served:,})",
    )
    yield from _oddities(settings, p)


def _oddities(settings: Settings, p: FlowProgress) -> Iterator[Finding]:
    """What the flow has met that its operator may want to know of."""
    if p.late:
        lateness_s = settings.flow.allowed_lateness_s
        yield Finding(
            None,
            "  late",
            f"{p.late:,} came more than {lateness_s} s behind newer ones, as the history of a shop does"
            " that is imported later: taken all the same",
        )
    if p.received and p.rules < FOLD_RULES:
        yield Finding(None, "rules", f"begun by an earlier version: `headrace verify` may differ. {ANEW}")
    known = {*KNOWN_EVENT_NAMES, *CALLS}
    unknown = [(name, times) for name, times in p.names if name.lower().replace("_", " ") not in known]
    if unknown:
        named = ", ".join(f"{name[:NAME_CHARS]} ({times:,})" for name, times in unknown[:NAMES_SHOWN])
        more = f" and {len(unknown) - NAMES_SHOWN} more" if len(unknown) > NAMES_SHOWN else ""
        yield Finding(None, "unknown event names", f"{len(unknown)} kept and counted: {named}{more}")
    if p.crowded:
        named = ", ".join(f"{name[:NAME_CHARS]} ({times:,})" for name, times in p.crowded[:NAMES_SHOWN])
        yield Finding(
            None,
            "crowded devices",
            f"logged in as more than {settings.flow.max_customers_per_device} customers; events taken as"
            f" nobody's: {named}",
        )
    yield from _flaws(p)
    if p.dead_kinds:
        yield Finding(None, "dead by kind", ", ".join(f"{kind} {times:,}" for kind, times in p.dead_kinds))


def _flaws(p: FlowProgress) -> Iterator[Finding]:
    """Fields of accepted events that were not what the spec says, the most frequent first."""
    if not p.flaws:
        return
    count = f"{p.flaw_count:,} in accepted events: read by plain rules, or left out"
    yield Finding(None, "wrong fields", count)
    for flaw, times in p.flaws[:FLAWS_SHOWN]:
        became = "read" if flaw.is_repaired else "left out"
        what = f"{_in_words(flaw)}, {became}" if flaw != OTHER_FLAWS else "others"
        yield Finding(None, f"  {times:,} time{'s' if times > 1 else ''}", what)
    if len(p.flaws) > FLAWS_SHOWN:
        yield Finding(None, "  and", f"{len(p.flaws) - FLAWS_SHOWN} more kinds")


def _in_words(flaw: Flaw) -> str:
    """For whoever runs the shop: types by what they hold, not by Python's names of them."""
    expected, got = (
        " or ".join(_TYPES.get(name, told) for name in told.strip("`").split(" | "))
        for told in (flaw.expected, flaw.got)
    )
    return str(msgspec.structs.replace(flaw, expected=expected, got=got))


def _letters(path: Path) -> Iterator[Finding]:
    letters, count = newest_letters(path, LETTERS_SHOWN)
    if not count:
        yield Finding(True, "dead letters", "none")
        return
    yield Finding(None, "dead letters", f"{count:,} kept, `headrace doctor --dead 20` shows the newest whole")
    for letter in letters:
        why, _ = told(letter)
        yield Finding(None, "  newest" if letter is letters[0] else "  before", why)


def _bundle(directory: Path) -> Iterator[Finding]:
    version = current_version(directory)
    yield Finding(version is not None, "bundle", version or "none published: `headrace train`")


def _text_model(name: str) -> Iterator[Finding]:
    # Late: it brings kernels, for which nobody should wait who has no such model.
    from recsys.models.sentence_model import NoSentenceModel, files_of  # noqa: PLC0415

    try:
        files_of(name)
    except NoSentenceModel as error:
        yield Finding(False, "text model", str(error))
    else:
        yield Finding(True, "text model", name)


def _server(settings: Settings) -> Iterator[Finding]:
    server = settings.server
    try:
        with socket.create_connection((server.host, server.port), timeout=1):
            told = _log_of_server(f"{server.host}:{server.port}")
            other = bool(told) and told != settings.log
            whose = f"is the server of {told}" if other else "listens"
            yield Finding(not other, "server", f"{server.host}:{server.port} {whose}")
    except OSError:
        yield Finding(None, "server", f"nothing listens on {server.host}:{server.port}: `headrace up`")


def _log_of_server(address: str) -> str:
    """The log an embedded server tells it serves, "" if it tells none (`server/whose.py`)."""
    with grpc.insecure_channel(address) as channel:
        try:
            _, call = health_pb2_grpc.HealthStub(channel).Check.with_call(
                health_pb2.HealthCheckRequest(), timeout=1
            )
        except grpc.RpcError:
            return ""
        told = dict(call.trailing_metadata() or ()).get("headrace-log-bin", b"")
    return bytes(told).decode()


def _disk(home: Path) -> Iterator[Finding]:
    place = next(path for path in (home, *home.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    yield Finding(free_gb >= MIN_FREE_GB, "disk", f"{free_gb:.1f} GB free at {place}")
