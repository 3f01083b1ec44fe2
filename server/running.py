"""One server process: the parts put together around a log and a state that somebody else opened."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from recsys.decide import decide_all
from recsys.ports import EventLog, ProfileStore
from recsys.servable import tls_pair
from recsys.settings import Settings
from server.auth import Keys
from server.blocks import Blocks, Decider, Lookups
from server.explain import Decisions
from server.lane import Lane, open_lane
from server.live import BundleWatch, Live
from server.logged import Logged
from server.metrics import Metrics, ModelNote
from server.patience import patience
from server.people import People
from server.renders import Renders
from server.requests import MAX_MESSAGE_BYTES, RequestChecks
from server.served import RecentDecisions
from server.served_queue import ServedQueue
from server.service import SERVICE, HeadraceService
from server.shown import Shown
from server.warm import warm
from server.whose import NamedHealth

log = structlog.get_logger("server.running")

GC_THRESHOLDS = (20_000, 20, 20)
"""Young objects, and collections of the younger ones, before the collector looks: Python's own 700 would
be five looks a request."""
LEAST_PING_MS = 5_000
"""Who looks more often whether a connection lives loses it. With gRPC's own five minutes a mailing would wait
that long for a process that hangs."""
CALLS_A_THREAD = 32
"""Calls that may wait for a thread, for each there is; further ones get RESOURCE_EXHAUSTED."""


def wall_clock_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class RunningServer:
    """Answers on its port from `start` to `stop`. Log and state stay the caller's, who closes them.

    Health is SERVING from when the catalogue has been read until `stop`.
    """

    def __init__(
        self,
        settings: Settings,
        event_log: EventLog,
        store: ProfileStore,
        metrics: Metrics,
        note: ModelNote | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        decider: Decider = decide_all,
        asked: ProfileStore | None = None,
    ) -> None:
        """`asked`: `store` for pages, which cannot wait for one that hangs; None: one for all."""
        server, placements = settings.server, settings.all_placements()
        self._settings, self._now_ms = settings, now_ms
        self._metrics = metrics
        # An embedded state answers at once; a look-up over the network must not hold up other calls.
        self._turns = 1 if settings.has_embedded_state else server.threads
        self.loaded = Event()
        self.live = Live(
            store,
            event_log,
            BundleWatch(Path(settings.bundles), metrics),
            metrics,
            note if note is not None else ModelNote(None, 0),
            server.refresh_ms / 1000,
            now_ms,
            self._on_loaded,
        )
        logged = Logged(store)
        self.queue = ServedQueue(event_log, server.served_queue, metrics, now_ms, logged.note)
        recent = RecentDecisions()
        asked = asked if asked is not None else store
        renders = partial(Renders, placements=placements, ttl_s=server.render_ttl_s, retry_s=server.retry_s)
        shown = Shown(asked, placements)
        pages = Lookups(People(asked), shown, renders(asked))
        mails = (
            pages
            if asked is store
            else Lookups(People(store), Shown(store, placements, shown.memory), renders(store))
        )
        blocks = Blocks(
            self.live,
            pages,
            mails,
            self.queue,
            logged,
            recent,
            placements,
            settings.session.rules,
            metrics,
            now_ms,
            max_waits=server.threads - 2,
            banners=settings.banners,
            zone=settings.zone(),
            decider=decider,
        )
        self._service = HeadraceService(
            blocks,
            Decisions(
                recent,
                store,
                mails.people,
                self.live,
                placements,
                settings.session.rules,
                mails.shown,
                settings.banners,
                settings.zone(),
            ),
            RequestChecks(placements, server),
            event_log,
            self.queue,
            Keys(server.keys),
            metrics,
            now_ms,
            server.deadline_ms / 1000,
            max_bulk_streams=server.threads // 4,
        )
        self._health = NamedHealth(settings)
        self._draining = False
        self._server: grpc.Server | None = None
        self._lane: Lane | None = None

    def start(self, port: int, *, share_port: bool = False) -> int:
        """Listen, and begin to read the catalogue; the port that was bound. `share_port`: with
        other processes (SO_REUSEPORT). Raises RuntimeError when the port cannot be bound."""
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        threads = self._settings.server.threads
        most_calls = threads * CALLS_A_THREAD
        self._server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="request"),
            options=(
                ("grpc.so_reuseport", int(share_port)),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_MS),
            ),
            maximum_concurrent_rpcs=most_calls,
        )
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        silent_s = self._settings.server.deadline_ms / 1000
        get_blocks = self._service.get_blocks()
        self._lane = open_lane(self._server, get_blocks, threads, self._turns, most_calls, silent_s)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        bound = self._bind(self._server, port)
        with patience():
            self.live.start()
            self.queue.start()
            self._server.start()
        if self._lane is not None:
            self._lane.start()
        return bound

    def stop(self, grace_s: float = 10.0, drain_s: float = 5.0) -> None:
        """Say NOT_SERVING, take no new calls, finish those there are (`grace_s`), log what was
        served (`drain_s`)."""
        self._draining = True
        self._health.enter_graceful_shutdown()
        if self._server is not None:
            self._server.stop(grace_s).wait()
        if self._lane is not None:
            self._lane.close()
        self.live.stop()
        self.queue.stop(drain_s)

    def _bind(self, server: grpc.Server, port: int) -> int:
        settings = self._settings.server
        host = f"[{settings.host}]" if ":" in settings.host and "[" not in settings.host else settings.host
        address = f"{host}:{port}"
        pair = tls_pair(settings)
        if pair is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, grpc.ssl_server_credentials((pair,))))

    def _on_loaded(self) -> None:
        shelf, settings = self.live.shelf, self._settings
        assert shelf is not None
        warm(shelf, settings.all_placements(), settings.banners, settings.session.rules, self._now_ms())
        # The catalogue stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        # What requests make goes by itself, in no circles: to look for those often is time lost.
        gc.set_threshold(*GC_THRESHOLDS)
        self.loaded.set()
        if not self._draining:
            self._say(health_pb2.HealthCheckResponse.SERVING)

    def _say(self, status: int) -> None:
        self._health.set("", status)
        self._health.set(SERVICE, status)
