"""What became of every event: received = accepted + duplicates + dead, always."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalog import CatalogChange
from recsys.events import Action, Arrival, DeadLetter, Flaw
from recsys.fold import Effect
from recsys.ports import Position
from recsys.progress import FOLD_RULES, MAX_CROWDED, MAX_FLAWS, MAX_NAMES, OTHER_FLAWS, FlowProgress
from recsys.tally import TallyState, count_of
from recsys.visitor import Accepted, Duplicate
from tests.recsys.worlds import T0, event


def accepted(offset: int = 0, *effects: Effect, late: bool = False, **more: object) -> Accepted:
    one = event(offset, offset=offset, **more)  # type: ignore[arg-type]
    return Accepted(one, b"{}", "a:v1", T0, late, effects)


def dead(offset: int, kind: str = "invalid_json") -> DeadLetter:
    return DeadLetter(kind, "$", "x", "y", b"", Position(0, offset), 0, T0)


def tallied(*batches: list[object]) -> FlowProgress:
    state = TallyState()
    for batch in batches:
        state.take(count_of(batch))
    return state.progress(T0)


def test_everything_is_counted_once() -> None:
    started = Effect("session_started", T0)
    progress = tallied(
        [accepted(0, started), Duplicate(event(1, offset=1)), dead(2), object()],
        [
            accepted(3, late=True, blocked_ids=2),
            accepted(4, action=Action.ORDER),
            CatalogChange(Position(1, 9), T0, "remove", "tent", b""),
            Arrival(event(5, Action.SERVED, offset=5), b"{}"),
            dead(6, "no_identity"),
            dead(7),
            started,
        ],
    )
    assert progress == FlowProgress(
        partitions=((0, 7), (1, 9)),
        watermark_ms=T0 + 4000,
        written_ms=T0,
        accepted=5,
        duplicates=1,
        dead=3,
        late=1,
        blocked_ids=2,
        served=1,
        catalog=1,
        names=(("VIEW", 2), ("ORDER", 1)),
        dead_kinds=(("invalid_json", 2), ("no_identity", 1)),
        effects=(("session_started", 2),),
        rules=FOLD_RULES,
    )
    assert progress.received == 9


_outcomes = st.lists(
    st.builds(accepted, st.integers(0, 50))
    | st.builds(dead, st.integers(0, 50))
    | st.builds(lambda offset: Duplicate(event(offset, offset=offset)), st.integers(0, 50))
)


@given(st.lists(_outcomes, max_size=5))
def test_batches_and_restarts_make_no_difference(batches: list[list[object]]) -> None:
    together = tallied([one for batch in batches for one in batch])
    state = TallyState()
    for batch in batches:
        state.take(count_of(batch))
        state = TallyState.decode(state.encode())
    assert state.progress(T0) == together == tallied(*reversed(batches))
    assert together.received == sum(map(len, batches))


def test_names_beyond_the_limit_are_counted_together() -> None:
    state = TallyState()
    for number in range(MAX_NAMES + 50):
        arrival = accepted(number)
        named = msgspec.structs.replace(arrival, event=event_named(f"name {number}"))
        state.take(count_of([named]))
    state.take(count_of([msgspec.structs.replace(accepted(0), event=event_named("name 7"))]))
    progress = state.progress(T0)
    names = dict(progress.names)
    assert len(names) <= MAX_NAMES + 1
    assert names["(other)"] == 50
    assert names["name 7"] == 2
    assert sum(names.values()) == progress.accepted == MAX_NAMES + 51


def test_crowded_devices_are_named_and_those_beyond_the_limit_counted_together() -> None:
    state = TallyState()
    for number in range(MAX_CROWDED + 5):
        arrival = accepted(number, visitor=f"bot{number}")
        state.take(count_of([msgspec.structs.replace(arrival, crowded=True), accepted(number)]))
    progress = TallyState.decode(state.encode()).progress(T0)
    assert progress.crowded[0] == ("(other)", 5)
    assert len(progress.crowded) == MAX_CROWDED + 1
    assert progress.crowded_events == MAX_CROWDED + 5


def test_flaws_are_counted_by_where_they_stand_and_those_beyond_the_limit_together() -> None:
    state = TallyState()
    for number in range(MAX_FLAWS + 5):
        wrong = (
            Flaw("wrong_type", f"$.properties.products[{number}].price", "`float`", "`array`"),
            Flaw("wrong_type", f"$.f{number}", "`str`", "`int`", is_repaired=True),
        )
        state.take(count_of([msgspec.structs.replace(accepted(number), flaws=wrong)]))
    progress = TallyState.decode(state.encode()).progress(T0)
    assert progress.flaws[0] == (
        Flaw("wrong_type", "$.properties.products[*].price", "`float`", "`array`"),
        MAX_FLAWS + 5,
    )
    assert progress.flaws[1] == (OTHER_FLAWS, 6)
    assert len(progress.flaws) == MAX_FLAWS + 1
    assert progress.flaw_count == 2 * (MAX_FLAWS + 5)


def event_named(name: str):
    import msgspec

    return msgspec.structs.replace(event(0), name=name)


def test_how_far_the_flow_is() -> None:
    progress = FlowProgress(partitions=((0, 7), (2, 3)))
    assert progress.covers({0: 7, 2: 3})
    assert progress.covers({})
    assert not progress.covers({0: 8})
    assert not progress.covers({1: 0})
    assert progress.behind({0: 10, 1: 4, 2: 1}) == 3 + 5
