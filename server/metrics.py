"""What the server counts, for Prometheus.

Several processes serve one port; each writes its figures to a folder (prometheus-client's
multiprocess mode) and the supervisor shows their sum at one address. Info metrics do not work that
way, so each process names its model in a small file beside them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from bisect import bisect_left
from collections import Counter as Counts
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

_T = TypeVar("_T")

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus-client when it is imported: set in the environment of each server process."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (our folder there names user, home and port)
_LATENCY_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


SUM_UP_AT = 1000
"""Answers that are noted before they are summed by whoever answers."""


class _Times(Histogram):
    """A histogram that takes many values at once."""

    def observe_all(self, values: Sequence[float]) -> None:
        counts = Counts(bisect_left(self._upper_bounds, value) for value in values)
        for place, count in counts.items():
            self._buckets[place].inc(count)
        self._sum.inc(sum(values))


class Metrics:
    """The figures of this process. `registry`: None where the supervisor collects them.

    What every answer counts is noted by `answered` and `shown`, and summed now and then by `sum_up`: one
    figure costs as much as reading a person, for its lock and its place in a shared file.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.requests = Counter(
            "headrace_requests", "Requests answered, by status code.", ("rpc", "code"), registry=registry
        )
        self.seconds = _Times(
            "headrace_request_seconds",
            "Time of a request in the server.",
            ("rpc",),
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.blocks = Counter("headrace_blocks", "Blocks answered.", ("placement",), registry=registry)
        self.fallbacks = Counter(
            "headrace_fallbacks",
            "Blocks less personal than they could be, and why.",
            ("fallback",),
            registry=registry,
        )
        self.waits = Counter(
            "headrace_freshness_waits",
            "Requests with at_least_as_fresh: reached or late.",
            ("outcome",),
            registry=registry,
        )
        self.events = Counter(
            "headrace_events", "Events taken in: good or broken.", ("outcome",), registry=registry
        )
        self.served_waiting = Gauge(
            "headrace_served_waiting",
            "Blocks served that wait to be logged.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.served_logged = Counter("headrace_served_logged", "Blocks served and logged.", registry=registry)
        self.served_dropped = Counter(
            "headrace_served_dropped",
            "Blocks served and never logged: the queue was full, or the log down at the stop.",
            registry=registry,
        )
        self.flow_lag_s = Gauge(
            "headrace_flow_lag_seconds", "How far the flow is behind the log; -1: unknown.",
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self.flow_step_s = Gauge(
            "headrace_flow_step_seconds",
            "The flow's longest step of the last minute or two: how long a click waits for its turn.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.items = Gauge(
            "headrace_catalogue_items",
            "Items in the catalogue.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.bundles = Counter(
            "headrace_bundle_loads", "Bundles loaded or broken.", ("outcome",), registry=registry
        )
        self.refresh_failures = Counter(
            "headrace_refresh_failures",
            "Refreshes that failed, by what was out of reach.",
            ("of",),
            registry=registry,
        )
        self._answered: deque[tuple[str, float]] = deque()
        self._shown: deque[tuple[str, str]] = deque()
        self._summing = Lock()

    def answered(self, rpc: str, seconds: float) -> None:
        """A request was answered, OK."""
        self._answered.append((rpc, seconds))
        if len(self._answered) > SUM_UP_AT:
            self.sum_up()

    def shown(self, placement: str, fallback: str) -> None:
        """A block was answered; `fallback` "" for none."""
        self._shown.append((placement, fallback))
        if len(self._shown) > SUM_UP_AT:
            self.sum_up()

    def sum_up(self) -> None:
        """Add what was noted to the figures."""
        with self._summing:
            seconds_of: dict[str, list[float]] = {}
            for rpc, seconds in _taken(self._answered):
                seconds_of.setdefault(rpc, []).append(seconds)
            shown = Counts(_taken(self._shown))
            for rpc, times in seconds_of.items():
                self.requests.labels(rpc, "OK").inc(len(times))
                self.seconds.labels(rpc).observe_all(times)
            for (placement, fallback), count in shown.items():
                self.blocks.labels(placement).inc(count)
                if fallback:
                    self.fallbacks.labels(fallback).inc(count)


def _taken(noted: deque[_T]) -> Iterator[_T]:
    """What is noted, taken away; others may note more meanwhile."""
    for _ in range(len(noted)):
        yield noted.popleft()


class ModelNote:
    """Names the model of this process, for the supervisor's `headrace_model_info`."""

    def __init__(self, folder: Path | None, pid: int) -> None:
        self._path = _note_path(folder, pid) if folder is not None else None

    def write(self, version: str) -> None:
        if self._path is not None:
            draft = self._path.with_suffix(".draft")
            draft.write_text(version, "utf-8")
            draft.replace(self._path)


def _note_path(folder: Path, pid: int) -> Path:
    return folder / f"model_{pid}.txt"


class _ModelInfo(Collector):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "headrace_model_info", "The bundle each process serves with.", labels=("pid", "version")
        )
        for path in sorted(self._folder.glob("model_*.txt")):
            with contextlib.suppress(FileNotFoundError):
                info.add_metric((path.stem.removeprefix("model_"), path.read_text("utf-8")), 1)
        yield info


def figures_folder(home: Path, port: int) -> Path:
    """Where the processes of a port put their figures, which are files that they map into memory: there a
    disk without a free block is no error but the end of the process. So it is memory, where there is a
    folder for that."""
    if os.access(SHARED_MEMORY, os.W_OK):
        return SHARED_MEMORY / f"headrace-{os.getuid()}-{crc32(bytes(home.absolute())):08x}-{port}"
    return home / f"metrics-{port}"


class MetricsPage:
    """/metrics of all processes, kept by the supervisor."""

    def __init__(self, folder: Path) -> None:
        """`folder` is emptied: its figures are those of processes that are gone."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, path=str(folder))  # type: ignore[no-untyped-call]
        self._registry.register(_ModelInfo(folder))
        self._server: tuple[WSGIServer, Thread] | None = None

    def open(self, port: int) -> None:
        """Show the page on 127.0.0.1. Raises OSError when the port is taken."""
        self._server = start_http_server(port, "127.0.0.1", self._registry)

    @property
    def port(self) -> int:
        return int(self._server[0].server_port) if self._server is not None else 0

    def forget(self, pid: int) -> None:
        """A process is gone: its totals stay, what it was doing goes."""
        mark_process_dead(pid, str(self.folder))  # type: ignore[no-untyped-call]
        _note_path(self.folder, pid).unlink(missing_ok=True)

    def close(self) -> None:
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None
        shutil.rmtree(self.folder, ignore_errors=True)
