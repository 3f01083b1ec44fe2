"""What the compiled loops of the ranker's signals work on: the model, and the desk of a thread."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numba import types
from numba.experimental import structref

from recsys.models.compiled import Array, f4, i4, i8, kernel, read_only, u1
from recsys.models.opinion_kernel import OPINIONS

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))
_F4_2D = read_only(f4, 2)

CHANNELS = (
    "neighbours_near", "neighbours_idf", "neighbours_ahead", "neighbours_alike", "neighbours_recent",
    "neighbours_next", "neighbours_sharing_two", "following_last", "preceding_last", "following_second",
    "around_session", "following_session", "next_of_late", "cosine_table",
)  # fmt: skip
"""What the sources say of an item, each a sum of votes."""
N_CHANNELS = len(CHANNELS)

COLUMNS = (
    "popularity", "popularity_faded", "popularity_of_late", "trend", "last_seen", "first_seen", "repeat",
    "ending",
)  # fmt: skip
"""What is known of an item whatever the session; see `recsys.models.signals`."""
N_COLUMNS = len(COLUMNS)
UNSEEN = np.array((0, 0, 0, 1, 2, 0, 0.1, 1 / 3), np.float32)
"""The columns of an item that the training has not seen."""

AFFINITIES = (
    "category_session", "category_past", "category_last", "brand_session", "brand_past", "price_to_session",
    "price_to_last", "price", "orders", "known_seconds",
)  # fmt: skip
"""How a candidate goes with what the person looks at, by what the catalogue says of it today, and how long
and well the person is known."""

FEATURES = (
    *CHANNELS,
    *(f"{channel}_share" for channel in CHANNELS),
    "cosine_last", "cosine_session", "cosine_earlier",
    *COLUMNS,
    "steps_back", "times_in_session", "seconds_back", "past_times", "past_seconds_back", "past_kind",
    "session_items", "session_steps", "past_items", "seconds_between_last", "seconds_since_past",
    "session_seconds", "last_kind", "last_popularity", "last_repeat", "pool_size", "sessions_found",
    "neighbours_near_best", "following_last_best",
    "demand", "surge", "after_last", "after_last_share",
    *OPINIONS,
    *AFFINITIES,
    "slow_surge", "pointed_session", "pointed_last",
)  # fmt: skip
"""The rows of the ranker's features; `_share` is the share of the channel's best. New ones come last:
trees of an older bundle ask for the others by their places."""
N_FEATURES = len(FEATURES)
LIVE_AT = FEATURES.index("demand")
OPINIONS_AT = FEATURES.index(OPINIONS[0])
AFFINITIES_AT = FEATURES.index(AFFINITIES[0])
"""Where the features begin that are told by live counters, by other models, and by the catalogue."""
SLOW_SURGE_AT = FEATURES.index("slow_surge")
"""The last one of live counters: it came later."""
POINTED_AT = FEATURES.index("pointed_session")
"""Where the features begin that are told by the vectors that are taught to foretell."""

MAX_POOL = 192
"""Candidates of one session."""
MAX_PAST_ITEMS = 20
"""Items of earlier sessions that become candidates."""
MAX_SESSION_ITEMS = 32
"""Distinct items of the session that are looked at, the newest."""
MAX_PAST_ROWS = 60
MAX_SLOTS = 16_384
"""Items that are scored; what comes later is not. 600 sessions rarely name a quarter of it."""

SUMS = 16
"""The channels, and as many cells more as fill a line of the processor's cache."""
_SEATS = MAX_SESSION_ITEMS + MAX_PAST_ROWS


class SignalArrays(NamedTuple):
    """The model; `recsys.models.signals.Signals` says what each is. Read-only."""

    item_starts: Array
    item_sessions: Array
    session_starts: Array
    session_items: Array
    session_fade: Array
    idf: Array
    following_starts: Array
    following_rows: Array
    following_scores: Array
    preceding_starts: Array
    preceding_rows: Array
    preceding_scores: Array
    next_starts: Array
    next_rows: Array
    next_scores: Array
    cosine_starts: Array
    cosine_rows: Array
    cosine_scores: Array
    vectors: Array
    columns: Array
    popular: Array
    next_vectors: Array


