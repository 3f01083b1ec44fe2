"""What comes next: sequential rules between the items of a session.

With `max_gap=1` this is a first-order Markov chain, the baseline of the evaluation. (Ludewig and
Jannach, "Evaluation of session-based recommendation algorithms", 2018: MC and SR.)
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from recsys.models.arrays import NOTHING, Ranked, Rows, load_settings, save_arrays
from recsys.models.interactions import Interactions
from recsys.models.progress import Progress, silent
from recsys.models.tables import TopTable, window_table


class TransitionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as following an item."""

    max_gap: int = 10
    """How many places behind an item another still counts as following it, with weight 1/gap."""
    k_following: int = 100
    """How many following items are kept for each item."""


DEFAULTS = TransitionSettings()
MARKOV = TransitionSettings(max_gap=1)


class Transitions:
    """table: for each item the items that follow it; the score is the weight of the rule divided by
    how often the item occurs (with `max_gap=1` the share of its occurrences followed by the other)."""

    def __init__(self, settings: TransitionSettings, table: TopTable) -> None:
        self.settings = settings
        self.table = table

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        settings: TransitionSettings = DEFAULTS,
        progress: Progress = silent,
        *,
        threads: int = 1,
    ) -> Transitions:
        every_target = np.ones(interactions.n_items, np.float32)
        table = window_table(
            interactions, settings.max_gap, settings.k_following, False, every_target, threads=threads
        )
        occurrences = np.bincount(interactions.item, minlength=interactions.n_items)
        progress("transitions", 1.0)
        return cls(settings, table.scaled_rows(1.0 / np.maximum(occurrences, 1)))

    def following(self, row: int, k: int) -> Ranked:
        """The k items that most often follow item `row`."""
        return self.table.of(row, k)

    def recommend(self, session: Rows, k: int) -> Ranked:
        """What follows the last item of `session` int32[h], oldest first."""
        return self.table.of(int(session[-1]), k) if len(session) else NOTHING

    def save(self, directory: Path) -> None:
        save_arrays(directory, {}, self.settings)
        self.table.save(directory / "table")

    @classmethod
    def load(cls, directory: Path) -> Transitions:
        return cls(load_settings(directory, TransitionSettings), TopTable.load(directory / "table"))
