"""Interactions by the million: promised columns, structure to learn, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from bench.shop import Scale


@pytest.fixture(scope="module")
def scale():
    return Scale(seed=5, items=2_030, sessions=20_000, profiles=30_000)


def test_scale_columns_have_the_promised_types_lengths_and_order(scale):
    made = scale.interactions()
    assert [column.dtype.name for column in made] == ["int32", "int32", "int32", "uint8", "float64"]
    assert len({len(column) for column in made}) == 1
    length = np.bincount(made.session)
    assert len(length) == 20_000
    assert (length.min(), length.max()) >= (2, 10)
    assert length.max() <= 50
    assert 4.5 < length.mean() < 5.5
    same = np.diff(made.session) == 0
    assert (np.diff(made.at_s)[same] > 0).all()
    assert (np.diff(made.at_s[np.searchsorted(made.session, np.arange(20_000))]) >= 0).all()
    assert 0 <= made.item.min() <= made.item.max() < 2_030
    assert made.person.max() < 30_000
    again = Scale(seed=5, items=2_030, sessions=20_000, profiles=30_000).interactions()
    assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))


def test_scale_has_popular_items_and_sequences_to_learn(scale):
    made = scale.interactions()
    views = np.sort(np.bincount(made.item, minlength=2_030))[::-1]
    assert 0.2 < views[:203].sum() / views.sum() < 0.8
    step = np.diff(made.item.astype(np.int64))[np.diff(made.session) == 0]
    assert 0.3 < ((step > 0) & (step <= 3)).mean() < 0.6
    assert 0.02 < (made.kind > 0).mean() < 0.15


def test_scale_histories_give_each_profile_one_session_before_now(scale):
    blocks = list(scale.histories(now_s=1e9))
    assert max(len(np.unique(block.person)) for block in blocks) <= 8192
    people = np.concatenate([block.person for block in blocks])
    assert np.array_equal(np.unique(people), np.arange(30_000))
    assert max(block.at_s.max() for block in blocks) <= 1e9
    assert np.array_equal(next(scale.histories(now_s=1e9)).item, blocks[0].item)


def test_scale_items_are_made_on_demand(scale):
    item = scale.item(77)
    assert item == scale.item(77)
    assert set(item) == {"id", "title", "price", "category", "link"}
    assert len({item["id"] for item in scale.catalogue()}) == 2_030
    with pytest.raises(IndexError, match=r"Expected an item row in 0\.\.2029, got `2030`"):
        scale.item(2_030)
