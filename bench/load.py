"""Open-loop load: requests start when they are due, whether or not earlier ones have been answered.

Arrivals are random (Poisson), as visitors' are. A request's latency counts from the moment it was
due, so a slow server cannot slow its own measurement down (Gil Tene, "How NOT to measure latency").
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any, NamedTuple

import grpc
import numpy as np

from bench.ids import user_id, visitor_id
from bench.runner import Tell, percentiles, run_alone
from server.pb import headrace_pb2 as pb

METHOD = "/headrace.v1.Headrace/GetBlocks"
POOL = 20_000
"""Requests made beforehand; repeated when a step has more."""
THREADS = 32
CHANNELS = 4
TIMEOUT_S = 10.0
START_S = 0.3
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


def step(address: str, argument: dict[str, Any], generators: int, core: int | None) -> Latencies:
    """Load of `argument["rate"]` requests a second for `seconds`, after `warm_s` that do not count,
    from processes on `core`."""
    shares = [
        {
            **argument,
            "address": address,
            "rate": argument["rate"] / generators,
            "seed": argument["seed"] + number,
        }
        for number in range(generators)
    ]
    with ThreadPoolExecutor(generators) as pool:
        runs = [pool.submit(run_alone, "bench.load:generate", share, core) for share in shares]
        answers = [run.result().answer for run in runs]
    latencies = [ms for answer in answers for ms in answer["latencies_ms"]]
    p50_ms, p90_ms, p99_ms, p999_ms = percentiles(latencies, 0.5, 0.9, 0.99, 0.999)
    return Latencies(
        rate=round(argument["rate"], 1),
        done_per_s=round(sum(answer["done_per_s"] for answer in answers), 1),
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        p999_ms=p999_ms,
        answered=sum(answer["answered"] for answer in answers),
        errors=sum(answer["errors"] for answer in answers),
        fewest_items=min(answer["fewest_items"] for answer in answers),
    )


def generate(argument: dict[str, Any]) -> dict[str, Any]:
    """One generator process. `rate` 0: as fast as `THREADS` callers can, one call after the other."""
    sys.setswitchinterval(0.0005)  # a thread whose request is due must not wait for another's turn
    rng = np.random.default_rng(argument["seed"])
    requests = _requests(argument)
    warm_s, rate = argument["warm_s"], argument["rate"]
    total_s = warm_s + argument["seconds"]
    if rate:
        due_s = arrivals(rng, rate, 0.0, warm_s) + arrivals(rng, rate, warm_s, total_s)
    else:
        due_s = [0.0] * (POOL * 10)
    clients = [_Client(argument["address"], number) for number in range(CHANNELS)]
    load = _Load(clients, requests, due_s, total_s)
    load.run()
    for client in clients:
        client.channel.close()
    counted = [(due, end) for due, end in load.answered if (due if rate else end) >= warm_s]
    window_s = max((end for _, end in counted), default=0.0) - warm_s
    return {
        "latencies_ms": [round((end - due) * 1000, 3) for due, end in counted] if rate else [],
        "done_per_s": len(counted) / max(window_s, 1e-9),
        "answered": len(load.answered),
        "errors": load.errors,
        "fewest_items": load.fewest_items,
    }


def arrivals(rng: np.random.Generator, rate: float, from_s: float, to_s: float) -> list[float]:
    """When requests are due: a Poisson process of which it is known that `rate` came true. Otherwise
    a short step would be as much a matter of chance as of the server."""
    return sorted(rng.uniform(from_s, to_s, round(rate * (to_s - from_s))).tolist())


def _requests(argument: dict[str, Any]) -> list[bytes]:
    choose = random.Random(argument["seed"])
    slots = [pb.Slot(name=s["name"], placement=s["placement"], limit=s["limit"]) for s in argument["slots"]]
    numbers = (choose.randrange(argument["profiles"]) for _ in range(POOL))
    return [
        pb.GetBlocksRequest(
            anonymous_id=visitor_id(number), user_id=user_id(number) or "", slots=slots
        ).SerializeToString()
        for number in numbers
    ]


class _Client:
    """A connection of its own, with bytes in and out."""

    def __init__(self, address: str, number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("bench.connection", number)]
        self.channel = grpc.insecure_channel(address, options)
        self.call = self.channel.unary_unary(METHOD)


class _Load:
    """The callers: each takes the next request, waits until it is due, and sends it."""

    def __init__(
        self, clients: list[_Client], requests: list[bytes], due_s: list[float], total_s: float
    ) -> None:
        self.answered: list[tuple[float, float]] = []
        """Seconds from the start at which a request was due, and at which it was answered."""
        self.errors = 0
        self.fewest_items = 1 << 30
        self._clients = clients
        self._requests = requests
        self._due_s = due_s
        self._total_s = total_s
        self._next = itertools.count()
        self._samples: list[bytes] = []
        self._failed = itertools.count()

    def run(self) -> None:
        for client in self._clients:
            grpc.channel_ready_future(client.channel).result(TIMEOUT_S)
        started_s = time.perf_counter() + START_S
        threads = [Thread(target=self._call, args=(number, started_s)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.errors = next(self._failed)
        read = [pb.GetBlocksResponse.FromString(answer) for answer in self._samples]
        self.fewest_items = min((sum(len(block.items) for block in one.blocks) for one in read), default=0)

    def _call(self, number: int, started_s: float) -> None:
        call = self._clients[number % len(self._clients)].call
        clock, answered = time.perf_counter, self.answered
        while (index := next(self._next)) < len(self._due_s):
            due_s = self._due_s[index]
            wait_s = started_s + due_s - clock()
            if wait_s > 0:
                time.sleep(wait_s)
            elif clock() - started_s > self._total_s + TIMEOUT_S:
                return  # hopelessly behind: what was not sent is not answered, and the rate says so
            if due_s == 0.0 and clock() - started_s > self._total_s:
                return
            try:
                answer = call(self._requests[index % POOL], timeout=TIMEOUT_S)
            except grpc.RpcError:
                next(self._failed)
                continue
            answered.append((due_s, clock() - started_s))
            if len(self._samples) < LOOKED_AT:
                self._samples.append(answer)


def trivial_server(argument: dict[str, Any], tell: Tell) -> None:
    """Answers every request with the same bytes: what the generator alone can do is seen against it."""
    answer = pb.GetBlocksResponse(request_id="x" * argument["answer_bytes"]).SerializeToString()
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: answer)
    service, _, method = METHOD[1:].partition("/")
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tell({"port": port})
    Event().wait()
