"""Open-loop load: requests start when they are due, whether or not earlier ones have been answered.

Arrivals are random (Poisson), as visitors' are. A request's latency counts from the moment it was
due, so a slow server cannot slow its own measurement down (Gil Tene, "How NOT to measure latency").
"""

from __future__ import annotations

import gc
import random
import time
from concurrent.futures import ThreadPoolExecutor
from select import select
from threading import Event
from typing import Any, NamedTuple

import grpc
import numpy as np

from bench.http2 import Call, Connection, call_of
from bench.ids import user_id, visitor_id
from bench.runner import Tell
from recsys.settings import ServerSettings
from server.lane import Method, open_lane
from server.pb import headrace_pb2 as pb

METHOD = "/headrace.v1.Headrace/GetBlocks"
POOL = 20_000
"""Requests made beforehand; repeated when a step has more."""
CALLERS = 32
"""Of a closed loop."""
CONNECTIONS = 4
TIMEOUT_S = 10
START_S = 0.3
WAKE_S = 0.0001
"""So much too late the system may wake the generator; for that long it looks again and again."""
LOOKED_AT = 50
"""Answers that are read, to see that blocks are filled."""


class Latencies(NamedTuple):
    """What came of one step."""

    rate: float
    """Requests due a second."""
    done_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    answered: int
    """All of them, those of the warm-up too."""
    errors: int
    fewest_items: int
    """In the answers that were looked at, over all slots."""
    generator_cpu_us: float = 0.0
    """Processor time of a generator for each request; in an open loop with what it waits awake."""
    late_p99_ms: float = 0.0
    """How late a request left the generator: what of the latencies is not the server's. Of an open loop."""


def generate(argument: dict[str, Any]) -> dict[str, Any]:
    """A step's load of one process. `rate` 0: a closed loop of `CALLERS`, as fast as they are answered."""
    rng = np.random.default_rng(argument["seed"])
    warm_s, rate = argument["warm_s"], argument["rate"]
    total_s = warm_s + argument["seconds"]
    count = min(POOL, round(rate * total_s)) if rate else POOL
    calls = [call_of(METHOD, message, TIMEOUT_S) for message in _requests(argument, count)]
    host, _, port = argument["address"].rpartition(":")
    connections = [Connection(host, int(port), TIMEOUT_S) for _ in range(CONNECTIONS)]
    gc.freeze()
    began_cpu_s = time.process_time()
    if rate:
        load = _Load(connections, calls, total_s + TIMEOUT_S)
        load.open_loop(arrivals(rng, rate, 0.0, warm_s) + arrivals(rng, rate, warm_s, total_s))
    else:
        load = _Load(connections, calls, total_s)
        load.closed_loop(CALLERS)
    cpu_s = time.process_time() - began_cpu_s
    for connection in connections:
        connection.close()
    counted = [(due, end) for due, end in load.answered if (due if rate else end) >= warm_s]
    window_s = max((end for _, end in counted), default=0.0) - warm_s
    read = [pb.GetBlocksResponse.FromString(answer) for answer in load.samples]
    return {
        "latencies_ms": [round((end - due) * 1000, 3) for due, end in counted] if rate else [],
        "late_ms": [round(late_s * 1000, 3) for late_s in load.late_s],
        "done_per_s": len(counted) / max(window_s, 1e-9),
        "answered": len(load.answered),
        "cpu_s": cpu_s,
        "errors": load.errors,
        "fewest_items": min((sum(len(block.items) for block in one.blocks) for one in read), default=0),
    }


def arrivals(rng: np.random.Generator, rate: float, from_s: float, to_s: float) -> list[float]:
    """When requests are due: a Poisson process of which it is known that `rate` came true. Otherwise
    a short step would be as much a matter of chance as of the server."""
    return sorted(rng.uniform(from_s, to_s, round(rate * (to_s - from_s))).tolist())


def _requests(argument: dict[str, Any], count: int) -> list[bytes]:
    choose = random.Random(argument["seed"])
    slots = [pb.Slot(name=s["name"], placement=s["placement"], limit=s["limit"]) for s in argument["slots"]]
    numbers = (choose.randrange(argument["profiles"]) for _ in range(count))
    return [
        pb.GetBlocksRequest(
            anonymous_id=visitor_id(number), user_id=user_id(number) or "", slots=slots
        ).SerializeToString()
        for number in numbers
    ]


