"""Whose server answers: a check of its health tells which embedded log it appends to.

Two homes that keep the default port would else talk to each other's shop and never notice.
"""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from recsys.servable import is_loopback
from recsys.settings import Settings

LOG_KEY = "headrace-log-bin"
"""Trailing metadata of `grpc.health.v1.Health/Check`: the URL of the log."""


def told_log(settings: Settings) -> str:
    """The log a server with these settings tells of; "" for none. A shared log (Kafka) has no home
    to be confused with, and its URL may hold a password; others than this machine are told nothing."""
    embedded = settings.log.startswith("sqlite:") and is_loopback(settings.server.host)
    return settings.log if embedded else ""


class NamedHealth(health.HealthServicer):  # type: ignore[misc]  # grpc has no types
    """The standard health service, with the log in the metadata of a check."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        log = told_log(settings)
        self._metadata = ((LOG_KEY, log.encode()),) if log else ()

    def Check(  # noqa: N802 - the name in the contract
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        context.set_trailing_metadata(self._metadata)
        return super().Check(request, context)


def log_told_by(channel: grpc.Channel, timeout_s: float = 1.0) -> str:
    """What the server at the other end says of its log; "" where it says nothing, or does not answer."""
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        _, call = stub.Check.with_call(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    except grpc.RpcError:
        return ""
    told = dict(call.trailing_metadata() or ()).get(LOG_KEY, b"")
    return bytes(told).decode("utf-8", "replace")
