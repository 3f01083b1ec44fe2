"""Real Kafka and Valkey servers on 127.0.0.1, for tests and for `make services`; no containers.

    with valkey_server(folder) as url: ...            # redis://127.0.0.1:PORT/0
    with kafka_broker(folder) as broker: ...          # broker.bootstrap, broker.url("events")

Both take a folder for their data and log, listen on 127.0.0.1 only, and can be killed as by a
power failure and started again on the same data and port. Neither outlives the Python process that
started it, however that ends.
"""

from __future__ import annotations

from tests.services.kafka import KafkaBroker, kafka_broker
from tests.services.process import ServiceUnavailable
from tests.services.valkey import ValkeyServer, valkey_server

__all__ = ["KafkaBroker", "ServiceUnavailable", "ValkeyServer", "kafka_broker", "valkey_server"]