class _Load:
    """The load of one process: sends each call when it is due, over connections in turn, and notes when
    its answer is there. One thread that waits for whatever comes first."""

    def __init__(self, connections: list[Connection], calls: list[Call], until_s: float) -> None:
        self.answered: list[tuple[float, float]] = []
        """Seconds from the start at which a call was due, and at which it was answered."""
        self.late_s: list[float] = []
        """How much later than due each call of an open loop was sent."""
        self.errors = 0
        self.samples: list[bytes] = []
        self._connections = connections
        self._calls = calls
        self._until_s = until_s
        self._under_way: list[dict[int, float]] = [{} for _ in connections]
        """For each connection when the call on a stream was due."""
        self._started_s = time.perf_counter() + START_S

    def open_loop(self, due_s: list[float]) -> None:
        """Calls at these seconds from the start, whether or not earlier ones have been answered."""
        sent = 0
        while (sent < len(due_s) or any(self._under_way)) and self._now_s() < self._until_s:
            now_s = self._now_s()
            while sent < len(due_s) and due_s[sent] <= now_s and self._send(sent, due_s[sent]):
                self.late_s.append(now_s - due_s[sent])
                sent += 1
            self._wait(due_s[sent] if sent < len(due_s) else self._until_s)
        # What was not answered in good time is not there: the rate says so.
        self.errors += sum(map(len, self._under_way))

    def closed_loop(self, callers: int) -> None:
        """As many calls as `callers` get answered who ask again at once."""
        sent = 0
        while self._now_s() < self._until_s:
            under_way = sum(map(len, self._under_way))
            for _ in range(callers - under_way):
                sent += self._send(sent, 0.0)
            self._wait(self._until_s)

    def _now_s(self) -> float:
        return time.perf_counter() - self._started_s

    def _send(self, number: int, due_s: float) -> bool:
        """Whether call `number` could be sent: a server that is behind takes no more."""
        place = number % len(self._connections)
        connection = self._connections[place]
        if not connection.has_room:
            return False
        self._under_way[place][connection.call(self._calls[number % len(self._calls)])] = due_s
        return True

    def _wait(self, until_s: float) -> None:
        """Send and read what there is to be, until the time has come or an answer is there."""
        for connection in self._connections:
            connection.flush()
        behind = [connection for connection in self._connections if connection.is_behind]
        # A little less than the time there is: the system likes to come back late.
        wait_s = max(until_s - self._now_s() - WAKE_S, 0.0)
        ready, _, _ = select(self._connections, behind, (), wait_s)
        for place, connection in enumerate(self._connections):
            if connection not in ready:
                continue
            under_way = self._under_way[place]
            for answer in connection.answers():
                due_s = under_way.pop(answer.stream, None)
                if due_s is None:
                    continue  # a stream may be reset behind its answer
                if not answer.ok:
                    self.errors += 1
                    continue
                self.answered.append((due_s, self._now_s()))
                if len(self.samples) < LOOKED_AT:
                    self.samples.append(answer.message)


def empty_server(argument: dict[str, Any], tell: Tell) -> None:
    """Answers every request with the same bytes, as the server does (`lane`) or grpcio's ordinary way:
    what a handler that does nothing leaves to be had."""
    answer = pb.GetBlocksResponse(request_id="x" * argument["answer_bytes"]).SerializeToString()
    parse = pb.GetBlocksRequest.FromString
    threads = ServerSettings().threads
    server = grpc.server(ThreadPoolExecutor(threads))
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: answer, parse)
    service, _, name = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    lane = None
    if argument["lane"]:
        most_calls, silent_s = threads * CALLERS, ServerSettings().deadline_ms / 1000
        method = Method(
            METHOD,
            admit=lambda _: None,
            parse=parse,
            prepare=lambda _: None,
            handle=lambda *_: answer,
            on_refused=lambda _: None,
        )
        lane = open_lane(server, method, threads, 1, most_calls, silent_s)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    if lane is not None:
        lane.start()
    tell({"port": port})
    Event().wait()
