"""Training as `headrace train` does it, without archive and publication."""

from __future__ import annotations

from collections.abc import Sequence

from threadpoolctl import threadpool_limits

from recsys import train as training
from recsys.catalog import Item
from recsys.models.bundle import Models
from recsys.models.interactions import Interactions
from recsys.settings import TrainSettings
from recsys.train import Progress


def fit(
    interactions: Interactions, catalogue: Sequence[Item], settings: TrainSettings, progress: Progress
) -> Models:
    """Every model of a bundle. `interactions` have rows for the whole catalogue."""
    with threadpool_limits(limits=settings.threads):
        content = training._fit_content(interactions, list(catalogue), settings, progress)  # noqa: SLF001
        return training._fit(interactions, content, settings, progress, "fit")  # noqa: SLF001
