from __future__ import annotations

import numpy as np

from recsys.models.words import Words, words_of


def test_words_are_of_two_letters_and_in_lower_case():
    assert words_of("A Tent, for 2 or 12 people", 100) == ["tent", "for", "or", "12", "people"]
    assert words_of("one two three", 2) == ["one", "two"]


def test_a_text_is_read_as_in_the_fit():
    texts = ["tent tent peg", "tent coffee", "coffee beans"]
    matrix, words = Words.fit(texts, max_terms=100, max_words=100)
    for row, text in enumerate(texts):
        columns, weights = words.read(text)
        of_fit = matrix[row].toarray()[0]
        np.testing.assert_allclose(of_fit[columns], weights / np.linalg.norm(weights), rtol=1e-5)
        assert np.count_nonzero(of_fit) == len(columns)


def test_the_rarer_words_are_left_out_first():
    _, words = Words.fit(["tent tent", "tent peg", "tent peg rope"], max_terms=2, max_words=100)
    assert set(words.vocabulary) == {"tent", "peg"}
    assert not len(words.read("rope")[0])


def test_saved_is_loaded(tmp_path):
    _, words = Words.fit(["tent peg", "coffee"], max_terms=100, max_words=2)
    words.save(tmp_path)
    loaded = Words.load(tmp_path, 2)
    assert loaded.vocabulary == words.vocabulary
    for one, other in zip(loaded.read("peg tent coffee"), words.read("peg tent coffee"), strict=True):
        np.testing.assert_array_equal(one, other)
