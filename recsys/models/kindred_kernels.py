"""The compiled loops behind `recsys.models.kindred`: where walks from a history lead, and what the people
nearest to it have.

`gather` keeps what was found of an item in a slot of the `KindredDesk`, found by the item's row, so that
`describe` tells it of any candidate, whoever named it; `clear` leaves the desk as it was. Finding the slot
is written out in each loop: called, it costs more than all else that is done for an item.

Arguments are named tuples of arrays: there are too many to name at each call.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from recsys.models.compiled import Array, boolean, f4, i4, i8, kernel, read_only, u1, void
from recsys.models.kernels import kth_largest

_I4, _I8, _F4, _U1 = (read_only(dtype) for dtype in (i4, i8, f4, u1))

CHANNELS = ("walks", "strongest_walk", "walks_from", "walks_of_rare", "people")
"""What is found of an item: the chance that a walk from the history ends there; the greatest share of one
item of the history in it; how many of them lead there; the chance where rare items of the history start
less often; the likeness of the nearest people who have it, summed."""
_WALKS, _STRONGEST, _FROM, _OF_RARE, _PEOPLE = range(len(CHANNELS))
N_CHANNELS = len(CHANNELS)

EVIDENCE = (
    *CHANNELS, *(f"{channel}_share" for channel in CHANNELS),
    "people_with_item", "history_items", "people_met",
)  # fmt: skip
"""The rows of `describe`; `_share` is the share of the channel's best, `people_with_item` its logarithm."""
N_EVIDENCE = len(EVIDENCE)

MAX_HISTORY_ITEMS = 200
"""Distinct items of a history that are looked at, the newest."""
MAX_SLOTS = 32_768
"""Items that are scored; what comes later is not."""
MAX_STEPS = 2_500
"""How many entries of the table of walks are read, shared evenly by the items of the history, the best of
each first."""
MAX_MEETINGS = 3_000
"""How many entries of the items' lists of people are read, shared evenly by the items of the history."""
MAX_VOTES = 4_000
"""How many entries of people's lists of items are read, the nearest people's first."""


class KindredArrays(NamedTuple):
    """The model; `recsys.models.kindred.Kindred` says what each is. Read-only."""

    walk_starts: Array
    walk_rows: Array
    walk_shares: Array
    item_starts: Array
    item_people: Array
    person_starts: Array
    person_items: Array
    rarity: Array
    brevity: Array


class KindredDesk(NamedTuple):
    """Working memory of one thread. All zero between calls: `place`, `sums`, `likeness`."""

    place: Array
    """int32[n_items]: an item's slot + 1, 0 for none."""
    rows: Array
    """int32[slots]: the item in each slot; those of the history first, the newest first."""
    sums: Array
    """float32[slots, channels]."""
    weights: Array
    """float32[MAX_HISTORY_ITEMS]: of each item of the history."""
    best: Array
    """float32[channels]: the greatest sum of each, of items that are not of the history."""
    likeness: Array
    """float32[n_people]."""
    met: Array
    """int32: the people met; then the nearest."""
    nearest: Array
    """int32[k_people]."""
    nearest_likeness: Array
    scores: Array
    """float32[max(slots, MAX_MEETINGS)]."""
    spare: Array
    facts: Array
    """int64: how many slots are used, are of the history; people met."""


SLOTS, HISTORY, MET = range(3)
"""The places of `KindredDesk.facts`."""
N_FACTS = 3

ARRAYS_TYPE = types.NamedTuple((_I8, _I4, _F4, _I8, _I4, _I8, _I4, _F4, _F4), KindredArrays)
DESK_TYPE = types.NamedTuple(
    (
        *(i4[::1], i4[::1], f4[:, ::1], f4[::1], f4[::1], f4[::1]),
        *(i4[::1], i4[::1], f4[::1], f4[::1], f4[::1], i8[::1]),
    ),
    KindredDesk,
)


@kernel(boolean(f4, i4, f4, i4))
def _ranks_above(score: float, row: int, other_score: float, other_row: int) -> bool:
    # Equal scores are ordered by row, so that an answer never depends on the order of accumulation.
    return score > other_score or (score == other_score and row < other_row)


@kernel(i8(i4[::1], f4[::1], i8, f4[::1], i4[::1], f4[::1]))
def _best(rows: Array, scores: Array, n: int, spare: Array, top_rows: Array, top_scores: Array) -> int:
    """The best of the first n into `top_*`, best first; those of zero or less are none. Returns how many
    they are. `spare` is as long as `scores` and overwritten."""
    n_positive = 0
    for index in range(n):
        spare[n_positive] = scores[index]
        n_positive += scores[index] > 0
    limit = min(len(top_rows), n_positive)
    if limit == 0:
        return 0
    least = np.float32(kth_largest(spare, n_positive, limit))
    n_above, n_ties = 0, 0
    for index in range(n):
        if scores[index] > least:
            n_above += 1
        elif scores[index] == least:
            # Rows below 2^24 are exact as float32.
            spare[n_ties] = -np.float32(rows[index])
            n_ties += 1
    last_row = np.int32(-kth_largest(spare, n_ties, limit - n_above))
    size = 0
    for index in range(n):
        row, score = rows[index], scores[index]
        if score < least or (score == least and row > last_row):
            continue
        at = size
        while at > 0 and _ranks_above(score, row, top_scores[at - 1], top_rows[at - 1]):
            top_rows[at], top_scores[at] = top_rows[at - 1], top_scores[at - 1]
            at -= 1
        top_rows[at], top_scores[at] = row, score
        size += 1
    return size


