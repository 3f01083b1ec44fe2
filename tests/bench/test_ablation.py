from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from bench.quality.ablation import GROUPS, deaf_to
from recsys.models.bundle import Models
from recsys.models.ranker import Ranker
from recsys.models.signal_arrays import FEATURES
from recsys.models.trees import Trees


def test_each_feature_is_in_one_group():
    assert Counter(name for names in GROUPS.values() for name in names) == Counter(FEATURES)


@pytest.mark.parametrize("group", GROUPS)
def test_trees_that_are_deaf_to_a_group_are_moved_by_the_others_only(group):
    generator = np.random.default_rng(0)
    shape, n = (60, 6), len(FEATURES)
    asked = generator.permutation(np.arange(shape[0] * shape[1]) % n).reshape(shape).astype(np.int32)
    trees = Trees(
        asked,
        generator.normal(size=shape).astype(np.float32),
        generator.normal(size=(60, 64)).astype(np.float32),
    )
    nothing = SimpleNamespace()
    models = Models(*([nothing] * 8), ranker=Ranker(nothing, trees))
    deaf = deaf_to(models, group).ranker.trees
    features = generator.normal(size=(n, 40)).astype(np.float32)
    other = features.copy()
    other[[FEATURES.index(name) for name in GROUPS[group]]] = generator.normal()
    np.testing.assert_array_equal(deaf.score(features), deaf.score(other))
    assert not np.array_equal(trees.score(features), trees.score(other))
    assert not np.array_equal(deaf.score(features), deaf.score(np.ascontiguousarray(features[:, ::-1])))
