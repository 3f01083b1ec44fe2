"""Accounts in a sentence: what a merchandiser reads."""

from __future__ import annotations

import pytest

from recsys.block import Reason
from recsys.models.kindred_signals import FEATURES as KINDRED_FEATURES
from recsys.models.signal_arrays import FEATURES
from recsys.pipeline.account import SHOWN, Account, Effect, Share
from recsys.pipeline.feature_words import about
from recsys.pipeline.sentences import sentence
from recsys.placement import DEFAULT_PLACEMENTS

FEED = DEFAULT_PLACEMENTS["home.feed"]


def test_features_are_told_in_words_and_those_about_the_same_are_added_up() -> None:
    effects = (
        Effect("taste", 0.4, 0.5),
        Effect("neighbours_alike_share", 0.2, 0.4),
        Effect("neighbours_alike", 6.0, 0.3),
        Effect("seconds_back", 1e8, -0.1),
    )
    told = sentence(Account("p", SHOWN, place=1, effects=effects), FEED)
    assert told == (
        "Place 1; moved most by what sessions like this went on to +0.70, their taste +0.50,"
        " whether and when they dealt with it -0.10."
    )


def test_a_source_that_says_next_to_nothing_is_not_named() -> None:
    shares = (
        Share("cart", 0.996, Reason("cart", "in your cart")),
        Share("neighbours", 0.004, Reason("neighbours", "others went on to this")),
    )
    assert sentence(Account("p", SHOWN, place=1, shares=shares), FEED) == "Place 1; named by cart 100%."


@pytest.mark.parametrize("feature", [*FEATURES, *KINDRED_FEATURES])
def test_every_feature_has_words(feature: str) -> None:
    assert about(feature) != feature.replace("_", " ")
