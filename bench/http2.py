"""The least of HTTP/2 that a load generator needs: gRPC calls as frames that are made beforehand.

A gRPC client of Python costs more for each call than the server that answers it, so it would be its
own limit. Here a call is two frames in which only the number of the stream is new, and of an answer
nothing is looked at but where it ends and with which status. Headers go out and are asked for without
HPACK's dynamic table (its size is set to 0), so that they are the same bytes every time.

RFC 9113 (frames, flow control), RFC 7541 appendix A (static table), gRPC over HTTP/2.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_TABLE_SIZE, _INITIAL_WINDOW = 1, 4
_FIRST_WINDOW: Final = 65_535
_LARGEST_WINDOW: Final = 2**31 - 1
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_OK: Final = b"grpc-status\x010"
"""A literal header without Huffman code, as gRPC's C core writes it: a name, a length, a value."""
_HEAD_BYTES: Final = 9
READ_BYTES: Final = 1 << 18

_u32 = Struct(">I")
_setting = Struct(">HI")


class ConnectionFailed(RuntimeError):
    """The server ended the connection, or speaks otherwise than this module understands."""


class Answer(NamedTuple):
    stream: int
    ok: bool
    message: bytes
    """Serialised; b"" where none came."""


class Call(NamedTuple):
    """A call's frames but for the number of its stream, which stands between the parts."""

    headers: bytes
    data: bytes
    size: int
    """Bytes that count against the flow control window."""


def call_of(method: str, message: bytes, timeout_s: int) -> Call:
    """A unary call of `method`, "/package.Service/Method"."""
    block = b"\x83\x86" + b"".join(  # POST, http
        (
            b"\x04" + _text(method),
            b"\x01" + _text("bench"),
            b"\x0f\x10" + _text("application/grpc"),
            b"\x00" + _text("te") + _text("trailers"),
            b"\x00" + _text("grpc-timeout") + _text(f"{timeout_s}S"),
        )
    )
    framed = b"\0" + _u32.pack(len(message)) + message
    return Call(
        block + _head(len(framed), _DATA, _END_STREAM),
        framed,
        len(framed),
    )


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 126:
        raise ValueError(f"Expected at most 126 bytes in a header, got {len(encoded)}")
    return bytes((len(encoded),)) + encoded


def _head(length: int, kind: int, flags: int) -> bytes:
    """A frame's head without its last field, the stream."""
    return length.to_bytes(3, "big") + bytes((kind, flags))


class Connection:
    """One connection that carries many calls at once. It never blocks; one thread uses it.

    `call` puts a call into what is to be sent, `flush` sends what the system takes, `answers` reads.
    Raises ConnectionFailed, OSError.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_stream = 1
        self._window = _FIRST_WINDOW
        """Bytes of requests that the server still takes; it is given more as it reads."""
        self._consumed = 0
        self._incoming = bytearray()
        self._bodies: dict[int, bytes] = {}
        settings = _setting.pack(_TABLE_SIZE, 0) + _setting.pack(_INITIAL_WINDOW, _LARGEST_WINDOW)
        self._outgoing = bytearray(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _more_window(_LARGEST_WINDOW - _FIRST_WINDOW)
        )
        self.flush()
        self.socket.setblocking(False)

    @property
    def has_room(self) -> bool:
        """Whether the server takes further calls now."""
        return self._window > 0

    @property
    def is_behind(self) -> bool:
        """Whether something still waits to be sent."""
        return bool(self._outgoing)

    def call(self, call: Call) -> int:
        """The number of the stream on which the answer will come."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._window -= call.size
        number = _u32.pack(stream)
        block_bytes = len(call.headers) - 5
        self._outgoing += b"".join(
            (_head(block_bytes, _HEADERS, _END_HEADERS), number, call.headers, number, call.data)
        )
        return stream

    def flush(self) -> None:
        if not self._outgoing:
            return
        try:
            sent = self.socket.send(self._outgoing)
        except BlockingIOError:
            return
        del self._outgoing[:sent]

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()

    def answers(self) -> Iterator[Answer]:
        """The calls that have ended with what has come."""
        try:
            read = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not read:
            raise ConnectionFailed("Expected answers, got the end of the connection")
        incoming = self._incoming
        incoming += read
        at, there = 0, len(incoming)
        while there - at >= _HEAD_BYTES:
            end = at + _HEAD_BYTES + (incoming[at] << 16 | incoming[at + 1] << 8 | incoming[at + 2])
            if end > there:
                break
            kind, flags = incoming[at + 3], incoming[at + 4]
            if kind == _DATA:
                self._consumed += end - at - _HEAD_BYTES
                (stream,) = _u32.unpack_from(incoming, at + 5)
                self._bodies[stream] = self._bodies.get(stream, b"") + incoming[at + 9 : end]
            elif kind == _HEADERS:
                if flags & _END_STREAM:  # the trailers
                    (stream,) = _u32.unpack_from(incoming, at + 5)
                    ok = incoming.find(_OK, at, end) >= 0
                    yield Answer(stream, ok, self._bodies.pop(stream, b"")[5:])
            elif kind == _RESET:
                (stream,) = _u32.unpack_from(incoming, at + 5)
                self._bodies.pop(stream, None)
                yield Answer(stream, ok=False, message=b"")
            else:
                self._control(kind, flags, bytes(incoming[at + 5 : end]))
            at = end
        del incoming[:at]
        if self._consumed > _LARGEST_WINDOW // 4:
            self._outgoing += _more_window(self._consumed)
            self._consumed = 0

    def _control(self, kind: int, flags: int, rest: bytes) -> None:
        """A frame about the connection. `rest`: the frame from its stream on."""
        stream, payload = _u32.unpack_from(rest)[0], rest[4:]
        if kind == _SETTINGS and not flags & _ACK:
            self._outgoing += _frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._outgoing += _frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW and stream == 0:
            self._window += _u32.unpack(payload)[0]
        elif kind == _GO_AWAY:
            raise ConnectionFailed(
                f"Expected answers, got GOAWAY `{payload[8:108].decode(errors='replace')}`"
            )

    def close(self) -> None:
        self.socket.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _head(len(payload), kind, flags) + _u32.pack(stream) + payload


def _more_window(more: int) -> bytes:
    return _frame(_WINDOW, 0, 0, _u32.pack(more))
