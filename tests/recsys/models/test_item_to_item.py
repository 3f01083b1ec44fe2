from __future__ import annotations

import numpy as np

from recsys.models.item_to_item import ItemToItem, ItemToItemSettings
from tests.recsys.models.toys import names, sessions


def test_co_occurrence_finds_what_is_seen_together_both_ways():
    interactions = sessions("ab", "ab", "cd")
    model = ItemToItem.fit(interactions, np.zeros((4, 2), np.float32), ItemToItemSettings(vector_share=0.0))
    assert [names(interactions, model.similar(row, 5)) for row in range(4)] == [["b"], ["a"], ["d"], ["c"]]


def test_the_mix_is_the_weighted_sum_of_both_cosines():
    interactions = sessions("ab", "c")
    vectors = np.array([[1, 0], [1, 1], [2, 0]], np.float32)
    model = ItemToItem.fit(interactions, vectors, ItemToItemSettings(vector_share=0.25))
    rows, scores = model.similar(0, 5)
    assert rows.tolist() == [1, 2]
    np.testing.assert_allclose(scores, [0.75 * 1 + 0.25 * np.sqrt(0.5), 0.25 * 1], rtol=1e-5)


def test_saved_is_loaded(tmp_path):
    interactions = sessions("abc", "cba", "ad")
    model = ItemToItem.fit(interactions, np.eye(4, dtype=np.float32))
    model.save(tmp_path)
    loaded = ItemToItem.load(tmp_path)
    assert loaded.settings == model.settings
    np.testing.assert_array_equal(loaded.table.rows, model.table.rows)
    np.testing.assert_array_equal(loaded.table.scores, model.table.scores)
    assert len(loaded.similar(77, 5)[0]) == 0
