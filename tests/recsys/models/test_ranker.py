from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from recsys.counters import AFTER_HALF_LIFE_S, ItemCounters
from recsys.events import Action
from recsys.models.als import Als, AlsSettings
from recsys.models.arrays import Offer
from recsys.models.boosting import BoostingSettings
from recsys.models.bought_together import BoughtTogether
from recsys.models.content import Content
from recsys.models.demand import UNKNOWN, Demand, no_live
from recsys.models.interactions import Interactions
from recsys.models.item_to_item import ItemToItem
from recsys.models.lessons import Lessons, LessonSettings
from recsys.models.opinion_kernel import N_OPINIONS, OPINIONS
from recsys.models.opinions import NewVectors, Opinions
from recsys.models.ranker import Ranker
from recsys.models.signal_arrays import FEATURES
from recsys.models.signal_kernels import _QUOTAS
from recsys.models.signals import Signals, Trail, Traits
from recsys.pipeline.columns import Columns
from tests.recsys.models.toys import random_interactions, rows, sessions

ALS = AlsSettings(factors=4, iterations=2)
SETTINGS = LessonSettings(boosting=BoostingSettings(trees=20))
NOTHING_KNOWN = Traits.unknown(8000)


def lessons(interactions, settings=SETTINGS):
    """Those of the newest tenth of the sessions."""
    n_early = interactions.n_sessions * 9 // 10
    early, _ = interactions.split(float(interactions.at_s[interactions.session_starts[n_early + 1] - 1]))
    return Lessons.replay(Signals.fit(early), opinions(early), interactions, early.n_sessions, settings)


def opinions(interactions, texts=None):
    als = Als.fit(interactions, ALS)
    return Opinions(
        als,
        ItemToItem.fit(interactions, als.item_factors),
        BoughtTogether.fit(interactions),
        Content.fit([""] * interactions.n_items if texts is None else texts),
    )


def nothing_said(rows):
    return np.zeros((N_OPINIONS, len(rows)), np.float32)


def scores(ranker, rows, asked, desk):
    """What the trees give candidates of whom nobody else has said anything; after `gather`."""
    described = ranker.signals.describe(
        rows, asked, desk, no_live(len(rows)), nothing_said(rows), NOTHING_KNOWN
    )
    return ranker.trees.score(described)


def fitted(interactions, settings=SETTINGS):
    return Ranker(Signals.fit(interactions), lessons(interactions, settings).learned())


def trail(found, start=0, kinds=None, at_s=None, now_s=None):
    at_s = np.arange(len(found), dtype=np.int64) * 10 if at_s is None else np.array(at_s, np.int64)
    return Trail(
        rows=np.asarray(found, np.int32),
        kinds=np.zeros(len(found), np.uint8) if kinds is None else np.array(kinds, np.uint8),
        at_s=at_s,
        start=start,
        now_s=float(at_s[-1] if len(at_s) else 0) if now_s is None else now_s,
    )


def described(signals, asked, candidates=None, traits=NOTHING_KNOWN):
    """Candidate row -> feature -> value."""
    desk = signals.desk()
    pool = signals.gather(asked, desk)
    rows = pool if candidates is None else candidates
    features = signals.describe(rows, asked, desk, no_live(len(rows)), nothing_said(rows), traits)
    return {
        row: dict(zip(FEATURES, column, strict=True))
        for row, column in zip(
            pool.tolist() if candidates is None else candidates, features.T.tolist(), strict=True
        )
    }


def circles(n_visitors=300, seed=0):
    """Everybody goes round one of three circles of eight items: a0 a1 ... a7 a0 ..."""
    generator = np.random.default_rng(seed)
    visitors, items, at_ms = [], [], []
    for visitor in range(n_visitors):
        circle, first = generator.integers(3), generator.integers(8)
        for step in range(6):
            visitors.append(f"a:{visitor}")
            items.append(f"{'abc'[circle]}{(first + step) % 8}")
            at_ms.append(visitor * 3_600_000 + step * 1000)
    return Interactions.from_columns(visitors, visitors, items, np.zeros(len(items)), at_ms)


def test_neighbours_vote_for_what_lies_beside_the_last_shared_item():
    interactions = sessions("abcd", "xbyz")
    found = described(Signals.fit(interactions), trail(rows(interactions, "b")))
    a, c, d, y = (found[row] for row in rows(interactions, "acdy").tolist())
    assert a["neighbours_near"] == c["neighbours_near"] == y["neighbours_near"] > d["neighbours_near"]
    assert a["neighbours_ahead"] == 0
    assert c["neighbours_ahead"] == y["neighbours_ahead"] == 2 * d["neighbours_ahead"]
    # The session of y is the newer one.
    assert y["neighbours_recent"] > c["neighbours_recent"]
    assert c["neighbours_next"] > 0 == d["neighbours_next"]


