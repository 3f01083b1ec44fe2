"""The ranker of people known by what they have: what it is asked about, what it learns, what it says."""

import shutil

import msgspec
import numpy as np
import pytest

from recsys.models.als import Als, AlsSettings
from recsys.models.boosting import BoostingSettings
from recsys.models.interactions import Interactions
from recsys.models.kindred import Kindred, KindredSettings
from recsys.models.kindred_ranker import KindredRanker, KindredRankerSettings
from recsys.models.kindred_replay import hidden, later, sampled
from recsys.models.kindred_signals import FEATURES, KindredSignals, Sources
from recsys.models.signals import Trail

DAY_S = 86_400
ALS = AlsSettings(factors=8, iterations=3)
SMALL = KindredRankerSettings(k_kindred=30, boosting=BoostingSettings(trees=20, depth=3, learning_rate=0.3))


def baskets(*rows):
    """(person, day, items): all of a basket has one time."""
    flat = [(person, item, day) for person, day, items in rows for item in items]
    persons, items, days = zip(*flat, strict=True)
    return Interactions.from_columns(
        persons, persons, items, np.full(len(flat), 2), [day * DAY_S * 1000 for day in days]
    )


def tribes(n_persons=300, days=(0,), seed=0):
    """Two tribes of people, each with items of their own, of which everybody has some."""
    random = np.random.default_rng(seed)
    rows = []
    for person in range(n_persons):
        names = [f"{'ab'[person % 2]}{number}" for number in random.permutation(12)]
        share = len(names) // (len(days) + 1)
        for place, day in enumerate(days):
            rows.append((f"p{person}", day, names[place * share : (place + 1) * share]))
    return baskets(*rows)


def names_of(interactions, rows):
    return {interactions.item_ids[row] for row in rows.tolist()}


def test_baskets_tell_no_order_and_clicks_do():
    assert not baskets(("p", 1, "abc"), ("p", 9, "de")).tells_order
    clicks = Interactions.from_columns(["p"] * 3, ["p"] * 3, list("abc"), [0, 0, 0], [1000, 2000, 3000])
    assert clicks.tells_order
    assert not baskets(("p", 1, "a")).tells_order


def test_the_first_basket_behind_the_cut_is_asked_for_without_what_was_had_before():
    shop = baskets(
        ("p", 0, "ab"), ("p", 85, "bc"), ("p", 90, "d"), ("q", 82, "e"), ("r", 10, "a"), ("r", 99, "f"),
        ("s", 100, "a"),
    )  # fmt: skip
    replayed = later(shop, cut=0.2, window=0.1)
    assert names_of(shop, replayed.known.item) == {"a", "b"}
    (trail, wanted), *others = replayed.trails(np.arange(len(replayed.persons)))
    assert not others, "q and s had nothing before, r came after the window"
    assert names_of(shop, trail.rows) == {"a", "b"}
    assert trail.now_s == 80 * DAY_S
    assert names_of(shop, wanted) == {"c"}


def test_a_share_of_what_each_has_is_hidden_by_the_seed():
    shop = baskets(("p", 0, "abcdefghij"), ("q", 0, "abcde"), ("r", 0, "a"))
    replayed = hidden(shop, share=0.2, seed=3)
    counts = {
        shop.person_ids[person]: count
        for person, count in zip(replayed.persons, np.diff(replayed.starts), strict=True)
    }
    assert counts == {"p": 2, "q": 1}
    assert len(replayed.known) == len(shop) - 3
    for trail, wanted in replayed.trails(np.arange(2)):
        assert not names_of(shop, trail.rows) & names_of(shop, wanted)
    again = hidden(shop, share=0.2, seed=3)
    assert again.wanted.tolist() == replayed.wanted.tolist()
    others = [hidden(shop, share=0.2, seed=seed).wanted.tolist() for seed in range(5)]
    assert any(other != replayed.wanted.tolist() for other in others)


def test_a_sample_has_all_that_its_people_did():
    shop = tribes()
    some = sampled(shop, 200, seed=1)
    assert 200 <= len(some) <= 206
    for person in np.unique(some.person):
        assert np.count_nonzero(some.person == person) == np.count_nonzero(shop.person == person)
    assert sampled(shop, len(shop), seed=1) is shop


@pytest.mark.parametrize("days", [(0,), (0, 50, 100)], ids=["without times", "by time"])
def test_it_learns_whose_tribe_somebody_is_of(days):
    shop = tribes(n_persons=700, days=days)
    ranker = KindredRanker.fit(shop, ALS, SMALL)
    assert ranker is not None
    sources = Sources(Kindred.fit(shop), Als.fit(shop, ALS))
    scratch = sources.scratch()
    history = np.array([shop.item_ids.index(name) for name in ("a1", "a2")], np.int32)
    trail = Trail(history, np.full(2, 2, np.uint8), np.full(2, days[-1] * DAY_S), 2, days[-1] * DAY_S)
    rows, scores = ranker.gather(sources, trail, scratch)
    assert set(rows.tolist()).isdisjoint(history.tolist())
    assert len(rows) == len(np.unique(rows))
    assert (scores > 0).all()
    totals = ranker.score(sources, rows, trail, scratch)
    KindredSignals.clear(scratch)
    best = rows[np.argsort(-totals, kind="stable")[:10]]
    assert {name[0] for name in names_of(shop, best)} == {"a"}


