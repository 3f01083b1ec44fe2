"""The ranker's signals in groups, and the ranker without one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from recsys.models.bundle import Models
from recsys.models.ranker import Ranker
from recsys.models.signal_arrays import AFFINITIES, CHANNELS, COLUMNS, FEATURES
from recsys.models.trees import Trees


def _of_channels(*prefixes: str) -> tuple[str, ...]:
    channels = [channel for channel in CHANNELS if channel.startswith(prefixes)]
    return (*channels, *(f"{channel}_share" for channel in channels))


GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "neighbours": (*_of_channels("neighbours"), "sessions_found", "neighbours_near_best"),
    "transitions": (
        *_of_channels("following", "preceding", "around", "next"), "following_last_best",
    ),
    "item vectors": (*_of_channels("cosine"), "cosine_last", "cosine_session", "cosine_earlier"),
    "next vectors": ("pointed_session", "pointed_last"),
    "item's past": (*COLUMNS, "last_popularity", "last_repeat"),
    "own session": ("steps_back", "times_in_session", "seconds_back"),
    "earlier sessions": (
        "past_times", "past_seconds_back", "past_kind", "past_items", "seconds_since_past",
    ),
    "visit": (
        "session_items", "session_steps", "session_seconds", "seconds_between_last", "last_kind", "pool_size",
    ),
    "live": ("demand", "surge", "slow_surge", "after_last", "after_last_share"),
    "als": ("taste",),
    "content": ("content_last", "content_session"),
    "item_to_item": ("alike_last", "alike_session"),
    "bought_together": ("bought_last", "bought_session"),
    "category, brand and price": AFFINITIES[: AFFINITIES.index("orders")],
    "person": AFFINITIES[AFFINITIES.index("orders") :],
}  # fmt: skip
"""Which of `signal_arrays.FEATURES` say the same kind of thing; each is in one group."""


def deaf_to(models: Models, group: str) -> Models:
    """The models with trees for which the features of a group are as low as can be: nothing is said, never
    seen, no demand. Candidates and leaves stay as they are; nothing is fitted again."""
    assert models.ranker is not None
    trees = models.ranker.trees
    silent = np.isin(trees.features, [FEATURES.index(name) for name in GROUPS[group]])
    thresholds = np.where(silent, np.float32(np.inf), trees.thresholds)
    return replace(
        models, ranker=Ranker(models.ranker.signals, Trees(trees.features, thresholds, trees.values))
    )
