"""How a call is refused: status, words, and the same for programs (google.rpc.Status)."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import grpc

from server.wire import message_field, text_field, varint

_DETAILS_KEY = "grpc-status-details-bin"
_TYPE = "type.googleapis.com/google.rpc."

RETRY_S = 1


class Refusal(Exception):
    """A call that gets no answer. `detail`: a serialised google.protobuf.Any, or nothing."""

    def __init__(self, code: grpc.StatusCode, text: str, detail: bytes = b"") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.detail = detail


class _Status(NamedTuple):
    number: int
    text: str
    detail: bytes

    def encode(self) -> bytes:
        """google.rpc.Status: code, message, details."""
        return (
            b"\x08"
            + varint(self.number)
            + text_field(b"\x12", self.text)
            + message_field(b"\x1a", self.detail)
        )


def _any(name: str, message: bytes) -> bytes:
    return text_field(b"\x0a", _TYPE + name) + message_field(b"\x12", message)


def bad_request(field: str, text: str) -> Refusal:
    """INVALID_ARGUMENT with google.rpc.BadRequest: one violation of `field`."""
    violation = text_field(b"\x0a", field) + text_field(b"\x12", text)
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, text, _any("BadRequest", message_field(b"\x0a", violation))
    )


def try_again(code: grpc.StatusCode, text: str) -> Refusal:
    """`code` with google.rpc.RetryInfo."""
    delay = b"\x08" + varint(RETRY_S)
    return Refusal(code, text, _any("RetryInfo", message_field(b"\x0a", delay)))


def refuse(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    """End the call. Raises what grpc wants raised."""
    if refusal.detail:
        number, _ = refusal.code.value
        status = _Status(number, refusal.text, refusal.detail)
        context.set_trailing_metadata(((_DETAILS_KEY, status.encode()),))
    context.abort(refusal.code, refusal.text)
    raise AssertionError("abort raises")
