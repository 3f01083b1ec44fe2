from __future__ import annotations

import itertools

import numpy as np
import pytest

from recsys.models.boosting import BoostingSettings, Choices, boost, borders_of, steep_of
from recsys.models.boosting_kernels import draw_rows, gradients
from recsys.models.trees import Trees


def walked(trees, features):
    """The sum of the leaves in plain Python, a candidate and a tree at a time."""
    totals = []
    for candidate in features.T:
        total = 0.0
        for asked, thresholds, values in zip(trees.features, trees.thresholds, trees.values, strict=True):
            leaf = sum(
                1 << level
                for level, (feature, threshold) in enumerate(zip(asked, thresholds, strict=True))
                if candidate[feature] > threshold
            )
            total += values[leaf]
        totals.append(total)
    return totals


def groups(n_groups, seed, n_features=5):
    """Of each group the candidate was taken whose feature 2 is greatest among those with feature 4 > 0."""
    generator = np.random.default_rng(seed)
    for _ in range(n_groups):
        features = generator.normal(size=(n_features, int(generator.integers(5, 30)))).astype(np.float32)
        yield features, int(np.argmax(np.where(features[4] > 0, features[2], features[2] - 10)))


def taught(n_groups):
    choices = Choices(borders_of((features for features, _ in groups(200, 1)), BoostingSettings().bins))
    for features, target in groups(n_groups, 1):
        choices.add(features, [target])
    return choices


def fitted(n_groups=400, **settings):
    settings = {"trees": 40, "depth": 4, "learning_rate": 0.3, **settings}
    return boost(taught(n_groups), BoostingSettings(**settings))


@pytest.mark.parametrize("n_trees", [4, 5, 6, 7])
def test_the_score_is_the_sum_of_the_leaves(n_trees):
    trees = fitted(trees=n_trees)
    features, _ = next(groups(1, 9))
    assert trees.score(features) == pytest.approx(walked(trees, features), abs=1e-5)


def test_effects_add_up_to_what_sets_a_candidate_apart_and_go_to_what_was_asked():
    trees = fitted()
    features, _ = next(groups(1, 9))
    effects, scores = trees.effects(features), trees.score(features)
    assert effects.sum(axis=0) == pytest.approx(scores - scores.mean(), abs=1e-3)
    # Features 2 and 4 decide, and the others say nothing.
    strength = np.abs(effects).mean(axis=1)
    assert strength[[2, 4]].min() > 3 * strength[[0, 1, 3]].max()


def test_what_was_taken_is_learned():
    trees = fitted()
    right = [int(np.argmax(trees.score(features))) == target for features, target in groups(300, 2)]
    by_chance = np.mean([1 / features.shape[1] for features, _ in groups(300, 2)])
    assert by_chance < 0.1
    assert np.mean(right) > 0.75


def test_all_that_was_taken_of_a_group_is_learned():
    """People take what has the greatest of feature 2, and what has the least."""
    choices = Choices(borders_of(features for features, _ in groups(200, 1)))
    for features, _ in groups(400, 1):
        choices.add(features, [int(np.argmax(features[2])), int(np.argmin(features[2]))])
    trees = boost(choices, BoostingSettings(trees=40, depth=4, learning_rate=0.3))
    asked = [features[:, np.argsort(features[2])] for features, _ in groups(300, 2)]
    scores = [trees.score(np.ascontiguousarray(features)) for features in asked]
    for place in (0, -1):
        assert np.mean([np.sum(score > score[place]) < 3 for score in scores]) > 0.75


def test_of_many_candidates_some_are_looked_at_and_teach_as_much():
    every, some = fitted(), fitted(max_rows=2000)  # of 4,000, the groups looked at are a share of all
    assert not np.array_equal(every.features, some.features)
    right = [int(np.argmax(some.score(features))) == target for features, target in groups(300, 2)]
    assert np.mean(right) > 0.75


