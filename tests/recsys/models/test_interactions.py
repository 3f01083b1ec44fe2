from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recsys.models.interactions import Interactions
from tests.recsys.models.toys import CART, VIEW, random_interactions, sessions

MINUTE_MS = 60_000


def built(rows, **settings):
    """rows of (person, visitor, item, kind, at_ms)"""
    persons, visitors, items, kinds, at_ms = zip(*rows, strict=True)
    return Interactions.from_columns(persons, visitors, items, kinds, at_ms, **settings)


def listed(interactions):
    return [
        (interactions.person_ids[p], int(s), interactions.item_ids[i], int(k), float(at))
        for p, s, i, k, at in zip(
            interactions.person,
            interactions.session,
            interactions.item,
            interactions.kind,
            interactions.at_s,
            strict=True,
        )
    ]


def test_sessions_are_cut_at_gaps_and_numbered_by_their_last_event():
    interactions = built(
        [
            ("a:1", "1", "x", VIEW, 0),
            ("a:2", "2", "x", VIEW, 5 * MINUTE_MS),
            ("a:1", "1", "y", VIEW, 30 * MINUTE_MS),
            ("a:1", "1", "z", VIEW, 61 * MINUTE_MS),
        ]
    )
    assert listed(interactions) == [
        ("a:2", 0, "x", VIEW, 300.0),
        ("a:1", 1, "x", VIEW, 0.0),
        ("a:1", 1, "y", VIEW, 1800.0),
        ("a:1", 2, "z", VIEW, 3660.0),
    ]


def test_a_session_never_lasts_longer_than_the_cap():
    rows = [("a:1", "1", f"i{n}", VIEW, n * 20 * MINUTE_MS) for n in range(100)]
    interactions = built(rows, session_cap_s=24 * 3600)
    # 24 h are 72 steps of 20 minutes: rows 0..72 and the rest.
    assert np.bincount(interactions.session).tolist() == [73, 27]


def test_one_person_on_two_devices_has_two_sessions():
    interactions = built([("u:1", "phone", "x", VIEW, 0), ("u:1", "desk", "y", VIEW, 1000)])
    assert interactions.n_persons == 1
    assert interactions.session.tolist() == [0, 1]


def test_marks_separate_sessions():
    rows = [("a:1", "1", "x", VIEW, 0), ("a:1", "1", "y", VIEW, 1000)]
    assert built(rows).n_sessions == 1
    assert built(rows, session_marks=[0, 1000]).n_sessions == 2


def test_consecutive_repeats_of_the_same_kind_collapse():
    rows = [
        ("a:1", "1", "x", VIEW, 0),
        ("a:1", "1", "x", VIEW, 1000),
        ("a:1", "1", "x", CART, 2000),
        ("a:1", "1", "y", VIEW, 3000),
        ("a:1", "1", "x", VIEW, 4000),
        ("a:2", "2", "x", VIEW, 4500),
    ]
    kept = [(item, kind, at) for _, _, item, kind, at in listed(built(rows))]
    expected = [("x", VIEW, 0.0), ("x", CART, 2.0), ("y", VIEW, 3.0), ("x", VIEW, 4.0), ("x", VIEW, 4.5)]
    assert kept == expected
    assert len(built(rows, collapse_repeats=False)) == 6


def test_the_order_of_input_rows_does_not_matter():
    interactions = random_interactions(500, 20, 30, seed=1)
    generator = np.random.default_rng(2)
    at_ms = generator.permutation(10**6)[:500] * 1000
    rows = [(f"u:{n % 7}", f"v{n % 13}", f"i{n % 17}", n % 4, int(at_ms[n])) for n in range(500)]
    shuffled = [rows[n] for n in generator.permutation(500)]
    assert listed(built(rows)) == listed(built(shuffled))
    assert len(interactions) <= 500


def test_every_kind_of_string_column_gives_the_same():
    strings = ["x", "y", "x", "z"]
    columns = [
        strings,
        np.array(strings),
        pa.array(strings),
        pa.array(strings).dictionary_encode(),
        pa.chunked_array([["x", "y"], ["x", "z"]]),
        pa.chunked_array(
            [pa.array(["x", "y"]).dictionary_encode(), pa.array(["x", "z"]).dictionary_encode()]
        ),
    ]
    for column in columns:
        interactions = Interactions.from_columns(column, ["v"] * 4, column, [0] * 4, [1, 2, 3, 4])
        assert [item for _, _, item, _, _ in listed(interactions)] == ["x", "y", "x", "z"]


def test_sorted_by_session_and_time_whatever_comes_in():
    interactions = random_interactions(2000, 50, 40, seed=3)
    assert (np.diff(interactions.session) >= 0).all()
    same = np.diff(interactions.session) == 0
    assert (np.diff(interactions.at_s)[same] >= 0).all()
    ended = interactions.at_s[interactions.session_starts[1:] - 1]
    assert (np.diff(ended) >= 0).all()


def test_split_keeps_every_session_whole_and_on_one_side():
    interactions = sessions("ab", "cd", "ef")
    before, after = interactions.split(86_401.0)
    assert [before.item_ids[row] for row in before.item] == ["a", "b"]
    assert [after.item_ids[row] for row in after.item] == ["c", "d", "e", "f"]
    assert after.session.tolist() == [0, 0, 1, 1]
    assert before.item_ids == after.item_ids
    assert len(interactions.split(-1.0)[0]) == 0
    assert len(interactions.split(1e12)[1]) == 0


def test_no_rows_are_fine():
    nothing = Interactions.from_columns([], [], [], [], [])
    assert (len(nothing), nothing.n_sessions, nothing.n_items) == (0, 0, 0)
    assert nothing.split(0.0) == (nothing, nothing)


def test_catalogue_items_get_rows_behind_the_seen_ones():
    interactions = sessions("ab").with_items(["b", "new", "new"])
    assert interactions.item_ids == ["a", "b", "new"]


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"^Expected 2 rows like `at_ms`, got 1 - at `items`$"):
        Interactions.from_columns(["a", "b"], ["a", "b"], ["x"], [0, 0], [1, 2])


def test_nulls_are_refused():
    with pytest.raises(ValueError, match=r"^Expected a string in every row, got 1 nulls$"):
        Interactions.from_columns(["a", None], ["a", "b"], ["x", "y"], [0, 0], [1, 2])