class DeskArrays(NamedTuple):
    """Working memory of one thread: what `gather` found, until it is asked again."""

    place: Array
    """int32[n_items]: an item's slot + 1, 0 for none."""
    rows: Array
    """int32[slots]: the item in each slot; those of the session first, the newest first."""
    sums: Array
    """float32[slots, 16]: by channel."""
    step: Array
    """int32[seats]: for the first slots, those of the session and of the past: how many items back in the
    session it was last seen, -1 for not at all."""
    times: Array
    newest: Array
    """int64[seats]: where in the trail it was last seen in the session."""
    past_times: Array
    past_newest: Array
    past_kind: Array
    pooled: Array
    best: Array
    """float32[channels]: the greatest sum of each."""
    spare: Array
    listed: Array
    """int32[slots + 1]: slots that are looked at once more."""
    found_session: Array
    """int32[2, sessions]: those that share an item, the newest first."""
    found_similarity: Array
    """float32[2, sessions]."""
    voter: Array
    """int64[sessions, 5]: of each neighbour that votes where its items begin and end, the place of the
    last one shared, its step in our session, and how many are shared."""
    fade: Array
    """float32[sessions]: by the age of each neighbour."""
    gathered: Array
    """int32[candidates]."""
    votes: Array
    """float32[candidates]: what like sessions say of each, as a share of what they say of the best."""
    mean: Array
    """float32[d]: the session's mean vector."""
    aim: Array
    """float32[d']: where it points by the vectors that are taught."""
    facts: Array
    """int64: how many slots are used, are of the session, of the past; steps; sessions found; candidates."""


SLOTS, SESSION, PAST, STEPS, FOUND, POOLED = range(6)
N_FACTS = 6

SIGNALS_TYPE = types.NamedTuple(
    (_I8, _I4, _I8, _I4, _F4, _F4, *(_I8, _I4, _F4) * 4, _F4_2D, _F4_2D, _I4, _F4_2D), SignalArrays
)
DESK_TYPE = types.NamedTuple(
    (
        *(i4[::1], i4[::1], f4[:, ::1], i4[::1], i4[::1], i8[::1], i4[::1], i8[::1], i4[::1], u1[::1]),
        *(f4[::1], f4[::1], i4[::1], i4[:, ::1], f4[:, ::1], i8[:, ::1], f4[::1], i4[::1], f4[::1], f4[::1]),
        *(f4[::1], i8[::1]),
    ),
    DeskArrays,
)


@structref.register
class _JoinedType(types.StructRef):
    """As the compiler knows `_Joined`."""


class _Joined(structref.StructRefProxy):
    """Model and desk as one argument: each array that is handed over by itself costs 1,500 instructions,
    and there are forty."""


structref.define_boxing(_JoinedType, _Joined)
JOINED_TYPE: Any = cast(Any, _JoinedType)((("model", SIGNALS_TYPE), ("desk", DESK_TYPE)))
_new: Any = structref.new


@kernel(JOINED_TYPE(SIGNALS_TYPE, DESK_TYPE))
def _join(model: SignalArrays, desk: DeskArrays) -> Any:
    joined = _new(JOINED_TYPE)
    joined.model = model
    joined.desk = desk
    return joined


class Desk:
    """Where one thread works with one model. `joined` is what the kernels take."""

    __slots__ = ("arrays", "joined")

    def __init__(self, model: SignalArrays, m_sessions: int) -> None:
        """`m_sessions`: how many recent sessions are looked at."""
        n_items = len(model.columns)
        slots = min(n_items, MAX_SLOTS)
        self.arrays = DeskArrays(
            place=np.zeros(n_items, np.int32), rows=np.zeros(slots, np.int32),
            sums=np.zeros((slots, SUMS), np.float32), step=np.zeros(_SEATS, np.int32),
            times=np.zeros(_SEATS, np.int32), newest=np.zeros(_SEATS, np.int64),
            past_times=np.zeros(_SEATS, np.int32), past_newest=np.zeros(_SEATS, np.int64),
            past_kind=np.zeros(_SEATS, np.int32), pooled=np.zeros(slots, np.uint8),
            best=np.zeros(SUMS, np.float32), spare=np.zeros(max(slots, m_sessions) + 1, np.float32),
            listed=np.zeros(slots + 1, np.int32),
            found_session=np.zeros((2, m_sessions), np.int32),
            found_similarity=np.zeros((2, m_sessions), np.float32),
            voter=np.zeros((m_sessions, 5), np.int64), fade=np.zeros(m_sessions, np.float32),
            gathered=np.zeros(MAX_POOL, np.int32), votes=np.zeros(MAX_POOL, np.float32),
            mean=np.zeros(model.vectors.shape[1], np.float32),
            aim=np.zeros(model.next_vectors.shape[1], np.float32),
            facts=np.zeros(N_FACTS, np.int64),
        )  # fmt: skip
        self.joined = _join(model, self.arrays)
