"""A tail of entries that may change places: its state is always that of the entries in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recsys.tail import MARK_EVERY, Tail


class Names:
    """A state that shows what was folded into it, in which order."""

    def __init__(self, names: list[int] | None = None) -> None:
        self.names = names or []

    def copy(self) -> Names:
        return Names(self.names.copy())


class NameTail(Tail[Names, int, int]):
    folded = 0

    def fold_in(self, state: Names, entry: int, place: tuple[int, ...]) -> int:
        state.names.append(entry)
        self.folded += 1
        return len(state.names)


def put(tail: NameTail, entry: int) -> list[int]:
    """In its place; what came out of it and of those behind it."""
    place = (entry,)
    if not tail.steps or place > tail.steps[-1].place:
        return [tail.append(place, entry)]
    at = tail.index(place)
    return tail.replace(at, at, [(place, entry)])


@given(st.lists(st.integers(0, 500), unique=True, max_size=120))
def test_any_order_leaves_the_ordered_state(entries: list[int]) -> None:
    tail = NameTail(Names())
    for number, entry in enumerate(entries):
        out = put(tail, entry)
        assert out[0] == sorted(entries[: number + 1]).index(entry) + 1
        assert tail.now.names == sorted(entries[: number + 1])
    assert [step.out for step in tail.steps] == list(range(1, len(entries) + 1))


@given(st.permutations(range(100)), st.integers(0, 100))
def test_what_has_settled_is_in_the_base_and_only_there(entries: list[int], before: int) -> None:
    tail = NameTail(Names())
    for entry in entries:
        put(tail, entry)
    tail.settle_before(before)
    assert tail.base.names == list(range(before))
    assert [step.entry for step in tail.steps] == list(range(before, 100))
    assert tail.now.names == list(range(100))
    put(tail, 1000)  # the base does not change with what comes next
    assert tail.base.names == list(range(before))


def test_an_entry_is_taken_back_by_putting_nothing_in_its_place() -> None:
    tail = NameTail(Names())
    for entry in range(5):
        put(tail, entry)
    assert tail.replace(2, 3, []) == [3, 4]
    assert tail.now.names == [0, 1, 3, 4]


def test_one_that_comes_late_folds_no_more_again_than_since_the_mark_before_it() -> None:
    tail = NameTail(Names())
    for entry in range(0, 20 * MARK_EVERY, 2):
        put(tail, entry)
    tail.folded = 0
    put(tail, 20 * MARK_EVERY - 3)
    assert tail.folded <= MARK_EVERY + 1


def test_a_second_one_near_the_first_folds_only_what_is_behind_it_again() -> None:
    tail = NameTail(Names())
    for entry in range(0, 4 * MARK_EVERY, 2):
        put(tail, entry)
    put(tail, 4 * MARK_EVERY - 5)
    tail.folded = 0
    put(tail, 4 * MARK_EVERY - 3)
    assert tail.folded <= 4
