from __future__ import annotations

import numpy as np

from recsys.models.demand import no_live
from recsys.models.next_vectors import taught
from recsys.models.opinion_kernel import N_OPINIONS
from recsys.models.signal_arrays import FEATURES
from recsys.models.signals import Signals, Trail, Traits
from recsys.models.vectors import unit_length
from tests.recsys.models.toys import sessions

N_ITEMS = 60
N_LEARNED = 900


def walks(n=1000, seed=0):
    """Everybody goes along a circle of items, one or two places a step, four steps."""
    random = np.random.default_rng(seed)
    places = np.cumsum(
        np.hstack((random.integers(N_ITEMS, size=(n, 1)), random.integers(1, 3, (n, 4)))), axis=1
    )
    return sessions(*([f"{place % N_ITEMS:02}" for place in walk] for walk in places.tolist()))


def learned_and_asked():
    everything = walks()
    return everything.split(float(everything.at_s[everything.session_starts[N_LEARNED]]))


def any_vectors(n, seed=1):
    return unit_length(np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32))


def found(vectors, asked):
    """How often the third item of a session is among the four nearest to where its first two point, which
    are not counted."""
    first = asked.session_starts[:-1]
    one, two, three = (asked.item[first + step] for step in range(3))
    likeness = (vectors[two] + vectors[one] * 0.5**0.5) @ vectors.T
    likeness[np.arange(len(one)), one] = likeness[np.arange(len(one)), two] = -1
    nearest = np.argsort(-likeness, axis=1)[:, :4]
    return float((nearest == three[:, None]).any(axis=1).mean())


def trail_of(*rows):
    at_s = np.arange(len(rows), dtype=np.int64)
    return Trail(np.array(rows, np.int32), np.zeros(len(rows), np.uint8), at_s, 0, float(len(rows)))


def test_sessions_point_to_what_comes_next():
    learned, asked = learned_and_asked()
    before = any_vectors(learned.n_items)
    after = taught(before, learned)
    assert found(after, asked) > 0.8 > 3 * found(before, asked)
    assert np.allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)


def test_the_ranker_is_told_where_a_session_points():
    learned, asked = learned_and_asked()
    signals = Signals.fit(learned)
    assert found(signals.arrays.next_vectors, asked) > 0.8 > found(signals.arrays.vectors, asked)
    row_of = {item: row for row, item in enumerate(learned.item_ids)}
    trail = trail_of(row_of["10"], row_of["12"])
    desk = signals.desk()
    signals.gather(trail, desk)
    candidates = np.array([row_of[item] for item in ("13", "09", "40")], np.int32)
    nothing, unknown = np.zeros((N_OPINIONS, 3), np.float32), Traits.unknown(learned.n_items)
    told = signals.describe(candidates, trail, desk, no_live(3), nothing, unknown)
    ahead, behind, elsewhere = told[FEATURES.index("pointed_session")]
    assert ahead > behind > elsewhere
    ahead, behind, elsewhere = told[FEATURES.index("pointed_last")]
    assert ahead > behind > elsewhere


def test_a_model_that_was_not_taught_points_nowhere(tmp_path):
    learned, _ = learned_and_asked()
    Signals.fit(learned).save(tmp_path)
    (tmp_path / "next_vectors.npy").unlink()
    signals = Signals.load(tmp_path)
    trail, desk = trail_of(0, 1), signals.desk()
    rows = signals.gather(trail, desk)
    nothing, unknown = np.zeros((N_OPINIONS, len(rows)), np.float32), Traits.unknown(learned.n_items)
    told = signals.describe(rows, trail, desk, no_live(len(rows)), nothing, unknown)
    assert not told[FEATURES.index("pointed_session")].any()
    assert not told[FEATURES.index("pointed_last")].any()


def test_an_item_that_never_occurred_has_no_direction_and_one_that_did_has():
    learned, _ = learned_and_asked()
    learned = learned.with_items(["unheard"])
    before = any_vectors(learned.n_items)
    before[[3, learned.n_items - 1]] = 0
    after = taught(before, learned)
    assert not after[-1].any()
    assert np.isclose(np.linalg.norm(after[3]), 1, atol=1e-5)


def test_of_few_sessions_vectors_stay_as_they_are():
    few = walks(20)
    before = any_vectors(few.n_items)
    assert np.array_equal(taught(before, few), before)


def test_teaching_twice_gives_the_same():
    learned, _ = learned_and_asked()
    before = any_vectors(learned.n_items)
    assert np.array_equal(taught(before, learned), taught(before, learned))
