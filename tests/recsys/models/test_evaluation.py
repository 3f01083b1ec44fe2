from __future__ import annotations

import numpy as np
import pytest

from recsys.models.evaluation import next_item
from tests.recsys.models.toys import random_interactions, sessions


def test_ranks_become_rates():
    test = sessions("ab", "ac", "ad", "ae")
    fixed = np.array([1, 2], np.int32)  # b first, c second; d and e never
    metrics = next_item(lambda _: fixed, test)
    assert (metrics.queries, metrics.sessions) == (4, 4)
    assert metrics.hit_rate_at_20 == 0.5
    assert metrics.mrr_at_20 == (1 + 1 / 2) / 4
    assert metrics.coverage == 2 / 5
    assert metrics.hit_rate_low < 0.5 < metrics.hit_rate_high
    assert metrics.mrr_low < metrics.mrr_at_20 < metrics.mrr_high


def test_what_stands_below_the_cut_is_a_miss():
    test = sessions("az")
    behind = np.arange(100, 130, dtype=np.int32)
    behind[7] = 1
    with pytest.raises(IndexError):
        next_item(lambda _: behind, test)
    test = test.with_items([str(n) for n in range(200)])
    assert next_item(lambda _: behind, test).mrr_at_20 == 1 / 8
    assert next_item(lambda _: behind, test).hit_rate_at_5 == 0
    assert next_item(lambda _: behind, test, at=7).hit_rate_at_20 == 0


def test_every_prefix_is_asked_for_what_comes_next():
    asked = []
    test = sessions("abca")

    def recommend(prefix):
        asked.append(prefix.tolist())
        return np.empty(0, np.int32)

    metrics = next_item(recommend, test)
    assert asked == [[0], [0, 1], [0, 1, 2]]
    assert metrics.hit_rate_at_20 == 0.0


def test_the_same_item_again_is_asked_for_unless_targets_must_differ():
    test = sessions("aab", kinds=[0, 1, 0])
    assert next_item(lambda prefix: prefix[-1:], test).hit_rate_at_20 == 0.5
    assert next_item(lambda prefix: prefix[-1:], test, target_differs=True).hit_rate_at_20 == 0.0


def test_a_sample_is_of_whole_sessions_and_follows_the_seed():
    test = random_interactions(2000, 30, 300, seed=16)

    def asked(seed):
        prefixes = []

        def recommend(prefix):
            prefixes.append(tuple(prefix.tolist()))
            return prefix

        metrics = next_item(recommend, test, max_queries=50, seed=seed)
        return prefixes, metrics

    one, same, other = asked(1), asked(1), asked(2)
    assert one == same
    assert one[0] != other[0]
    assert 50 <= len(one[0]) < 500


def test_nothing_to_ask():
    metrics = next_item(lambda prefix: prefix, sessions("a", "b"))
    assert (metrics.queries, metrics.hit_rate_at_20, metrics.hit_rate_high) == (0, 0.0, 0.0)
