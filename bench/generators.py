"""Generator processes that stay from step to step: one for each step spent longer on its imports than on
the step, and a search has dozens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from bench.load import Latencies, generate
from bench.runner import BenchFailed, Tell, percentiles, running

HOST = "127.0.0.1"


class Generators:
    """What makes the load of each step, all processes together."""

    def __init__(self, lines: list[Connection]) -> None:
        self._lines = lines

    def step(self, address: str, argument: dict[str, Any]) -> Latencies:
        """Load of `argument["rate"]` requests a second for `seconds`, after `warm_s` that do not count.
        Raises BenchFailed."""
        rate = argument["rate"] / len(self._lines)
        for number, line in enumerate(self._lines):
            seed = argument["seed"] + number
            line.send({**argument, "address": address, "rate": rate, "seed": seed})
        try:
            answers = [line.recv() for line in self._lines]
        except EOFError:
            raise BenchFailed(
                f"Expected figures of a step at {rate:g}/s, got the end of its process"
            ) from None
        latencies = [ms for answer in answers for ms in answer["latencies_ms"]]
        answered = sum(answer["answered"] for answer in answers)
        p50_ms, p90_ms, p99_ms, p999_ms = percentiles(latencies, 0.5, 0.9, 0.99, 0.999)
        return Latencies(
            rate=round(argument["rate"], 1),
            done_per_s=round(sum(answer["done_per_s"] for answer in answers), 1),
            p50_ms=p50_ms,
            p90_ms=p90_ms,
            p99_ms=p99_ms,
            p999_ms=p999_ms,
            answered=answered,
            errors=sum(answer["errors"] for answer in answers),
            fewest_items=min(answer["fewest_items"] for answer in answers),
            late_p99_ms=percentiles([ms for answer in answers for ms in answer["late_ms"]], 0.99)[0],
            generator_cpu_us=round(1e6 * sum(answer["cpu_s"] for answer in answers) / max(answered, 1), 1),
        )


@contextmanager
def generators(count: int, core: int | None) -> Iterator[Generators]:
    """`count` processes on `core`, for as long as the block runs. Raises BenchFailed."""
    key = os.urandom(16)
    with ExitStack() as stack:
        tells = [
            stack.enter_context(running("bench.generators:serve", {"key": key.hex()}, core))
            for _ in range(count)
        ]
        lines = [stack.enter_context(Client((HOST, told["port"]), authkey=key)) for told in tells]
        yield Generators(lines)


def serve(argument: dict[str, Any], tell: Tell) -> None:
    """Step after step, until whoever asks for them is gone."""
    with Listener((HOST, 0), authkey=bytes.fromhex(argument["key"])) as listener:
        tell({"port": listener.address[1]})
        with listener.accept() as line:
            while True:
                try:
                    step = line.recv()
                except EOFError:
                    return
                line.send(generate(step))