@kernel(void(DESK_TYPE, _I4, _F4))
def _seat_history(desk: KindredDesk, rows: Array, weights: Array) -> None:
    """Give slots to the last distinct items of the history. An item weighs what the weightiest of its
    rows weighs: ten looks at one thing are no ten things."""
    place, items, heaviest = desk.place, desk.rows, desk.weights
    n_slots = 0
    for at in range(len(rows) - 1, -1, -1):
        row, weight = rows[at], weights[at]
        if row < 0 or row >= len(place) or not weight > 0:
            continue
        if place[row] == 0 and n_slots == MAX_HISTORY_ITEMS:
            continue
        slot = place[row] - 1
        if slot < 0:
            slot = n_slots
            n_slots += 1
            place[row] = n_slots
            items[slot] = row
            heaviest[slot] = weight
        heaviest[slot] = max(heaviest[slot], weight)
    desk.facts[HISTORY] = n_slots
    desk.facts[SLOTS] = n_slots
    desk.facts[MET] = 0


@kernel(void(ARRAYS_TYPE, DESK_TYPE))
def _walk(model: KindredArrays, desk: KindredDesk) -> None:
    """Add up the table's rows of the items of the history."""
    place, items, sums = desk.place, desk.rows, desk.sums
    starts, ends, shares = model.walk_starts, model.walk_rows, model.walk_shares
    n_slots = desk.facts[SLOTS]
    most = MAX_STEPS // max(desk.facts[HISTORY], 1)
    for start in range(desk.facts[HISTORY]):
        origin = items[start]
        weight = desk.weights[start]
        per_rarity = np.float32(1) / model.rarity[origin]
        for at in range(starts[origin], min(starts[origin] + most, starts[origin + 1])):
            row = ends[at]
            slot = place[row] - 1
            if slot < 0:
                if n_slots == len(items):
                    continue
                slot = n_slots
                n_slots += 1
                place[row] = n_slots
                items[slot] = row
            share = weight * shares[at]
            sums[slot, _WALKS] += share
            sums[slot, _STRONGEST] = max(sums[slot, _STRONGEST], share)
            sums[slot, _FROM] += np.float32(1)
            sums[slot, _OF_RARE] += share * per_rarity
    desk.facts[SLOTS] = n_slots


@kernel(i8(ARRAYS_TYPE, DESK_TYPE))
def _meet_people(model: KindredArrays, desk: KindredDesk) -> int:
    """The people nearest to the history into `nearest`, best first; returns how many they are."""
    likeness, met, scores = desk.likeness, desk.met, desk.scores
    starts, people, brevity = model.item_starts, model.item_people, model.brevity
    n_history = desk.facts[HISTORY]
    most = MAX_MEETINGS // max(n_history, 1)
    n_met = 0
    for slot in range(n_history):
        row = desk.rows[slot]
        weight = np.float32(desk.weights[slot] * model.rarity[row])
        stop = starts[row + 1]
        # Oldest first: the last are the newest.
        for at in range(max(starts[row], stop - most), stop):
            person = people[at]
            if likeness[person] == 0:
                met[n_met] = person
                n_met += 1
            likeness[person] += weight
    for index in range(n_met):
        person = met[index]
        scores[index] = likeness[person] * brevity[person]
        likeness[person] = np.float32(0)
    desk.facts[MET] = n_met
    return _best(met, scores, n_met, desk.spare, desk.nearest, desk.nearest_likeness)


@kernel(void(ARRAYS_TYPE, DESK_TYPE, i8))
def _ask_people(model: KindredArrays, desk: KindredDesk, n_nearest: int) -> None:
    """Each of the nearest votes for what they have."""
    place, rows, sums = desk.place, desk.rows, desk.sums
    starts, items = model.person_starts, model.person_items
    n_slots, votes = desk.facts[SLOTS], 0
    for index in range(n_nearest):
        person, vote = desk.nearest[index], desk.nearest_likeness[index]
        votes += starts[person + 1] - starts[person]
        if votes > MAX_VOTES:
            break
        for at in range(starts[person], starts[person + 1]):
            row = items[at]
            slot = place[row] - 1
            if slot < 0:
                if n_slots == len(rows):
                    continue
                slot = n_slots
                n_slots += 1
                place[row] = n_slots
                rows[slot] = row
            sums[slot, _PEOPLE] += vote
    desk.facts[SLOTS] = n_slots