def test_what_somebody_has_comes_behind_what_would_be_new_to_them():
    shop = tribes()
    ranker = KindredRanker.fit(shop, ALS, SMALL)
    sources = Sources(Kindred.fit(shop), Als.fit(shop, ALS))
    scratch = sources.scratch()
    history = np.array([0, 1], np.int32)
    trail = Trail(history, np.full(2, 2, np.uint8), np.zeros(2, np.int64), 2, 0.0)
    ranker.gather(sources, trail, scratch)
    unknown = shop.n_items + 5
    rows = np.array([0, 1, 2, 3, unknown], np.int32)
    totals = ranker.score(sources, rows, trail, scratch)
    KindredSignals.clear(scratch)
    assert np.isfinite(totals).all()
    assert totals[:2].max() < totals[2:].min()


def test_the_newest_of_a_history_counts_most_where_times_differ():
    shop = tribes(days=(0, 100))
    signals, sources = KindredSignals.fit(shop), Sources(Kindred.fit(shop), Als.fit(shop, ALS))
    scratch = sources.scratch()
    a, b = (shop.item_ids.index(name) for name in ("a1", "b1"))
    rows = np.array([shop.item_ids.index(name) for name in ("a2", "b2")], np.int32)
    kinds, history = np.full(2, 2, np.uint8), np.array([a, b], np.int32)

    def faded(at_s):
        trail = Trail(history, kinds, np.array(at_s, np.int64), 2, float(at_s[-1]))
        signals.gather(sources, trail, 20, scratch)
        described = signals.describe(sources, rows, trail, scratch)
        KindredSignals.clear(scratch)
        return dict(zip(FEATURES, described.tolist(), strict=True))

    apart, together = faded([0, 100 * DAY_S]), faded([100 * DAY_S, 100 * DAY_S])
    assert apart["faded_walks"][1] > 10 * apart["faded_walks"][0]
    assert together["faded_walks"] == together["walks"]
    assert apart["walks"] == together["walks"]


def test_it_says_what_several_fits_say_on_average():
    shop = tribes()

    def fitted(fits, seed):
        boosting = msgspec.structs.replace(SMALL.boosting, seed=seed)
        return KindredRanker.fit(shop, ALS, msgspec.structs.replace(SMALL, boosting=boosting, fits=fits))

    together, one, other = fitted(2, 5), fitted(1, 5), fitted(1, 6)
    features = np.random.default_rng(1).normal(size=(len(FEATURES), 50)).astype(np.float32)
    on_average = (one.trees.score(features) + other.trees.score(features)) / 2
    np.testing.assert_allclose(together.trees.score(features), on_average, rtol=1e-4, atol=1e-5)
    assert not np.allclose(one.trees.score(features), other.trees.score(features))


def test_saved_it_says_the_same(tmp_path):
    shop = tribes()
    ranker = KindredRanker.fit(shop, ALS, SMALL)
    ranker.save(tmp_path / "ranker")
    loaded = KindredRanker.load(tmp_path / "ranker")
    sources = Sources(Kindred.fit(shop), Als.fit(shop, ALS))
    trail = Trail(np.array([3], np.int32), np.array([2], np.uint8), np.zeros(1, np.int64), 1, 0.0)
    answers = []
    for one in (ranker, loaded):
        scratch = sources.scratch()
        rows, _ = one.gather(sources, trail, scratch)
        answers.append((rows.tolist(), one.score(sources, rows, trail, scratch).tolist()))
    assert answers[0] == answers[1]
    assert loaded.weights() == ranker.weights()
    assert sum(loaded.weights().values()) == pytest.approx(1.0, abs=0.01)


def test_one_of_a_bundle_of_format_5_hears_nothing_and_is_read(tmp_path):
    shop = tribes()
    KindredRanker.fit(shop, ALS, SMALL).save(tmp_path / "ranker")
    shutil.rmtree(tmp_path / "ranker" / "signals" / "spectrum")
    signals = KindredRanker.load(tmp_path / "ranker").signals
    assert signals.columns.any()
    assert not signals.spectrum.hear(np.arange(3, dtype=np.int32), np.zeros(1, np.int32)).any()


def test_too_little_teaches_nothing():
    assert KindredRanker.fit(baskets(("p", 0, "abc"), ("q", 0, "abd")), ALS, SMALL) is None


def test_only_the_newest_people_are_remembered():
    shop = baskets(("p", 0, "abcd"), ("q", 5, "abc"), ("r", 9, "cde"))
    assert Kindred.fit(shop, KindredSettings(max_interactions=6)).n_people == 2
    assert Kindred.fit(shop, KindredSettings(max_interactions=5)).n_people == 1
