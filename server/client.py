"""A small client: a channel with a deadline and a key, and errors that say what to do.

with Client("127.0.0.1:7007") as headrace:
    receipt = headrace.track([b'{"type": "page", ...}']).receipts[0]
    answer = headrace.blocks(["home.hero"], anonymous_id="web-anna", after=receipt.position)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recsys.settings import ServerSettings, SettingsError
from server.pb import headrace_pb2 as pb
from server.pb.headrace_pb2_grpc import HeadraceStub
from server.whose import log_told_by

MAX_MESSAGE_BYTES = 64 << 20
PING_MS = 10_000
"""How often a connection is looked after while a call is under way, and how long the answer may take."""
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where to find such a server


class CallFailed(Exception):
    """The server refused a call, or did not answer. One line, with what to do about it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class WrongCall(CallFailed):
    """The call itself was wrong; the text says where, what was expected and what came."""


def address_of(settings: ServerSettings) -> str:
    """Where a server with these settings is found from the same machine."""
    host = ANYWHERE.get(settings.host, settings.host).strip("[]")
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


class Client:
    """Calls one server. Thread-safe. `deadline_s` holds for every call that names no other.

    `key` goes with each call; `tls_root`: the certificate (PEM) to trust, which also turns TLS on.
    """

    def __init__(
        self, address: str, key: str = "", deadline_s: float = 5.0, tls_root: bytes | None = None
    ) -> None:
        self.address = address
        self._deadline_s = deadline_s
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            # A server that is being started is found soon after it is there.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # A process that hangs, or a host that is gone without a word, ends its calls within twice that
            # time. What is called a keepalive's timeout is not what this gRPC (1.85) goes by.
            ("grpc.keepalive_time_ms", PING_MS),
            ("grpc.http2.ping_timeout_ms", PING_MS),
            # Several clients have several connections, so that all processes of a server get some.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if tls_root is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(tls_root), options)
        self._stub = HeadraceStub(self._channel)

    @classmethod
    def of(
        cls, settings: ServerSettings, key: str = "", address: str = "", deadline_s: float = 5.0
    ) -> Client:
        """For the server that these settings start, or the one at `address`. Raises SettingsError."""
        root: bytes | None = None
        if settings.tls_cert:
            try:
                root = Path(settings.tls_cert).read_bytes()
            except OSError as error:
                where = f"`server.tls_cert` = `{settings.tls_cert}`"
                raise SettingsError(
                    f"Expected a readable file, got `{error.strerror}` - at {where}"
                ) from None
        return cls(address or address_of(settings), key, deadline_s, root)

    def __enter__(self) -> Client:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def blocks(
        self,
        slots: Sequence[str | pb.Slot],
        *,
        anonymous_id: str = "",
        user_id: str = "",
        after: str = "",
        request_id: str = "",
        render_id: str = "",
        context: pb.Context | None = None,
        deadline_s: float | None = None,
    ) -> pb.GetBlocksResponse:
        """GetBlocks. A slot may be given as the name of its placement; `after` is a position that
        Track returned. Raises CallFailed."""
        request = pb.GetBlocksRequest(
            anonymous_id=anonymous_id,
            user_id=user_id,
            slots=[pb.Slot(placement=slot) if isinstance(slot, str) else slot for slot in slots],
            at_least_as_fresh=after,
            request_id=request_id,
            render_id=render_id,
            context=context,
        )
        answer: pb.GetBlocksResponse = self._call(self._stub.GetBlocks, request, deadline_s)
        return answer

    def track(self, events: Sequence[bytes], *, deadline_s: float | None = None) -> pb.TrackResponse:
        """Track: Segment-spec JSON, one call or batch call each. Raises CallFailed."""
        answer: pb.TrackResponse = self._call(self._stub.Track, pb.TrackRequest(events=events), deadline_s)
        return answer

    def explain(self, decision_id: str, items: Sequence[str] = ()) -> pb.ExplainResponse:
        """Explain, with accounts of `items` too. Raises CallFailed, with NOT_FOUND for an id that is not
        known (any more)."""
        request = pb.ExplainRequest(decision_id=decision_id, item_ids=items)
        answer: pb.ExplainResponse = self._call(self._stub.Explain, request, None)
        return answer

    def bulk(
        self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None
    ) -> Iterator[pb.GetBlocksResponse]:
        """GetBlocksBulk: one answer a person, in their order. Raises CallFailed on the way."""
        yield from self._streamed("GetBlocksBulk", request, pb.GetBlocksResponse.FromString, deadline_s)

    def packs(self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None) -> Iterator[bytes]:
        """GetBlocksPacks, messages as they came over the wire: for passing them on unread. Raises CallFailed
        on the way."""
        yield from self._streamed("GetBlocksPacks", request, None, deadline_s)

    def _streamed(
        self,
        rpc: str,
        request: pb.GetBlocksBulkRequest,
        read: Callable[[bytes], Any] | None,
        deadline_s: float | None,
    ) -> Iterator[Any]:
        call = self._channel.unary_stream(
            f"/headrace.v1.Headrace/{rpc}", pb.GetBlocksBulkRequest.SerializeToString, read
        )
        try:
            yield from call(request, timeout=deadline_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failed(error) from None

    def is_serving(self, deadline_s: float = 1.0) -> bool:
        """Whether the server's health says SERVING: its catalogue is read, it takes calls."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=deadline_s)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def log(self) -> str:
        """The URL of the embedded log that the server appends to; "" where it does not tell."""
        return log_told_by(self._channel)

    def wait_until_serving(self, timeout_s: float, is_alive: Callable[[], bool] = lambda: True) -> bool:
        """Whether it serves, at the latest `timeout_s` from now; no longer than `is_alive` says that
        there is somebody to wait for."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s and is_alive():
            if self.is_serving():
                return True
            time.sleep(0.05)
        return False

    def _call(self, method: Any, request: object, deadline_s: float | None) -> Any:
        try:
            return method(
                request,
                timeout=self._deadline_s if deadline_s is None else deadline_s,
                metadata=self._metadata,
            )
        except grpc.RpcError as error:
            raise self._failed(error) from None

    def _failed(self, error: Any) -> CallFailed:
        code, text = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE and "connect" in text.lower():
            return CallFailed(
                code, f"Expected a server on {self.address}, got no answer: start it with `headrace up`"
            )
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return WrongCall(code, text)
        if code is grpc.StatusCode.UNAUTHENTICATED:
            text += ": give it as --key or in HEADRACE_KEY, in a program as `Client(..., key=...)`"
        return CallFailed(code, f"{text} ({code.name})")
