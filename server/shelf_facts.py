"""A block as it goes over the wire: beside what was decided stand the items' facts of now, from the shelf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys.block import Block
from recsys.picked import picked
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement
from server.wire import bare_item_field, block_message


class _ShelfFacts:
    """The serialised items of a shelf, and banners, by id."""

    __slots__ = ("_banners", "_row_of", "_wire")

    def __init__(self, shelf: Shelf, banners: Mapping[str, bytes]) -> None:
        self._banners = banners
        self._row_of, self._wire = shelf.columns.row_of, shelf.columns.wire

    def of(self, item_ids: Sequence[str], /) -> Sequence[bytes]:
        wire, row_of = self._wire, self._row_of
        found: Sequence[bytes]
        try:
            found = picked(picked(item_ids, row_of), wire)
        except KeyError:
            found = [b"" if (row := row_of.get(item)) is None else wire[row] for item in item_ids]
        if all(found):
            return found
        # A banner, or a block of earlier, of which the catalogue knows an item no more.
        banners = self._banners
        return [
            about or banners.get(item) or bare_item_field(item)
            for about, item in zip(found, item_ids, strict=True)
        ]


def message_of(
    block: Block, shelf: Shelf, placements: Mapping[str, Placement], banners: Mapping[str, bytes]
) -> bytes:
    """A block as it goes over the wire, with the items' facts of now. `banners`: see `banner_fields`."""
    placement = placements.get(block.placement)
    return block_message(block, placement.title if placement is not None else "", _ShelfFacts(shelf, banners))