def test_sessions_that_share_two_items_speak_in_a_channel_of_their_own():
    interactions = sessions("abc", "bd")
    found = described(Signals.fit(interactions), trail(rows(interactions, "ab")))
    c, d = (found[row] for row in rows(interactions, "cd").tolist())
    assert c["neighbours_sharing_two"] > 0 == d["neighbours_sharing_two"]


def test_tables_tell_what_follows_and_what_precedes():
    interactions = sessions("abc", "abd", "eb")
    found = described(Signals.fit(interactions), trail(rows(interactions, "b")))
    a, c, e = (found[row] for row in rows(interactions, "ace").tolist())
    assert c["following_last"] == pytest.approx(1 / 3)
    assert a["following_last"] == 0
    assert a["preceding_last"] == pytest.approx(2 / 3)
    assert e["preceding_last"] == pytest.approx(1 / 3)
    assert a["preceding_last_share"] == 1.0


def test_what_the_person_did_is_told():
    interactions = sessions("abcdefg", "gfedcba")
    asked = trail(
        rows(interactions, "abcacd"),
        start=2,
        kinds=[0, 2, 0, 1, 0, 0],
        at_s=[0, 10, 100, 110, 130, 140],
        now_s=150,
    )
    found = described(Signals.fit(interactions), asked)
    a, b, c, d, e = (found[row] for row in rows(interactions, "abcde").tolist())
    assert (d["steps_back"], c["steps_back"], a["steps_back"], b["steps_back"]) == (0, 1, 2, -1)
    assert (c["times_in_session"], c["seconds_back"]) == (2, 20)
    assert (a["past_times"], a["past_seconds_back"], a["past_kind"]) == (1, 150, 0)
    assert (b["past_times"], b["past_kind"], e["past_times"], e["past_kind"]) == (1, 2, 0, -1)
    assert (a["session_items"], a["session_steps"], a["past_items"]) == (3, 4, 1)
    assert (a["seconds_between_last"], a["seconds_since_past"], a["session_seconds"]) == (10, 90, 40)


def test_a_desk_is_clear_for_the_next():
    interactions = random_interactions(3000, 60, 200, 0)
    signals = Signals.fit(interactions)
    asked = [trail(interactions.item[start : start + 5], start=2) for start in range(0, 400, 7)]
    desk = signals.desk()
    for each in asked:
        pool = signals.gather(each, desk)
        features = signals.describe(pool, each, desk, no_live(len(pool)), nothing_said(pool), NOTHING_KNOWN)
        fresh = signals.desk()
        np.testing.assert_array_equal(signals.gather(each, fresh), pool)
        np.testing.assert_array_equal(
            signals.describe(pool, each, fresh, no_live(len(pool)), nothing_said(pool), NOTHING_KNOWN),
            features,
        )
        assert len(set(pool.tolist())) == len(pool)


def test_places_are_for_what_is_on_offer_alone():
    """As brute force over everything that the sources say would have it."""
    interactions = random_interactions(60_000, 2_000, 6_000, 0)
    signals = Signals.fit(interactions)
    offer = Offer((np.arange(2_000) % 40 == 3).astype(np.uint8), 1)
    n_found = 0
    for start in range(0, 600, 50):
        asked = trail(interactions.item[start : start + 6], start=2)
        desk = signals.desk()
        signals.gather(asked, desk)
        sums = desk.arrays.sums[: desk.arrays.facts[0], : len(_QUOTAS)]
        said = sums[:, _QUOTAS > 0].any(axis=1)  # by a source that brings candidates
        everything = desk.arrays.rows[: desk.arrays.facts[0]][said]
        known = everything[offer.of_row[everything] != 0]
        before = signals.describe(known, asked, desk, no_live(len(known)), nothing_said(known), NOTHING_KNOWN)
        pool = signals.gather(asked, desk, offer)
        assert offer.of_row[pool].all()
        assert set(known.tolist()) <= set(pool.tolist())  # so few that no quota cuts them
        after = signals.describe(known, asked, desk, no_live(len(known)), nothing_said(known), NOTHING_KNOWN)
        same = [place for place, name in enumerate(FEATURES) if name != "pool_size"]
        np.testing.assert_array_equal(after[same], before[same])
        n_found += len(known)
    assert n_found > 100


