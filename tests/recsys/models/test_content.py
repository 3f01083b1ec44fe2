from __future__ import annotations

import shutil

import numpy as np
import pytest

from recsys.models.arrays import Offer
from recsys.models.content import Content, ContentSettings, item_text
from recsys.models.scratch import Scratch
from tests.recsys.models.toys import blended

SHOP = [
    item_text("Ultralight tent", "A tent for two people, with pegs.", "Camping", "Alp"),
    item_text("Family tent", "A large tent for five people.", "Camping", "Alp"),
    item_text("Espresso beans", "Dark roasted coffee beans from Brazil.", "Coffee", "Bean & Co"),
    item_text("Filter coffee", "Light roasted coffee.", "Coffee", "Bean & Co"),
    item_text("How to pitch a tent in the wind", "Pegs first, then the tent."),
    item_text("Brewing filter coffee", "Grind the beans, pour slowly."),
    "",
]


def test_products_and_articles_of_one_topic_are_near():
    model = Content.fit(SHOP, ContentSettings(max_dimensions=4))
    for row, topic in enumerate([{0, 1, 4}, {0, 1, 4}, {2, 3, 5}, {2, 3, 5}, {0, 1, 4}, {2, 3, 5}]):
        similar, scores = model.similar(row, 2)
        assert set(similar.tolist()) == topic - {row}
        assert (np.diff(scores) <= 0).all()


def test_a_text_embeds_as_in_training():
    model = Content.fit(SHOP)
    for row, text in enumerate(SHOP):
        np.testing.assert_allclose(model.embed(text), model.vectors[row], atol=1e-5)
    lengths = np.linalg.norm(model.vectors, axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 1, 1, 0], atol=1e-5)
    assert model.vectors.dtype == np.float32


def test_a_new_item_is_placed_by_its_text():
    model = Content.fit(SHOP)
    rows, _ = model.nearest(model.embed("Winter tent, for people who camp in snow"), 3)
    assert set(rows.tolist()) == {0, 1, 4}


def test_a_text_without_a_known_word_is_near_nothing():
    model = Content.fit(SHOP)
    assert not model.embed("zzz 日本").any()
    assert len(model.nearest(model.embed(""), 3)[0]) == 0
    assert len(model.similar(6, 3)[0]) == 0
    assert len(model.similar(99, 3)[0]) == 0


def test_letters_of_every_script_are_words():
    model = Content.fit(["Кофе из Бразилии", "Кофе из Кении", "палатка для двоих"])
    assert model.similar(0, 1)[0].tolist() == [1]


PRODUCT, ARTICLE = 1, 2
TYPES = np.array([PRODUCT] * 4 + [ARTICLE] * 2 + [PRODUCT], np.uint8)


def like(model, seeds, weights, types, k=9):
    scratch = Scratch(len(model.vectors))
    offer = Offer(np.full(len(model.vectors), types, np.uint8), types)
    tables = [table for one, table in model.neighbours.items() if one & types]
    found = [blended(table, seeds, weights, k, scratch, offer) for table in tables]
    return tuple(np.concatenate([one[part] for one in found] or [np.empty(0)]) for part in range(2))


def test_neighbours_are_kept_for_each_type():
    model = Content.fit(SHOP, ContentSettings(max_dimensions=4, k_neighbours=1), types=TYPES)
    assert like(model, [0], [1], PRODUCT)[0].tolist() == [1]
    assert like(model, [0], [1], ARTICLE)[0].tolist() == [4]
    assert sorted(like(model, [0], [1], PRODUCT | ARTICLE)[0].tolist()) == [1, 4]
    assert like(model, [5], [1], PRODUCT)[0].tolist()[0] in {2, 3}


def test_a_table_answers_like_a_search_and_sums_over_the_seeds():
    model = Content.fit(SHOP, types=TYPES)
    rows, scores = model.similar(0, 9)
    found, likeness = like(model, [0], [1], PRODUCT)
    products = TYPES[rows] == PRODUCT
    np.testing.assert_array_equal(found, rows[products])
    np.testing.assert_allclose(likeness, scores[products], atol=1e-5)
    found, likeness = like(model, [4, 5], [1.0, 0.5], PRODUCT)
    expected = np.maximum(model.vectors @ model.vectors[[4, 5]].T, 0) @ [1.0, 0.5]
    np.testing.assert_allclose(likeness, expected[found], atol=1e-5)


def test_without_types_all_items_are_of_one():
    model = Content.fit(SHOP)
    assert 4 in like(model, [0], [1], 1)[0]
    assert len(like(model, [0], [1], ARTICLE)[0]) == 0


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["tent"], ["tent", "tent"], ["tent", ""], ["a b c"]])
def test_tiny_catalogues(texts, tmp_path):
    model = Content.fit(texts)
    model.save(tmp_path)
    loaded = Content.load(tmp_path)
    assert len(loaded.vectors) == len(texts)
    assert np.isfinite(loaded.vectors).all()
    assert len(loaded.similar(0, 5)[0]) == (1 if texts == ["tent", "tent"] else 0)
    np.testing.assert_array_equal(loaded.embed("tent"), model.embed("tent"))


def test_at_most_so_many_dimensions_and_terms():
    texts = [f"word{n} word{n + 1} word{n + 2}" for n in range(50)]
    model = Content.fit(texts, ContentSettings(max_dimensions=5, max_terms=20))
    assert model.vectors.shape == (50, 5)
    assert model.components.shape == (20, 5)


def test_the_same_texts_give_the_same_bytes():
    one, other = Content.fit(SHOP), Content.fit(SHOP)
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_saved_is_loaded(tmp_path):
    model = Content.fit(SHOP, types=TYPES)
    model.save(tmp_path)
    loaded = Content.load(tmp_path)
    np.testing.assert_array_equal(loaded.embed("coffee and tent"), model.embed("coffee and tent"))
    np.testing.assert_array_equal(loaded.similar(0, 5)[0], model.similar(0, 5)[0])
    for types in (PRODUCT, ARTICLE):
        np.testing.assert_array_equal(like(loaded, [0, 5], [1, 1], types), like(model, [0, 5], [1, 1], types))
        assert len(like(loaded, [0, 5], [1, 1], types)[0])
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]


def test_a_model_saved_before_there_were_tables_has_none(tmp_path):
    Content.fit(SHOP).save(tmp_path)
    shutil.rmtree(tmp_path / "neighbours")
    loaded = Content.load(tmp_path)
    assert not loaded.neighbours
    assert len(loaded.similar(0, 2)[0]) == 2
