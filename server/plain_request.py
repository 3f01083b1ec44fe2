"""GetBlocks requests taken apart by hand, as nearly all of them come: a few short texts and messages.

The generated classes make an object of every slot and of the list of them, and what is in them is asked for
one by one: most of what it took to read a request. Whatever is out of the ordinary is left to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from server.pb import headrace_pb2 as pb

_TEXTS: Final = {0x0A: 0, 0x12: 1, 0x22: 2, 0x2A: 3, 0x32: 4}
"""The places of `PlainRequest.texts`, by tag."""
_SLOT, _CONTEXT = 0x1A, 0x3A
_MORE: Final = 0x80
"""Set in a byte of a length that another one follows."""


class PlainRequest(NamedTuple):
    """A GetBlocksRequest whose slots and context are still to be read."""

    texts: Sequence[str]
    """anonymous_id, user_id, at_least_as_fresh, request_id, render_id."""
    slots: Sequence[bytes]
    context: bytes | None
    """None: the request has none."""


def plain_request(message: bytes) -> PlainRequest:
    """Raises UnicodeDecodeError or DecodeError for bytes that are no such request."""
    return _taken_apart(message) or _by_classes(pb.GetBlocksRequest.FromString(message))


def _taken_apart(message: bytes) -> PlainRequest | None:
    """None for a message that is cut off, or has fields that are not known here, twice, or of more than
    16 KiB. Raises UnicodeDecodeError."""
    texts, slots, context = [""] * len(_TEXTS), [], None
    place, end = 0, len(message)
    while place < end - 1:
        tag, size = message[place], message[place + 1]
        place += 2
        if size >= _MORE:
            if place == end or message[place] >= _MORE:
                return None
            size += (message[place] - 1) << 7
            place += 1
        piece = message[place : place + size]
        place += size
        if tag == _SLOT:
            slots.append(piece)
        elif tag in _TEXTS and not texts[_TEXTS[tag]]:
            texts[_TEXTS[tag]] = piece.decode()
        elif tag == _CONTEXT and context is None:
            context = piece
        else:
            return None
    return PlainRequest(texts, slots, context) if place == end else None


def _by_classes(message: pb.GetBlocksRequest) -> PlainRequest:
    texts = (
        message.anonymous_id,
        message.user_id,
        message.at_least_as_fresh,
        message.request_id,
        message.render_id,
    )
    return PlainRequest(texts, bytes_of_each(message.slots), context_in(message))


def bytes_of_each(slots: Sequence[pb.Slot]) -> list[bytes]:
    """Slots as `PlainRequest` has them."""
    return [slot.SerializeToString() for slot in slots]


def context_in(message: pb.GetBlocksRequest | pb.GetBlocksBulkRequest) -> bytes | None:
    """The context as `PlainRequest` has it."""
    return message.context.SerializeToString() if message.HasField("context") else None
