"""Cursors: where a feed goes on.

A cursor names every item that the pages before have shown. So any server answers the next page without
repeating one of them, whatever was trained or sold out meanwhile, and nothing is kept in between.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

import msgspec

from recsys.events import ARTICLE_PREFIX, MAX_ID_BYTES

MAX_SEEN_ITEMS: Final = 500
"""A feed ends behind the page that reaches so many."""
MAX_CURSOR_CHARS: Final = 64 * 1024
_VERSION: Final = 1
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[str])


def encode_cursor(seen: Sequence[str]) -> str:
    """The cursor behind these items; "" where there are none, or so many that the feed ends."""
    if not seen or len(seen) >= MAX_SEEN_ITEMS:
        return ""
    cursor = _written(seen)
    return cursor if len(cursor) <= MAX_CURSOR_CHARS else ""


def decode_cursor(cursor: str) -> tuple[str, ...]:
    """The items before; () for "". Raises ValueError for what no block has given as its cursor."""
    if not cursor:
        return ()
    try:
        seen = _decoder.decode(urlsafe_b64decode(cursor[:MAX_CURSOR_CHARS])[1:])
    except (ValueError, msgspec.DecodeError):
        seen = []
    # Base64 passes over what it does not know, and both decoders over what stands behind the end.
    if not seen or _written(seen) != cursor:
        raise ValueError(f"Expected the `next_cursor` of a block, got `{cursor[:32]}`")
    most = MAX_ID_BYTES + len(ARTICLE_PREFIX)
    if len(seen) > MAX_SEEN_ITEMS or any(len(item.encode()) > most for item in seen):
        raise ValueError(f"Expected at most {MAX_SEEN_ITEMS} ids of at most {most} bytes in a cursor")
    return tuple(seen)


def _written(seen: Sequence[str]) -> str:
    return urlsafe_b64encode(bytes((_VERSION,)) + _encoder.encode(seen)).decode()
