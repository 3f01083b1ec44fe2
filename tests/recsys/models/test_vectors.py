from __future__ import annotations

import faiss
import msgspec
import numpy as np
import pytest

from recsys.models.vectors import IndexSettings, VectorIndex, unit_length


def clusters(n, dimensions, seed):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, dimensions))
    length = generator.gamma(1.0, size=(n, 1))
    spread = 0.3 * generator.normal(size=(n, dimensions))
    return (length * (centres[generator.integers(0, 20, n)] + spread)).astype(np.float32)


def test_few_vectors_are_searched_exactly():
    vectors = clusters(300, 8, seed=1)
    index = VectorIndex.build(vectors)
    rows, scores = index.nearest(vectors[7], 10)
    expected = vectors @ vectors[7]
    np.testing.assert_array_equal(rows, np.argsort(-expected)[:10])
    np.testing.assert_allclose(scores, np.sort(expected)[::-1][:10], rtol=1e-5)
    assert index.recall == 1.0


def test_many_vectors_are_searched_with_the_recall_wanted():
    vectors = clusters(3000, 8, seed=2)
    settings = IndexSettings(exact_up_to=1000, wanted_recall=0.9, most_probed=1.0)
    index = VectorIndex.build(vectors, settings=settings)
    asked = clusters(100, 8, seed=3)
    found, _ = index.nearest_many(asked, 50)
    exact = np.argsort(-(asked @ vectors.T), axis=1)[:, :50]
    recall = np.mean([np.isin(one, other).mean() for one, other in zip(exact, found, strict=True)])
    assert index.recall >= 0.9
    assert recall >= 0.85


def test_vectors_without_clusters_are_searched_exactly():
    vectors = unit_length(np.random.default_rng(8).normal(size=(2000, 32)).astype(np.float32))
    index = VectorIndex.build(vectors, settings=IndexSettings(exact_up_to=1000))
    assert index.recall == 1.0
    np.testing.assert_array_equal(index.nearest(vectors[0], 9)[0], np.argsort(-(vectors @ vectors[0]))[:9])


def test_very_many_vectors_are_never_all_compared_whatever_the_recall():
    vectors = unit_length(np.random.default_rng(8).normal(size=(2000, 32)).astype(np.float32))
    settings = IndexSettings(exact_up_to=1000, exact_at_most=1500, most_scanned=100)
    index = VectorIndex.build(vectors, settings=settings)
    assert index.recall < settings.least_recall
    assert index.probes * len(vectors) / round(4 * len(vectors) ** 0.5) == pytest.approx(100, rel=0.1)
    assert index.nearest(vectors[0], 5)[0][0] == 0


@pytest.mark.parametrize("exact_up_to", [0, 1000])
def test_many_equals_each(exact_up_to):
    vectors = clusters(600, 4, seed=4)
    index = VectorIndex.build(vectors, settings=IndexSettings(exact_up_to=exact_up_to))
    rows, scores = index.nearest_many(vectors[:20], 5)
    for number in range(20):
        one_rows, one_scores = index.nearest(vectors[number], 5)
        np.testing.assert_array_equal(rows[number], one_rows)
        np.testing.assert_allclose(scores[number], one_scores, rtol=1e-5)


@pytest.mark.parametrize("exact_up_to", [0, 1000])
def test_a_bitmap_narrows_the_search_itself(exact_up_to):
    vectors = clusters(600, 4, seed=5)
    index = VectorIndex.build(
        vectors, settings=IndexSettings(exact_up_to=exact_up_to, wanted_recall=1.0, most_probed=1.0)
    )
    mask = np.random.default_rng(6).random(600) < 0.1
    rows, _ = index.nearest(vectors[0], 20, np.packbits(mask, bitorder="little"))
    assert len(rows) == 20
    assert mask[rows].all()


def test_asking_for_more_than_there_is():
    vectors = clusters(3, 4, seed=7)
    assert sorted(VectorIndex.build(vectors).nearest(vectors[0], 10)[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_rows_of_nothing_are_neither_read_nor_found(exact_up_to):
    known = np.random.default_rng(3).permutation(4000)[:1000]
    vectors = np.zeros((4000, 8), np.float32)
    vectors[known] = clusters(1000, 8, seed=2)
    settings = IndexSettings(exact_up_to=exact_up_to, most_probed=1.0)
    index = VectorIndex.build(vectors, settings=settings)
    assert len(index) == 1000
    assert index.room <= 1000
    assert (index.probes > 1) == (exact_up_to == 0)
    rows, scores = index.nearest(vectors[known[0]], 1000)
    assert np.isin(rows, known).all()
    np.testing.assert_allclose(scores, vectors[rows] @ vectors[known[0]], rtol=1e-4, atol=1e-5)
    assert len(VectorIndex.build(np.zeros((20, 8), np.float32)).nearest(vectors[known[0]], 5)[0]) == 0


def test_zero_rows_stay_zero():
    lengths = np.linalg.norm(unit_length(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)), axis=1)
    np.testing.assert_allclose(lengths, [1.0, 0.0])


@pytest.mark.parametrize("exact_up_to", [0, 1000])
def test_an_index_of_format_1_is_read(tmp_path, exact_up_to):
    """What FAISS wrote then: a flat index, or inverted lists with the number of probes beside them."""
    vectors = clusters(600, 8, seed=9)
    settings = IndexSettings(exact_up_to=exact_up_to)
    lists = exact_up_to == 0
    written = faiss.index_factory(8, "IVF98,Flat" if lists else "Flat", faiss.METRIC_INNER_PRODUCT)
    written.train(vectors)
    written.add(vectors)
    faiss.write_index(written, str(tmp_path / "index.faiss"))
    facts = {"settings": msgspec.to_builtins(settings), "probes": 12 if lists else 0, "recall": 0.9}
    (tmp_path / "settings.json").write_bytes(msgspec.json.encode(facts))
    if lists:
        written.nprobe = 12
    index = VectorIndex.load(tmp_path)
    scores, rows = written.search(vectors[:30], 20)
    for number in range(30):
        found, found_scores = index.nearest(vectors[number], 20)
        np.testing.assert_array_equal(found, rows[number])
        np.testing.assert_allclose(found_scores, scores[number], rtol=1e-4)


def test_saved_lists_are_loaded(tmp_path):
    vectors = clusters(800, 8, seed=10)
    index = VectorIndex.build(vectors, settings=IndexSettings(exact_up_to=0))
    index.save(tmp_path)
    loaded = VectorIndex.load(tmp_path)
    assert (loaded.recall, loaded.probes) == (index.recall, index.probes)
    np.testing.assert_array_equal(loaded.nearest_many(vectors, 9)[0], index.nearest_many(vectors, 9)[0])


def test_threads_change_nothing():
    vectors = clusters(300, 8, seed=11)
    index = VectorIndex.build(vectors)
    one, many = index.nearest_many(vectors, 7), index.nearest_many(vectors, 7, threads=3)
    np.testing.assert_array_equal(one[0], many[0])


@pytest.mark.parametrize("n", [1, 5, 40, 161, 900])
@pytest.mark.parametrize("k", [1, 20, 40, 200])
@pytest.mark.parametrize("values", [2, 10, 10**6])
def test_the_best_are_the_best_and_equals_go_by_row(n, k, values):
    generator = np.random.default_rng(n * k + values)
    of_row = generator.integers(1, values + 1, n).astype(np.float32)
    vectors = of_row[:, None]
    rows, scores = VectorIndex.build(vectors).nearest(np.ones(1, np.float32), k)
    expected = np.lexsort((np.arange(n), -of_row))[:k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, of_row[expected])
