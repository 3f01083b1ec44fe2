"""The item stage: news in, record and counters out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

from recsys.catalog import Item, decode_change, encode_change
from recsys.events import Action, Line
from recsys.item import ItemState, Mention, WentOn, mentions_of
from recsys.ports import Position
from tests.recsys.worlds import T0, event


def mention(line: Line, action: Action = Action.VIEW, at_s: int = 0) -> Mention:
    (found,) = mentions_of(event(at_s, action, lines=(line,)))
    assert found[0] == line.item
    return found[1]


def test_every_line_of_an_event_is_a_mention() -> None:
    order = event(5, Action.ORDER, lines=(Line("tent", 2.0), Line("pegs")))
    assert mentions_of(order) == [
        ("tent", Mention(Line("tent", 2.0), Action.ORDER, T0 + 5000, True)),
        ("pegs", Mention(Line("pegs"), Action.ORDER, T0 + 5000, True)),
    ]
    assert mentions_of(event(0, Action.SEARCH, None)) == []
    assert [m.counted for _, m in mentions_of(event(0, Action.CART_REMOVE))] == [False]


def test_mentions_make_the_item_and_move_its_counters() -> None:
    state = ItemState("tent")
    state.take(mention(Line("tent", price=9.0, name="Tent")))
    state.take(mention(Line("tent", price=9.0, name="Tent")))
    state.take(mention(Line("tent", 3.0, price=8.0), Action.ORDER))
    state.take(mention(Line("tent", price=7.0), Action.CART_REMOVE))
    assert state.item == Item("tent", title="Tent", price=7.0, changed_ms=T0)
    counters = state.counters
    assert (counters.views, counters.carts, counters.orders, counters.at_s) == (2.0, 0.0, 3.0, T0 // 1000)


def test_the_newest_word_wins_in_whatever_order_events_come() -> None:
    """The flow reads the log's partitions at different speeds."""
    said = [(3, 9.0, "Tent"), (7, 8.0, "Tent"), (5, 9.0, ""), (9, 7.0, ""), (11, 8.0, ""), (10, 7.0, "")]
    # The second one's name is news, its price is not.
    in_part = [(24, 2.0, ""), (8, 1.0, "Tent"), (28, 1.0, "Tent")]
    for words, price in ((said, 8.0), (in_part, 1.0)):
        for kept in (False, True):  # in bytes, after each of them
            for order in permutations(words):
                item = item_of(order, kept=kept)
                assert (item.price, item.title) == (price, "Tent")


def item_of(said: Iterable[tuple[int, float, str]], *, kept: bool) -> Item:
    state = ItemState("tent")
    for at_s, price, name in said:
        state.take(mention(Line("tent", price=price, name=name), at_s=at_s))
        state = ItemState.decode(state.encode()) if kept else state
    assert state.item is not None
    return state.item


def test_a_change_between_equal_mentions_is_not_overlooked() -> None:
    """A mention equal to the last one is passed over, unless a change came between."""
    said = mention(Line("tent", price=9.0))
    state = ItemState("tent")
    state.take(said)
    state.take(decode_change(encode_change("patch", "tent", {"price": 5}), Position(0, 1), T0))
    assert state.item is not None
    assert state.item.price == 5.0
    state.take(said)
    assert state.item.price == 9.0
    state.take(decode_change(encode_change("upsert", "tent", Item("tent", price=4.0)), Position(0, 2), T0))
    state.take(said)
    assert (state.item.price, state.item.fed) == (4.0, True)
    assert state.counters.views == 3.0


def test_state_comes_back_from_its_bytes() -> None:
    for news in ([], [mention(Line("tent", price=9.0))]):
        state = ItemState("tent")
        for one in news:
            state.take(one)
        back = ItemState.decode(state.encode())
        assert (back.item_id, back.item, back.counters) == ("tent", state.item, state.counters)


def test_what_people_went_on_to_is_kept() -> None:
    state = ItemState("tent")
    state.take(WentOn("tent", "stove", T0))
    state.take(WentOn("tent", "stove", T0 + 1000))
    state.take(WentOn("tent", "mug", T0 + 2000))
    state = ItemState.decode(state.encode())
    assert [after.item for after in state.counters.after] == ["stove", "mug"]


def test_two_pages_that_tell_different_things_of_an_item_take_turns() -> None:
    listed, page = mention(Line("tent", price=9.0)), mention(Line("tent", price=8.0, name="Tent"))
    state = ItemState("tent")
    for _ in range(2):
        for said in (listed, page):
            state.take(said)
            assert state.item is not None
            assert state.item.price == said.line.price
    assert state.item.title == "Tent"