@pytest.mark.parametrize("found", [[], [-1], [-1, 10_000]])
def test_a_trail_that_nobody_knows_gets_what_is_popular(found):
    interactions = random_interactions(3000, 60, 200, 0)
    signals = Signals.fit(interactions)
    desk = signals.desk()
    asked = trail(found)
    pool = signals.gather(asked, desk)
    assert pool.tolist() == signals.arrays.popular.tolist()
    assert np.isfinite(
        signals.describe(pool, asked, desk, no_live(len(pool)), nothing_said(pool), NOTHING_KNOWN)
    ).all()


def test_an_item_newer_than_the_model_is_described_as_unknown():
    interactions = sessions("abc", "abd")
    signals = Signals.fit(interactions)
    newer = np.array([7_000], np.int32)
    found = described(signals, trail(rows(interactions, "a")), newer, Traits.unknown(7_001))[7_000]
    assert found["popularity"] == found["neighbours_near"] == found["cosine_last"] == 0
    assert found["steps_back"] == -1


def test_the_ranker_learns_the_order_of_the_circles():
    interactions = circles()
    ranker = fitted(interactions)
    desk, right = ranker.desk(), 0
    for circle in "abc":
        for place in range(8):
            seen = [f"{circle}{(place + step) % 8}" for step in range(3)]
            asked = trail([interactions.item_ids.index(item) for item in seen])
            pool = ranker.gather(asked, desk)
            best = int(pool[np.argmax(scores(ranker, pool, asked, desk))])
            right += interactions.item_ids[best] == f"{circle}{(place + 3) % 8}"
    assert right >= 22  # of 24


def test_what_only_the_later_hours_tell_is_told_apart_as_well():
    """Three clicks a session, the second farther from the first from session to session."""
    n_sessions, n_early = 1500, 300
    seconds = [start * 5000 + offset for start in range(n_sessions) for offset in (0, start, start + 1)]
    names = [f"s{number // 3}" for number in range(3 * n_sessions)]
    items = [f"i{number % 7}" for number in range(3 * n_sessions)]
    clicks = Interactions.from_columns(
        names, names, items, [0] * len(items), [second * 1000 for second in seconds]
    )
    early, _ = clicks.split(n_early * 5000.0)
    settings = LessonSettings(max_prefixes=2 * n_sessions)
    found = Lessons.replay(Signals.fit(early), opinions(early), clicks, early.n_sessions, settings)
    borders = found.choices.borders[FEATURES.index("session_seconds")]
    assert borders[np.isfinite(borders)].max() > n_sessions - 100


def test_too_little_to_learn_from_is_no_ranker():
    assert lessons(sessions("abc", "abd")) is None
    assert lessons(circles()).learned(until_s=0.0) is None


def test_saved_is_loaded(tmp_path):
    ranker = fitted(circles())
    ranker.save(tmp_path / "ranker")
    loaded = Ranker.load(tmp_path / "ranker")
    asked = trail([0, 1, 2])
    for one, other in ((ranker, loaded), (loaded, ranker)):
        desk, other_desk = one.desk(), other.desk()
        pool = one.gather(asked, desk)
        np.testing.assert_array_equal(pool, other.gather(asked, other_desk))
        np.testing.assert_array_equal(scores(one, pool, asked, desk), scores(other, pool, asked, other_desk))
    assert loaded.weights() == ranker.weights()
    assert sum(loaded.weights().values()) == pytest.approx(1.0, abs=0.01)


def test_threads_with_desks_of_their_own_decide_alike():
    interactions = random_interactions(3000, 60, 200, 0)
    signals = Signals.fit(interactions)
    asked = [trail(interactions.item[start : start + 4]) for start in range(0, 600, 3)]
    found = [[], []]

    def work(mine):
        desk = signals.desk()
        for each in asked:
            mine.append(signals.gather(each, desk).tolist())

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]


def test_fitting_twice_gives_the_same():
    interactions = circles()
    one, other = (fitted(interactions, msgspec.structs.replace(SETTINGS, seed=3)) for _ in range(2))
    np.testing.assert_array_equal(one.trees.values, other.trees.values)