def test_candidates_drawn_stand_for_all_of_them():
    """Weighed against their chances, their slopes add up to those of all."""
    random = np.random.default_rng(0)
    slope = (random.random(20_000) ** 4).astype(np.float32)
    curvature, rows = slope * (1 - slope), np.arange(0, 20_000, 2)
    drawn, weighed = np.empty(len(rows), np.uint32), np.empty((len(rows), 2), np.float32)
    steep = steep_of(slope[rows], 3000)
    found = draw_rows(slope, curvature, rows, steep, 0.5, drawn, weighed)
    assert found == pytest.approx(3000, rel=0.05)
    assert set(drawn[:found].tolist()) <= set(rows.tolist())
    assert weighed[:found, 0].sum() == pytest.approx(slope[rows].sum(), rel=0.01)
    assert weighed[:found, 1].sum() == pytest.approx(curvature[rows].sum(), rel=0.02)
    sure = rows[slope[rows] > steep]
    assert set(sure.tolist()) <= set(drawn[:found].tolist())


def plain_gradients(scores, taken, discounts, weight):
    """One group's, pair by pair."""
    likely = np.exp(scores - scores.max())
    share = likely / likely.sum()
    slope = taken.sum() * share - taken
    curvature = taken.sum() * share * (1 - share)
    place = np.empty(len(scores), int)
    place[np.argsort(-scores)] = np.arange(len(scores))
    worth = np.append(discounts, np.zeros(len(scores)))[place]
    for one in np.flatnonzero(taken):
        for other in np.flatnonzero(taken == 0):
            gain = weight * abs(worth[one] - worth[other])
            wrong = 1 / (1 + np.exp(scores[one] - scores[other]))
            slope[one] -= gain * wrong
            slope[other] += gain * wrong
            curvature[[one, other]] += gain * wrong * (1 - wrong)
    return slope, curvature


def test_the_loss_is_that_of_the_choice_and_of_its_place_at_the_top():
    random = np.random.default_rng(0)
    counts, discounts = [1, 2, 7, 40], np.array((1, 0.5, 0.25), np.float32)
    starts = np.concatenate(([0], np.cumsum(counts)))
    scores = random.normal(0, 3, starts[-1]).astype(np.float32)
    taken = np.concatenate([np.arange(count) < max(1, count // 5) for count in counts]).astype(np.uint8)
    slope, curvature = np.full((2, len(scores)), np.nan, np.float32)
    gradients(scores, starts, taken, discounts, 0.3, slope, curvature)
    for start, end in itertools.pairwise(starts):
        expected = plain_gradients(scores[start:end].astype(float), taken[start:end], discounts, 0.3)
        np.testing.assert_allclose(slope[start:end], expected[0], atol=1e-5)
        np.testing.assert_allclose(curvature[start:end], expected[1], atol=1e-5)


def test_threads_share_the_work_and_find_the_same():
    choices = taught(400)
    one, two = (boost(choices, BoostingSettings(trees=10, depth=4), threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.features, two.features)
    np.testing.assert_allclose(one.values, two.values, atol=1e-6)


def test_what_decides_is_what_is_asked():
    uses = fitted().uses(5)
    assert uses.sum() == pytest.approx(1.0)
    assert min(uses[2], uses[4]) > max(uses[0], uses[1], uses[3])


def test_the_same_seed_gives_the_same_trees():
    one, other, another = fitted(seed=1), fitted(seed=1), fitted(seed=2)
    np.testing.assert_array_equal(one.values, other.values)
    assert not np.array_equal(one.values, another.values)


def test_features_that_tell_nothing_give_trees_that_say_nothing():
    features = np.ones((3, 6), np.float32)
    choices = Choices(borders_of([features]))
    for _ in range(60):
        choices.add(features, [2])
    scores = boost(choices, BoostingSettings(trees=3)).score(features)
    assert np.ptp(scores) == 0


def test_the_mean_of_fits_scores_as_they_do_on_average():
    fits = [fitted(trees=n_trees, seed=seed) for seed, n_trees in enumerate((5, 8, 3))]
    features, _ = next(groups(1, 9))
    on_average = np.mean([trees.score(features) for trees in fits], axis=0)
    np.testing.assert_allclose(Trees.mean(fits).score(features), on_average, rtol=1e-4, atol=1e-5)


def test_saved_trees_score_like_loaded(tmp_path):
    trees = fitted(trees=5)
    trees.save(tmp_path / "trees")
    features, _ = next(groups(1, 9))
    np.testing.assert_array_equal(Trees.load(tmp_path / "trees").score(features), trees.score(features))


@pytest.mark.parametrize("n", [0, 1])
def test_few_candidates(n):
    assert len(fitted(trees=2).score(np.zeros((5, n), np.float32))) == n
