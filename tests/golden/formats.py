"""Every format that Headrace keeps, with a value that uses all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from recsys.catalog import TOLD, decode_item, encode_item
from recsys.counters import decode_counters, encode_counters
from recsys.facts import Absorb, Former, Renamed, Undone
from recsys.item import ItemState
from recsys.person import PersonState
from recsys.profile import VisitorLink, decode_link, decode_person, encode_record
from recsys.progress import decode_progress, encode_progress
from recsys.shown import decode_shown, encode_shown
from recsys.visitor import VisitorState
from tests.golden.records import (
    AT_MS,
    COUNTERS,
    COUNTERS_1,
    COUNTERS_3,
    ITEM,
    ITEM_WITH_HISTORY,
    PERSON,
    PERSON_1,
    PERSON_2,
    PROFILE_1,
    PROFILE_2,
    PROGRESS,
    SHOWN,
)
from tests.golden.states import (
    RULES,
    a_person_state,
    a_visitor_state,
    a_visitor_state_of_version_1,
    a_visitor_state_of_version_2,
    a_visitor_state_of_version_3,
    a_visitor_state_of_version_4,
    a_visitor_state_of_version_5,
    an_item_state,
)

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Format:
    """One persisted format: today's bytes of `value`, and what any version's bytes mean."""

    name: str
    version: int
    what: str
    """As the refusal of an unknown version calls it."""
    encode: Callable[[], bytes]
    decode: Callable[[bytes], object]
    value: object
    before: dict[int, object] = field(default_factory=dict)
    """What the bytes of older versions mean, where that is less."""

    def path(self, version: int) -> Path:
        return FOLDER / f"{self.name}_v{version}.bin"


def _of_visitor(state: VisitorState) -> object:
    state.settle()
    events = [step.entry for step in state.steps]
    return (state.visitor, state.view, state.base, events, state._seen.entries(), state.record())


def _of_person(state: PersonState) -> object:
    facts = [step.entry for step in state.steps]
    return (state.user_id, state.base, facts, state._watermark_ms, state.record())


def _of_item(state: ItemState) -> object:
    return (state.item_id, state.item, state.counters, state._told)


def _formats() -> list[Format]:
    anonymous, known = VisitorLink("v1", None, PERSON), VisitorLink("v1", "anna", None)
    visitor, item = a_visitor_state(), an_item_state()
    names = ((1, Renamed("anna@old")), (139_000, Former("anna@older")), (142_000, Renamed("anna@new")))
    logins = ((2, Absorb(PROFILE_2, AT_MS + 2)), (143_000, Undone(AT_MS + 2)))
    person = a_person_state(PROFILE_2, *names, *logins)
    return [
        Format(
            "person_record",
            3,
            "a profile record",
            lambda: encode_record(PERSON),
            decode_person,
            PERSON,
            {1: PERSON_1, 2: PERSON_2},
        ),
        Format(
            "visitor_link",
            3,
            "a profile record",
            lambda: encode_record(anonymous),
            decode_link,
            anonymous,
            {1: VisitorLink("v1", None, PERSON_1), 2: VisitorLink("v1", None, PERSON_2)},
        ),
        Format("visitor_link_known", 3, "a profile record", lambda: encode_record(known), decode_link, known),
        Format(
            "visitor_state",
            6,
            "a visitor state",
            visitor.encode,
            lambda data: _of_visitor(VisitorState.decode(data, RULES)),
            _of_visitor(visitor),
            {
                1: _of_visitor(a_visitor_state_of_version_1()),
                2: _of_visitor(a_visitor_state_of_version_2()),
                3: _of_visitor(a_visitor_state_of_version_3()),
                4: _of_visitor(a_visitor_state_of_version_4()),
                5: _of_visitor(a_visitor_state_of_version_5()),
            },
        ),
        Format(
            "person_state",
            4,
            "a person state",
            person.encode,
            lambda data: _of_person(PersonState.decode(data, RULES)),
            _of_person(person),
            {
                1: _of_person(a_person_state(PROFILE_1)),
                2: _of_person(a_person_state()),
                3: _of_person(a_person_state(PROFILE_2, *names)),
            },
        ),
        Format(
            "item_state",
            5,
            "an item state",
            item.encode,
            lambda data: _of_item(ItemState.decode(data)),
            _of_item(item),
            {
                1: (item.item_id, item.item, COUNTERS_1, ()),
                2: (item.item_id, item.item, COUNTERS_3, ()),
                3: (item.item_id, item.item, COUNTERS_3, ()),
                4: (item.item_id, item.item, COUNTERS_3, (AT_MS,) * len(TOLD)),
            },
        ),
        Format(
            "item_record_with_history",
            1,
            "an item record",
            lambda: encode_item(ITEM_WITH_HISTORY),
            decode_item,
            ITEM_WITH_HISTORY,
        ),
        Format("item_record", 1, "an item record", lambda: encode_item(ITEM), decode_item, ITEM),
        Format(
            "counters",
            4,
            "a counter record",
            lambda: encode_counters(COUNTERS),
            decode_counters,
            COUNTERS,
            {1: COUNTERS_1, 2: COUNTERS_3, 3: COUNTERS_3},
        ),
        Format(
            "progress",
            4,
            "a progress record",
            lambda: encode_progress(PROGRESS),
            decode_progress,
            PROGRESS,
            {
                1: msgspec.structs.replace(PROGRESS, crowded=(), flaws=(), step_ms=0, rules=0),
                2: msgspec.structs.replace(PROGRESS, flaws=(), step_ms=0, rules=0),
                3: msgspec.structs.replace(PROGRESS, rules=0),
            },
        ),
        Format("shown", 1, "a record of what was shown", lambda: encode_shown(SHOWN), decode_shown, SHOWN),
    ]


FORMATS = _formats()
