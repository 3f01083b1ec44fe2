"""Facts that are computed once."""

from __future__ import annotations

import msgspec

from recsys.pipeline.lazy import lazy


class Sum(msgspec.Struct, frozen=True, dict=True):
    parts: list[int]

    @lazy
    def total(self) -> int:
        """All of them."""
        self.parts.append(0)
        return sum(self.parts)


def test_it_is_computed_when_first_asked_for_and_kept() -> None:
    one, other = Sum([1, 2]), Sum([5])
    assert (one.total, one.total, other.total) == (3, 3, 5)
    assert one.parts == [1, 2, 0]


def test_its_words_stay_with_it() -> None:
    assert Sum.total.__doc__ == "All of them."
