"""Fitting the models of one bundle on the interactions of some time, each where it is cheapest.

Threads share work out among the models as well as inside them: much of each runs on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Event
from typing import Final, TypeVar

# Here, where one thread runs: two threads that import one package at once find each other's halves of it.
import implicit.cpu.als  # noqa: F401
import sklearn.feature_extraction.text
import sklearn.utils.extmath  # noqa: F401

from recsys.catalog import Item
from recsys.models.als import Als, AlsSettings
from recsys.models.bought_together import BoughtTogether
from recsys.models.bundle import Models
from recsys.models.content import Content, ContentSettings
from recsys.models.interactions import Interactions
from recsys.models.item_to_item import ItemToItem
from recsys.models.kindred import Kindred
from recsys.models.kindred_ranker import KindredRanker, KindredRankerSettings
from recsys.models.lessons import Lessons, LessonSettings
from recsys.models.neighbours import NeighbourSettings, SessionNeighbours
from recsys.models.popularity import Popularity, PopularitySettings
from recsys.models.ranker import Ranker
from recsys.models.repurchase import Repurchase
from recsys.models.sentence_model import Encoder, open_model
from recsys.models.signals import Signals, SignalSettings
from recsys.models.transitions import Transitions
from recsys.models.trees import Trees
from recsys.pipeline.columns import traits_of, types_of
from recsys.pipeline.shelf import text_of
from recsys.settings import TrainSettings

Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`, by several threads."""
_PERCENT: Final = 100
_T = TypeVar("_T")


def steps(progress: Progress, stage: str) -> Callable[[str, float], None]:
    """The models' progress, told in per cent."""
    return lambda step, fraction: progress(f"{stage} {step}", round(fraction * _PERCENT), _PERCENT)


@contextmanager
def beside(work: Callable[[Progress], _T], progress: Progress, threads: int) -> Iterator[Callable[[], _T]]:
    """`work` goes on beside the block, which gets a function that waits for its result; with one thread that
    function does the work, when it is first called. If the block fails, the work ends at its next step."""
    if threads == 1:
        yield lru_cache(maxsize=1)(lambda: work(progress))
        return
    failed = Event()

    def told(stage: str, done: int, total: int) -> None:
        if failed.is_set():
            raise CancelledError
        progress(stage, done, total)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(work, told)
        try:
            yield coming.result
        except BaseException:
            failed.set()
            raise


def encoder_of(settings: TrainSettings) -> Encoder | None:
    """The sentence model that is set; None without one. Raises NoSentenceModel."""
    return open_model(settings.text_model) if settings.text_model else None


def fit_content(
    interactions: Interactions,
    catalogue: Sequence[Item],
    settings: TrainSettings,
    progress: Progress,
    before: Content | None = None,
) -> Content:
    """What the texts of the items tell; `before`: what the bundle served now has read of them."""
    texts = {item.id: text_of(item) for item in catalogue}
    return Content.fit(
        [texts.get(item_id, "") for item_id in interactions.item_ids],
        ContentSettings(seed=settings.seed),
        encoder=encoder_of(settings),
        before=before,
        types=types_of(interactions.item_ids),
        threads=settings.threads,
        progress=steps(progress, "fit"),
    )


@dataclass(frozen=True)
class Fitted:
    """models without a ranker, and the signals for one, fitted on the same interactions."""

    models: Models
    signals: Signals | None
    """None where sessions tell no order."""
    n_sessions: int
    """How many sessions, the oldest, they know."""

    @classmethod
    def on(
        cls,
        interactions: Interactions,
        content: Callable[[], Content],
        settings: TrainSettings,
        progress: Progress,
        stage: str,
        *,
        start: Als | None = None,
        in_sessions_only: bool = False,
    ) -> Fitted:
        """`content` knows texts only, and serves early and late; it is waited for when the rest is fitted.
        Tastes of many go on from a `start`. `in_sessions_only`: for who will be asked about people in their
        session, which needs no kindred."""

        def fit_signals(tell: Progress) -> Signals | None:
            if not interactions.tells_order:
                return None
            return Signals.fit(
                interactions, SignalSettings(seed=settings.seed), threads=settings.threads,
                progress=steps(tell, stage),
            )  # fmt: skip

        with beside(fit_signals, progress, settings.threads) as signals:
            models = _fit(interactions, content, settings, steps(progress, stage), start)
            if not (in_sessions_only and interactions.tells_order):
                kindred = Kindred.fit(interactions, threads=settings.threads, progress=steps(progress, stage))
                models = replace(models, kindred=kindred)
            return cls(models, signals(), interactions.n_sessions)

    def taught_by(
        self,
        interactions: Interactions,
        catalogue: Sequence[Item],
        settings: TrainSettings,
        progress: Progress,
    ) -> Lessons | None:
        """What the sessions that are not known to these models teach; None where that is too little."""
        if self.signals is None:
            return None
        return Lessons.replay(
            self.signals, self.models.opinions(), interactions, self.n_sessions,
            LessonSettings(seed=settings.seed), steps(progress, "learn"),
            traits=traits_of(interactions.item_ids, catalogue),
        )  # fmt: skip

    def ranked_by(self, trees: Trees | None) -> Models:
        """The models, and a ranker of these trees where there are any."""
        if trees is None or self.signals is None:
            return self.models
        return replace(self.models, ranker=Ranker(self.signals, trees))


def acquainted(
    models: Models, interactions: Interactions, settings: TrainSettings, progress: Progress, stage: str
) -> Models:
    """With a ranker of people known by what they have, where sessions tell no order to learn another from."""
    if interactions.tells_order:
        return models
    ranker = KindredRanker.fit(
        interactions,
        models.als.settings,
        KindredRankerSettings(seed=settings.seed),
        threads=settings.threads,
        progress=steps(progress, stage),
    )
    return replace(models, kindred_ranker=ranker)


def _fit(
    interactions: Interactions,
    content: Callable[[], Content],
    settings: TrainSettings,
    told: Callable[[str, float], None],
    start: Als | None,
) -> Models:
    """All models but the rankers and the kindred."""
    kind_weights = (
        settings.view_weight, settings.cart_weight, settings.order_weight, settings.read_weight,
    )  # fmt: skip
    als_settings = AlsSettings(
        factors=settings.factors,
        iterations=settings.iterations,
        regularization=settings.regularization,
        kind_weights=kind_weights,
        seed=settings.seed,
    )
    neighbour_settings = NeighbourSettings(
        m_most_recent_sessions=settings.m_most_recent_sessions, k_neighbours=settings.k_neighbours
    )
    als = Als.fit(interactions, als_settings, start=start, threads=settings.threads, progress=told)
    return Models(
        item_ids=interactions.item_ids,
        popularity=Popularity.fit(interactions, PopularitySettings(kind_weights=kind_weights), told),
        transitions=Transitions.fit(interactions, progress=told, threads=settings.threads),
        neighbours=SessionNeighbours.fit(interactions, neighbour_settings, told),
        als=als,
        item_to_item=ItemToItem.fit(interactions, als.item_factors, threads=settings.threads, progress=told),
        bought_together=BoughtTogether.fit(interactions, progress=told),
        repurchase=Repurchase.fit(interactions, progress=told),
        content=content(),
    )
