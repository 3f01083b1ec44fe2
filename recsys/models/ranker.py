"""The learned ranker: it has seen, in sessions replayed, which candidates were taken and what was known.

Signals are fitted on all but the newest sessions; trees learn from those (`recsys.models.lessons`) to tell
the item that came next from the other candidates; then the signals are fitted once more, on everything. So
a source is trusted as far as it was right about what it had not seen, and nothing is weighed by hand.
"""

from __future__ import annotations

from pathlib import Path

from recsys.models.arrays import EVERYTHING, Offer, Rows
from recsys.models.signal_arrays import FEATURES, N_FEATURES, Desk
from recsys.models.signals import Signals, Trail
from recsys.models.trees import Trees


class Ranker:
    """signals: candidates and their features; trees: what these are worth."""

    def __init__(self, signals: Signals, trees: Trees) -> None:
        self.signals = signals
        self.trees = trees

    def desk(self) -> Desk:
        """Working memory; one a thread."""
        return self.signals.desk()

    def gather(self, trail: Trail, desk: Desk, offer: Offer = EVERYTHING) -> Rows:
        """The candidates int32[c] of those on offer."""
        return self.signals.gather(trail, desk, offer)

    def weights(self) -> dict[str, float]:
        """For each feature the share of the trees' questions that ask for it."""
        return dict(zip(FEATURES, self.trees.uses(N_FEATURES).round(4).tolist(), strict=True))

    def save(self, directory: Path) -> None:
        self.signals.save(directory / "signals")
        self.trees.save(directory / "trees")

    @classmethod
    def load(cls, directory: Path) -> Ranker:
        return cls(Signals.load(directory / "signals"), Trees.load(directory / "trees"))
