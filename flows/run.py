"""The write path's composition root: opens what the settings name and runs the dataflow."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import time
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from flows.clock_watch import this_clock, watching
from flows.pace import Pace
from flows.personalize import Sinks, personalize
from flows.recovery import StateLost, loss
from flows.sinks import ArchiveSink, DeadLetterSink, StateSink
from flows.source import LogSource, Until
from flows.stages import Stages
from recsys.decode import Decoder
from recsys.keys import IDLE_PREFIX
from recsys.open import open_log, open_store
from recsys.ports import LogUnavailable, ProfileStore, StoreUnavailable
from recsys.progress import progress_in
from recsys.settings import Settings
from recsys.shown import remembering
from recsys.visitor import StageRules

LOOKED_AT_S = 0.5
"""Whoever looks whether a flow runs holds its lock for a moment; a flow that starts then waits so long."""


class FlowRunning(RuntimeError):
    """Another flow works on this home."""


def _known_cause(error: BaseException, recovery: Path) -> BaseException:
    """The engine wraps what a step raised; what is known is told in its own words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (LogUnavailable, OSError, StoreUnavailable)):
            return type(cause)(str(cause))
        if "DiskFull" in str(cause):  # as the engine's own database says it
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(recovery))
        cause = cause.__cause__ or cause.__context__
    return error


def _without_backtraces(environ: MutableMapping[str, str]) -> None:
    """Where every Rust program is told to print its stack (RUST_BACKTRACE=1), the engine's sixty lines would
    stand before the one that says what has failed. `full` still prints them."""
    if environ.get("RUST_BACKTRACE", "full") != "full":
        environ["RUST_BACKTRACE"] = "0"


@contextmanager
def flow_lock(recovery: Path) -> Iterator[None]:
    """Held while a flow runs: two on one state would undo each other. The lock dies with its
    process, however that ends."""
    recovery.mkdir(parents=True, exist_ok=True)
    with (recovery / "flow.lock").open("a+") as file:
        patient_until_s = time.monotonic() + LOOKED_AT_S
        while not _locked(file, fcntl.LOCK_EX):
            if time.monotonic() > patient_until_s:
                raise FlowRunning(f"Expected no other flow on `{recovery.parent}`, got one that is running")
            time.sleep(0.01)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_running(recovery: Path) -> bool:
    """Whether a flow works on this home now."""
    path = recovery / "flow.lock"
    if not path.exists():
        return False
    with path.open() as file:
        return not _locked(file, fcntl.LOCK_SH)


def _locked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def decoder_of(settings: Settings) -> Decoder:
    """Reads raw events by the shop's own touchpoints and consent categories."""
    return Decoder(settings.touchpoint_registry(), settings.consent.personalization, settings.consent.email)


def rules_of(settings: Settings) -> StageRules:
    """What the stages go by, in milliseconds."""
    flow = settings.flow
    return StageRules(
        settings.session.rules,
        flow.allowed_lateness_s * 1000,
        flow.max_customers_per_device,
        flow.undo_login_s * 1000,
    )


def _end(settings: Settings) -> dict[int, int]:
    with closing(open_log(settings.log)) as log:
        return log.end()


def build(settings: Settings, until: Until, store: ProfileStore) -> Dataflow:
    """The dataflow on the adapters that the settings name; `store` is for what the stages look up."""
    pace = Pace(settings.flow.batch, settings.flow.step_ms)
    stages = Stages(
        rules_of(settings),
        decoder_of(settings),
        lambda key: store.get_many([key])[0],
        settings.flow.idle_s,
        frozenset().union(*remembering(settings.all_placements()).values()),
        pace.longest_ms,
        parked=next(iter(store.scan(IDLE_PREFIX)), None) is not None,
    )
    sinks = Sinks(
        StateSink(lambda: open_store(settings.state), settings.server.render_ttl_s),
        ArchiveSink(Path(settings.archive), settings.flow.archive_rows, settings.flow.archive_s),
        DeadLetterSink(Path(settings.dead_letters)),
    )
    source = LogSource(lambda: open_log(settings.log), until, pace, settings.flow.poll_ms)
    return personalize(source, stages, sinks)


def run(
    settings: Settings,
    *,
    to_end: bool = False,
    workers: int = 1,
    process: int = 0,
    addresses: list[str] | None = None,
) -> None:
    """Run the flow until it is told to stop (SIGTERM, SIGINT), or to the log's present end.

    Stopping finishes the batch at hand and takes a snapshot; a flow that is killed instead goes on
    from the snapshot before. Raises FlowRunning and StateLost.
    """
    stop = False

    def told(*_: object) -> None:
        nonlocal stop
        stop = True

    recovery = Path(settings.recovery)
    until = Until(_end(settings) if to_end else None, lambda: stop)
    with flow_lock(recovery if process == 0 else recovery / f"process-{process}"):
        if process == 0 and not list(recovery.glob("part-*.sqlite3")):
            init_db_dir(recovery, 1)
        _without_backtraces(os.environ)
        previous = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        # States are trees without cycles, many and long-lived: the collector's usual rhythm walks
        # all of them again and again, for half of the flow's time.
        gc.set_threshold(200_000, 50, 100)
        try:
            with closing(open_store(settings.state)) as store, watching(this_clock()):
                if lost := loss(progress_in(store), recovery):
                    raise StateLost(lost)
                cli_main(
                    build(settings, until, store),
                    workers_per_process=workers,
                    process_id=process if addresses else None,
                    addresses=addresses,
                    epoch_interval=timedelta(seconds=settings.flow.snapshot_s),
                    recovery_config=RecoveryConfig(str(recovery)),
                )
        except RuntimeError as error:  # the engine's, and what its Rust could not unwrap
            if (cause := _known_cause(error, recovery)) is error:
                raise  # not from itself: that would take away what the engine says was behind it
            raise cause from error
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            gc.unfreeze()  # see LogPartition.next_batch: what the steps left is the collector's again
