"""One fair runner: every contestant in a process of its own, on the same core, given the same input.

A contestant is data: a name and the function to call, as `module:function`. The function gets a dict;
what it returns is handed over at the end, with the peak of its memory. A service, which runs until it
is stopped, gets `tell` as well, to hand over at once where it is found. Whatever they print goes to
standard error, as all progress does, so that the report stands alone on standard output.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import bench
from flows.memory import peak_mb
from server.up import stop_with_supervisor
from server.workers import GRPC_POLLING

Tell = Callable[[object], None]
ROOT = Path(bench.__file__).parent.parent
SHOWN_EVERY_S = 2.0
STOP_S = 30.0
PACKAGES = ("bytewax", "grpcio", "msgspec", "lmdb", "numpy", "numba", "faiss-cpu", "implicit")


class Contestant(NamedTuple):
    name: str
    target: str
    """`module:function`."""
    max_events: int | None = None
    """Given no more than the first so many: it is too slow for all."""


class Outcome(NamedTuple):
    answer: Any
    """What the function returned."""
    peak_mb: float
    """The most memory the process held (VmHWM), MB of 10^6 bytes, the interpreter included."""


class Took(NamedTuple):
    """How long something took: on the clock, and of the processor. Apart when others use the core."""

    seconds: float
    cpu_s: float


class BenchFailed(RuntimeError):
    """A process of a benchmark ended without its answer."""


def run_alone(target: str, argument: Mapping[str, object], core: int | None = None) -> Outcome:
    """Call `target(argument)` in a process of its own, pinned to `core`. Raises BenchFailed."""
    with _spawned(target, argument, core, tells=False) as process:
        lines = process.stdout.read().splitlines() if process.stdout is not None else []
        if process.wait() != 0 or not lines:
            raise BenchFailed(f"Expected an answer of `{target}`, got exit code {process.returncode}")
    return Outcome(**json.loads(lines[-1]))


@contextmanager
def running(target: str, argument: Mapping[str, object], core: int | None = None) -> Iterator[Any]:
    """`target(argument, tell)` in a process of its own for as long as the block runs; yields what it
    tells first. It is stopped by SIGTERM, also when this process dies. Raises BenchFailed."""
    with _spawned(target, argument, core, tells=True) as process:
        first = process.stdout.readline() if process.stdout is not None else b""
        if not first:
            raise BenchFailed(f"Expected `{target}` to run, got exit code {process.wait()}")
        yield json.loads(first)


@contextmanager
def _spawned(
    target: str, argument: Mapping[str, object], core: int | None, *, tells: bool
) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.runner", target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**GRPC_POLLING, **os.environ, "PYTHONPATH": path},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        order = {"core": core, "tells": tells, "argument": argument}
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _child(target: str) -> None:
    order = json.loads(sys.stdin.buffer.readline())
    if order["core"] is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {order["core"]})  # before the imports: libraries count the cores then
    stop_with_supervisor()
    # The caller reads standard output; everybody else's words go to standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def tell(value: object) -> None:
        answers.write(json.dumps(value).encode() + b"\n")
        answers.flush()

    module, _, function = target.partition(":")
    more = (tell,) if order["tells"] else ()
    answer = getattr(import_module(module), function)(order["argument"], *more)
    tell({"answer": answer, "peak_mb": peak_mb()})


def timed(work: Callable[[], object]) -> Took:
    """Do `work`, with the whole process's processor time."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - began_s, time.process_time() - began_cpu_s)


def cores() -> tuple[int | None, int | None]:
    """(the core of what is measured, the core of the rest). The same one where there is but one;
    None, unpinned, where the system cannot pin."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    there = sorted(os.sched_getaffinity(0))
    return there[-1], there[0]


class Ticker:
    """Progress with its rate on standard error, now and then."""

    def __init__(self, what: str, total: int = 0) -> None:
        self._what, self._total = what, total
        self._began_s = self._shown_s = time.monotonic()

    def __call__(self, done: int) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= SHOWN_EVERY_S:
            self._shown_s = now_s
            self._show(done, now_s)

    def done(self, done: int) -> None:
        self._show(done, time.monotonic())

    def _show(self, done: int, now_s: float) -> None:
        of = f" of {self._total:,}" if self._total else ""
        rate = done / max(now_s - self._began_s, 1e-9)
        say(f"{self._what}: {done:,}{of}, {rate:,.0f}/s")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def percentiles(values: Sequence[float], *wanted: float, digits: int = 2) -> list[float]:
    """The smallest value that at least this share (0..1) of `values` does not exceed; 0.0 of none."""
    ranked = sorted(values)
    if not ranked:
        return [0.0] * len(wanted)
    places = [max(-int(-share * len(ranked) // 1) - 1, 0) for share in wanted]
    return [round(ranked[place], digits) for place in places]


def report(
    name: str, sizes: Mapping[str, object], load: str, found: Mapping[str, object]
) -> dict[str, object]:
    """What a benchmark prints: its figures with the sizes, load, hardware and versions they are of."""
    return {
        "bench": name,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **found,
        "sizes": dict(sizes),
        "load": load,
        "hardware": _hardware(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def present(figures: Mapping[str, object], as_json: bool) -> None:
    """Print a report: one JSON object on one line, or text for people."""
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    for name, value in figures.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{name}:")
            for row in value:
                print("  " + "  ".join(f"{key} {_shown(entry)}" for key, entry in row.items()))
        elif isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items()))
        else:
            print(f"{name}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items()) + ")"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _hardware() -> dict[str, object]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [row for row in cpuinfo.read_text().splitlines() if row.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.system(),
        "python_loop_ns": _loop_ns(),
    }


def _loop_ns() -> float:
    """What a turn of an empty Python loop takes, the best of five: shared machines differ by the hour,
    and with this two reports can be compared."""
    turns = range(200_000)
    took_ns = []
    for _ in range(5):
        began_ns = time.perf_counter_ns()
        for _ in turns:
            pass
        took_ns.append(time.perf_counter_ns() - began_ns)
    return round(min(took_ns) / len(turns), 2)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("headrace", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # noqa: PERF203 (one that is missing hides no other)
            found[name] = "not installed"  # headrace itself, run from its tree
    return found


if __name__ == "__main__":
    _child(sys.argv[1])