def test_demand_is_that_of_the_counters():
    """What the ranker learns from is what it is told when it serves."""
    interactions = random_interactions(400, 9, 30, 3)
    order = np.argsort(interactions.at_s, kind="stable")
    now_s = float(interactions.at_s[order[300]])
    demand = Demand(interactions)
    for at_s in (now_s / 2, now_s):
        demand.go_to(at_s)
    counters = [ItemCounters() for _ in range(interactions.n_items)]
    actions = (Action.VIEW, Action.CART_ADD, Action.ORDER, Action.READ)
    looked: dict[int, int] = {}
    for one in order[interactions.at_s[order] < now_s]:
        row, session, at_s = interactions.item[one], interactions.session[one], int(interactions.at_s[one])
        action = actions[interactions.kind[one]]
        counters[row] = counters[row].counted([(action, 1.0, at_s)])
        if action in (Action.VIEW, Action.READ):
            if session in looked and looked[session] != row:
                counters[looked[session]] = counters[looked[session]].followed_by(str(row), at_s)
            looked[session] = row
    columns = Columns.of_bundle(None, len(counters), int(now_s))
    heat = np.array([columns.heats_of(one) for one in counters]).T
    at_hand = next(row for row, one in enumerate(counters) if len(one.after) > 1)
    live = demand.of(np.arange(len(counters), dtype=np.int32), at_hand, now_s)
    np.testing.assert_allclose(
        live[[0, 1, 4]], np.maximum(heat - heat.max(axis=1, keepdims=True), UNKNOWN), atol=0.01
    )
    expected = np.full((2, len(counters)), UNKNOWN)
    for after in counters[at_hand].after:
        expected[0, int(after.item)] = after.heat - now_s / AFTER_HALF_LIFE_S
        expected[1, int(after.item)] = after.heat - counters[at_hand].after[0].heat
    np.testing.assert_allclose(live[2:4], np.maximum(expected, UNKNOWN), atol=0.01)
    assert demand.surging(1).tolist() == [int(np.argmax(heat[1]))]


def test_other_models_say_what_they_think_of_candidates():
    """Each opinion beside the model's own answer, worked out in plain numpy."""
    interactions = random_interactions(3000, 60, 200, 0)
    texts = [f"word{row % 7} word{row % 5}" for row in range(interactions.n_items)]
    als = Als.fit(interactions, ALS)
    alike, bought = ItemToItem.fit(interactions, als.item_factors), BoughtTogether.fit(interactions)
    content = Content.fit(texts)
    asked = trail([3, 9, 4, 7, 7], start=1)
    candidates, taste = np.arange(interactions.n_items, dtype=np.int32), als.item_factors[5]
    told = Opinions(als, alike, bought, content)
    scratch = told.scratch()
    said = told.of(candidates, asked, taste, scratch)
    np.testing.assert_array_equal(told.of(candidates, asked, taste, scratch), said)  # nothing is left over
    said = dict(zip(OPINIONS, said, strict=True))
    np.testing.assert_allclose(said["taste"], als.item_factors @ taste, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(said["content_last"], content.vectors @ content.vectors[7], atol=1e-5)
    seeds = {7: 1.0, 4: 0.5, 9: 0.25}
    for name, table in (("alike", alike.table), ("bought", bought.table)):
        dense = table.to_sparse().toarray()
        np.testing.assert_allclose(said[f"{name}_last"], dense[7], rtol=1e-5)
        around = sum(weight * dense[row] for row, weight in seeds.items())
        np.testing.assert_allclose(said[f"{name}_session"], around, rtol=1e-4, atol=1e-6)


def test_an_item_newer_than_the_models_is_known_by_its_text():
    interactions = sessions("abc", "abd", "bcd")
    told = opinions(interactions, texts=["red shoe", "red boot", "blue hat", "blue cap"])
    like_b = Content.fit(["red shoe", "red boot", "blue hat", "blue cap"]).embed("red boot")
    asked = trail(rows(interactions, "ab"))
    new = np.array([900, 901], np.int32)
    known = NewVectors(np.array([900, 901, 7], np.int32), np.array([like_b, -like_b, like_b]), filled=1)
    said = told.of(new, asked, None, told.scratch(), known)
    said = dict(zip(OPINIONS, said.T[0], strict=True)), dict(zip(OPINIONS, said.T[1], strict=True))
    assert said[0]["content_last"] == pytest.approx(1.0, abs=1e-5)
    assert said[0]["content_session"] > said[0]["content_last"]
    assert said[0]["taste"] == said[0]["alike_last"] == said[1]["content_last"] == 0


def test_nobody_with_no_session_gets_no_opinion():
    interactions = sessions("abc", "abd")
    told = opinions(interactions)
    said = told.of(rows(interactions, "abc"), trail([]), None, told.scratch())
    assert not said.any()
