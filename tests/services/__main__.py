"""`make services`: Valkey and Kafka by hand, until Ctrl-C. `make services-cache`: what Kafka runs on."""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from tests.services import ServiceUnavailable, jars, kafka_broker, valkey_server


def serve() -> int:
    """Start both, print their URLs, wait for Ctrl-C. 1 when neither can run here."""
    stop = Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda _signal, _frame: stop.set())

    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="headrace-services-")))
        settings = []
        try:
            url = running.enter_context(valkey_server(folder / "valkey"))
            settings.append(f'state = "{url}"')
        except ServiceUnavailable as missing:
            print(f"headrace: no Valkey: {missing}", file=sys.stderr)
        try:
            broker = running.enter_context(kafka_broker(folder / "kafka"))
            settings.append(f'log = "{broker.url("headrace-events")}"')
        except ServiceUnavailable as missing:
            print(f"headrace: no Kafka: {missing}", file=sys.stderr)
        if not settings:
            return 1
        print("\n".join(settings))
        print("headrace: for trying things out: Ctrl-C stops them and deletes their data", flush=True)
        stop.wait()
    return 0


def cache() -> int:
    """Fetch what Kafka runs on. 1, saying why, when that is not possible here."""
    try:
        print(f"headrace: {jars.install()}")
    except ServiceUnavailable as missing:
        print(f"headrace: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(cache() if sys.argv[1:] == ["cache"] else serve())