@kernel(i8(ARRAYS_TYPE, DESK_TYPE, _I4, _F4, _U1, u1, i4[::1], f4[::1]))
def gather(
    model: KindredArrays,
    desk: KindredDesk,
    rows: Array,
    weights: Array,
    offer: Array,
    item_types: int,
    top_rows: Array,
    top_scores: Array,
) -> int:
    """The best items for a history (int32[h], oldest first; float32[h]) into `top_*`, those of the history
    and what is not on offer left out; returns how many they are. The score is the sum of two shares of the
    best: of the walks and of the nearest people."""
    _seat_history(desk, rows, weights)
    desk.best[:] = np.float32(0)
    if desk.facts[HISTORY] == 0:
        return 0
    _walk(model, desk)
    _ask_people(model, desk, _meet_people(model, desk))
    best, sums, scores = desk.best, desk.sums, desk.scores
    n_history, n_slots = desk.facts[HISTORY], desk.facts[SLOTS]
    for slot in range(n_history, n_slots):
        for channel in range(N_CHANNELS):
            best[channel] = max(best[channel], sums[slot, channel])
    walks, people = max(best[_WALKS], np.float32(1e-30)), max(best[_PEOPLE], np.float32(1e-30))
    scores[:n_history] = np.float32(0)
    for slot in range(n_history, n_slots):
        scores[slot] = sums[slot, _WALKS] / walks + sums[slot, _PEOPLE] / people
    if len(offer):
        for slot in range(n_history, n_slots):
            if not offer[desk.rows[slot]] & item_types:
                scores[slot] = np.float32(0)
    return _best(desk.rows, desk.scores, n_slots, desk.spare, top_rows, top_scores)


@kernel(void(ARRAYS_TYPE, DESK_TYPE, _I4, f4[:, ::1]))
def describe(model: KindredArrays, desk: KindredDesk, rows: Array, evidence: Array) -> None:
    """What `gather` found of each of `rows` int32[c] into `evidence` float32[N_EVIDENCE, c]."""
    for index in range(len(rows)):
        row = rows[index]
        slot = desk.place[row] - 1 if 0 <= row < len(desk.place) else -1
        for channel in range(N_CHANNELS):
            found = desk.sums[slot, channel] if slot >= 0 else np.float32(0)
            best = desk.best[channel]
            evidence[channel, index] = found
            evidence[N_CHANNELS + channel, index] = found / best if best > 0 else np.float32(0)
        known = 0 <= row < len(model.rarity)
        with_item = np.float32(-2 * np.log(model.rarity[row])) if known else np.float32(0)
        evidence[2 * N_CHANNELS, index] = with_item
        evidence[2 * N_CHANNELS + 1, index] = np.float32(desk.facts[HISTORY])
        evidence[2 * N_CHANNELS + 2, index] = np.float32(desk.facts[MET])


@kernel(void(DESK_TYPE))
def clear(desk: KindredDesk) -> None:
    place, rows, sums = desk.place, desk.rows, desk.sums
    for slot in range(desk.facts[SLOTS]):
        place[rows[slot]] = 0
        for channel in range(N_CHANNELS):
            sums[slot, channel] = np.float32(0)
    desk.facts[:] = 0


@kernel(
    void(
        *(_I8, _I4, _I8, _I4, _F4, i8, i8, f4[::1], i4[::1], f4[::1], f4[::1]),
        *(i4[:, ::1], f4[:, ::1], i4[::1]),
    )
)
def walk_table(
    item_starts: Array,
    item_people: Array,
    person_starts: Array,
    person_items: Array,
    target_scale: Array,
    first_row: int,
    m_people: int,
    sums: Array,
    touched: Array,
    scores: Array,
    spare: Array,
    table_rows: Array,
    table_shares: Array,
    table_lengths: Array,
) -> None:
    """For the items from `first_row` on, as many as the table has rows: where a walk of two steps ends.

    From the item to one of its people (the newest `m_people` of them), and on to one of that person's
    items, all alike. The k items of the greatest chance times `target_scale` are kept, with their
    chances, the best first. `sums` float32[n_items] are zero before and after.
    """
    for index in range(len(table_rows)):
        row = first_row + index
        stop = item_starts[row + 1]
        start = max(item_starts[row], stop - m_people)
        n_touched = 0
        for at in range(start, stop):
            person = item_people[at]
            n_items = person_starts[person + 1] - person_starts[person]
            chance = np.float32(1.0 / (np.float64(n_items) * (stop - start)))
            for there in range(person_starts[person], person_starts[person + 1]):
                other = person_items[there]
                if sums[other] == 0:
                    touched[n_touched] = other
                    n_touched += 1
                sums[other] += chance
        for place in range(n_touched):
            other = touched[place]
            scores[place] = sums[other] * target_scale[other] if other != row else np.float32(0)
        found = _best(touched, scores, n_touched, spare, table_rows[index], table_shares[index])
        for place in range(found):
            table_shares[index, place] = sums[table_rows[index, place]]
        table_lengths[index] = found
        for place in range(n_touched):
            sums[touched[place]] = np.float32(0)
