"""train: archive -> interactions -> models -> evaluation -> bundle, or a refusal that says why.

A bundle is published only when it is sound and no worse than popularity and than the one before it.

Models are fitted twice. *Early* ones know all but the newest sessions: the ranker learns from the first half
of these, replayed, and is evaluated on the second; then it learns from all of them, and the models that are
published are fitted on everything. Memory is bounded by `training_data.MAX_INTERACTIONS`, threads by
`settings.threads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from recsys.catalog import Item
from recsys.models import bundle as bundles
from recsys.models.als import Als, AlsSettings
from recsys.models.bought_together import BoughtTogether
from recsys.models.bundle import Bundle, BundleBroken, Models, TrainingRange
from recsys.models.content import Content, ContentSettings
from recsys.models.evaluation import Metrics, Recommend, next_item
from recsys.models.interactions import Interactions
from recsys.models.item_to_item import ItemToItem
from recsys.models.kindred import Kindred
from recsys.models.kindred_ranker import KindredRanker, KindredRankerSettings
from recsys.models.lessons import Lessons, LessonSettings
from recsys.models.neighbours import NeighbourSettings, SessionNeighbours
from recsys.models.popularity import Popularity, PopularitySettings
from recsys.models.publish import Draft
from recsys.models.ranker import Ranker
from recsys.models.repurchase import Repurchase
from recsys.models.signals import Signals, SignalSettings
from recsys.models.transitions import MARKOV, Transitions
from recsys.models.trees import Trees
from recsys.pipeline.columns import types_of
from recsys.pipeline.replay import blend, past_catalogue, unsaved
from recsys.pipeline.shelf import text_of
from recsys.settings import TrainSettings
from recsys.training_data import read_interactions

Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`."""

MIN_TEST_QUERIES: Final = 50
"""Fewer held-out queries than this say nothing about better or worse."""
_DAY_MS: Final = 86_400_000
_PERCENT: Final = 100


class TrainRefused(Exception):
    """No bundle was published, and the one before it stays. Says what was expected and what came."""


class TrainReport(msgspec.Struct, frozen=True):
    """What was published, and how it did on the sessions held out."""

    version: str
    training: TrainingRange
    n_items: int
    evaluation: dict[str, Metrics]
    """`blend`, `popularity`, `markov`, and `published` where there was a bundle to compare with."""
    objections: tuple[str, ...]
    """Why it would have been refused without `force`."""


@dataclass(frozen=True)
class _Trial:
    """What the ranker learns from and an evaluation is made of."""

    early: Interactions
    """Without the newest sessions, which the ranker learns from."""
    before: Interactions
    """What the models in question know; may be `early` itself."""
    after: Interactions
    asked_s: float
    """They are asked about sessions `after`, those that ended from this epoch second on."""
    published: Bundle | None
    """The bundle served now, where it has seen nothing of `after`."""


def train(
    archive_dir: Path,
    bundles_dir: Path,
    items: Iterable[Item],
    settings: TrainSettings,
    now_ms: int,
    progress: Progress,
    *,
    headrace: str = "",
    force: bool = False,
) -> TrainReport:
    """Fit, evaluate and publish a bundle; `force` publishes one that is worse, never a broken one.

    Raises TrainRefused, after which `current` is what it was; so it is when the process dies.
    """
    catalogue = [item for item in items if not item.removed]
    with threadpool_limits(limits=settings.threads):
        progress("read", 0, 1)
        interactions = read_interactions(archive_dir, now_ms - settings.days * _DAY_MS)
        progress("read", 1, 1)
        if len(interactions) < settings.min_events:
            expected = f"at least {settings.min_events} interactions in {settings.days} days"
            raise TrainRefused(f"Expected {expected}, got {len(interactions)} - in archive `{archive_dir}`")
        interactions = interactions.with_items([item.id for item in catalogue])
        content = _fit_content(interactions, catalogue, settings, progress)
        published = _published(bundles_dir)
        trial = _trial(interactions, published, settings)
        early = _Fitted.on(trial.early, content, settings, progress, "early")
        lessons = early.taught_by(interactions, settings, progress)
        evaluation = _evaluate(trial, early, lessons, content, catalogue, settings, progress)
        del early
        recorded = published.manifest.evaluation.get("blend") if published is not None else None
        objections = _objections(evaluation, recorded, settings)
        if objections and not force:
            raise TrainRefused("; ".join(objections))
        models = _fit_taught(interactions, lessons, content, settings, progress)
        _check_sound(models)
        version = _publish(
            models, bundles_dir, interactions, evaluation, settings, now_ms, headrace, progress
        )
    return TrainReport(
        version=version,
        training=_range(interactions),
        n_items=interactions.n_items,
        evaluation=evaluation,
        objections=tuple(objections),
    )


def fit_models(
    interactions: Interactions, catalogue: Sequence[Item], settings: TrainSettings, progress: Progress
) -> Models:
    """Every model of a bundle, without archive, evaluation and publication. `interactions` have rows
    for the whole catalogue."""
    with threadpool_limits(limits=settings.threads):
        content = _fit_content(interactions, list(catalogue), settings, progress)
        lessons = None
        if interactions.tells_order:
            early, _ = interactions.split(_newest_s(interactions, settings.test_share))
            lessons = _Fitted.on(early, content, settings, progress, "early").taught_by(
                interactions, settings, progress
            )
        return _fit_taught(interactions, lessons, content, settings, progress)


def _newest_s(interactions: Interactions, share: float) -> float:
    """The epoch second from which on the newest `share` of the sessions ended."""
    ended_s = interactions.at_s[interactions.session_starts[1:] - 1]
    return float(np.quantile(ended_s, 1.0 - share)) if len(ended_s) else 0.0


def _trial(interactions: Interactions, published: Bundle | None, settings: TrainSettings) -> _Trial:
    """Hold out the newest sessions. The published bundle has learned from some of them already, so it can
    be asked about those after its own training only; where there are enough of these, they are the test,
    and both bundles know the same past."""
    held_out_s = _newest_s(interactions, settings.test_share)
    asked_s = _newest_s(interactions, settings.test_share / 2)
    early, held_out = interactions.split(held_out_s)
    _, after = held_out.split(asked_s)
    if published is not None and published.manifest.training.to_s is not None:
        learned_s = float(np.nextafter(published.manifest.training.to_s, np.inf))
        if learned_s <= held_out_s:
            return _Trial(early, early, after, asked_s, published)
        before, unseen = interactions.split(learned_s)
        _, after_both = unseen.split(asked_s)
        if len(after_both) - after_both.n_sessions >= MIN_TEST_QUERIES:
            return _Trial(early, before, after_both, max(learned_s, asked_s), published)
    return _Trial(early, early, after, asked_s, None)


def _evaluate(
    trial: _Trial,
    early: _Fitted,
    lessons: Lessons | None,
    content: Content,
    catalogue: list[Item],
    settings: TrainSettings,
    progress: Progress,
) -> dict[str, Metrics]:
    """The blend as it serves beside the baselines, all asked about the same sessions."""
    trees = (
        None
        if lessons is None
        else lessons.learned(trial.asked_s, threads=settings.threads, progress=_steps(progress, "trial"))
    )
    fitted = early
    if trial.before is not trial.early:
        fitted = _Fitted.on(trial.before, content, settings, progress, "trial")
    models = _acquainted(fitted.ranked_by(trees), trial.before, settings, progress, "trial")
    past = past_catalogue(trial.before.item_ids, catalogue)
    popular = models.popularity.top(20)[0]
    now_ms = round(float(trial.after.at_s.max(initial=0.0)) * 1000)
    contestants: dict[str, Recommend] = {
        "blend": blend(unsaved(models), past, now_ms),
        "popularity": lambda _: popular,
    }
    markov = Transitions.fit(trial.before, MARKOV)
    contestants["markov"] = lambda session: markov.recommend(session, 20)[0]
    if trial.published is not None:
        contestants["published"] = blend(trial.published, past, now_ms)
    found = {}
    for place, (name, recommend) in enumerate(contestants.items()):
        progress("evaluate", place, len(contestants))
        found[name] = next_item(
            recommend, trial.after, max_queries=settings.max_test_queries, seed=settings.seed
        )
    progress("evaluate", len(contestants), len(contestants))
    return found


def _objections(
    evaluation: dict[str, Metrics], recorded: Metrics | None, settings: TrainSettings
) -> list[str]:
    """What speaks against publishing, in words."""
    ours = evaluation["blend"]
    if ours.queries < MIN_TEST_QUERIES:
        return []
    objections = []
    hit_rate, popular = ours.hit_rate_at_20, evaluation["popularity"].hit_rate_at_20
    if hit_rate < popular:
        objections.append(f"Expected HR@20 of at least {popular:.4f} (popularity), got {hit_rate:.4f}")
    published = evaluation.get("published")
    if published is not None:
        bar = published.hit_rate_at_20 * (1.0 - settings.worse_by)
        if hit_rate < bar:
            objections.append(
                f"Expected HR@20 of at least {bar:.4f} ({published.hit_rate_at_20:.4f} of the published"
                f" bundle, less {settings.worse_by:.0%}), got {hit_rate:.4f}"
            )
    elif recorded is not None and recorded.queries >= MIN_TEST_QUERIES:
        # Measured on other sessions: only what chance does not explain counts.
        bar = recorded.hit_rate_low * (1.0 - settings.worse_by)
        if ours.hit_rate_high < bar:
            objections.append(
                f"Expected HR@20 of at least {bar:.4f} (the published bundle's when it was trained, less"
                f" {settings.worse_by:.0%}), got {hit_rate:.4f}"
            )
    return objections


def _fit_content(
    interactions: Interactions, catalogue: list[Item], settings: TrainSettings, progress: Progress
) -> Content:
    texts = {item.id: text_of(item) for item in catalogue}
    return Content.fit(
        [texts.get(item_id, "") for item_id in interactions.item_ids],
        ContentSettings(seed=settings.seed),
        types=types_of(interactions.item_ids),
        threads=settings.threads,
        progress=_steps(progress, "fit"),
    )


@dataclass(frozen=True)
class _Fitted:
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
        content: Content,
        settings: TrainSettings,
        progress: Progress,
        stage: str,
    ) -> _Fitted:
        """`content` knows texts only, and serves early and late. With two threads the signals are fitted
        beside the models: much of either runs on one core."""

        def fit_signals() -> Signals | None:
            if not interactions.tells_order:
                return None
            return Signals.fit(
                interactions, SignalSettings(seed=settings.seed), threads=settings.threads,
                progress=_steps(progress, stage),
            )  # fmt: skip

        if settings.threads == 1:
            signals = fit_signals()
            models = _fit(interactions, content, settings, progress, stage)
        else:
            with ThreadPoolExecutor(1) as beside:
                coming = beside.submit(fit_signals)
                models = _fit(interactions, content, settings, progress, stage)
                signals = coming.result()
        return cls(models, signals, interactions.n_sessions)

    def taught_by(
        self, interactions: Interactions, settings: TrainSettings, progress: Progress
    ) -> Lessons | None:
        """What the sessions that are not known to these models teach; None where that is too little."""
        if self.signals is None:
            return None
        return Lessons.replay(
            self.signals, self.models.opinions(), interactions, self.n_sessions,
            LessonSettings(seed=settings.seed), _steps(progress, "learn"),
        )  # fmt: skip

    def ranked_by(self, trees: Trees | None) -> Models:
        if trees is None or self.signals is None:
            return self.models
        return replace(self.models, ranker=Ranker(self.signals, trees))


def _fit_taught(
    interactions: Interactions,
    lessons: Lessons | None,
    content: Content,
    settings: TrainSettings,
    progress: Progress,
) -> Models:
    """The models to publish, on everything."""
    trees = (
        None
        if lessons is None
        else lessons.learned(threads=settings.threads, progress=_steps(progress, "learn"))
    )
    models = _Fitted.on(interactions, content, settings, progress, "fit").ranked_by(trees)
    return _acquainted(models, interactions, settings, progress, "fit")


def _acquainted(
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
        progress=_steps(progress, stage),
    )
    return replace(models, kindred_ranker=ranker)


def _fit(
    interactions: Interactions, content: Content, settings: TrainSettings, progress: Progress, stage: str
) -> Models:
    """All models but the rankers."""
    told = _steps(progress, stage)
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
    als = Als.fit(interactions, als_settings, threads=settings.threads, progress=told)
    return Models(
        item_ids=interactions.item_ids,
        popularity=Popularity.fit(interactions, PopularitySettings(kind_weights=kind_weights), told),
        transitions=Transitions.fit(interactions, progress=told, threads=settings.threads),
        neighbours=SessionNeighbours.fit(interactions, neighbour_settings, told),
        als=als,
        item_to_item=ItemToItem.fit(interactions, als.item_factors, threads=settings.threads, progress=told),
        bought_together=BoughtTogether.fit(interactions, progress=told),
        content=content,
        kindred=Kindred.fit(interactions, threads=settings.threads, progress=told),
        repurchase=Repurchase.fit(interactions, progress=told),
    )


def _check_sound(models: Models) -> None:
    """Raises TrainRefused for models that would serve nonsense."""
    arrays = {
        "popularity.counts": models.popularity.counts,
        "als.item_factors": models.als.item_factors,
        "item_to_item.table": models.item_to_item.table.scores,
        "bought_together.table": models.bought_together.table.scores,
        "transitions.table": models.transitions.table.scores,
        "neighbours.idf": models.neighbours.idf,
        "content.vectors": models.content.vectors,
    }
    if models.ranker is not None:
        arrays |= {
            "ranker.signals.vectors": models.ranker.signals.arrays.vectors,
            "ranker.signals.columns": models.ranker.signals.arrays.columns,
            "ranker.trees.values": models.ranker.trees.values,
        }
    if models.kindred is not None:
        arrays["kindred.walk_shares"] = models.kindred.arrays.walk_shares
    if models.repurchase is not None:
        arrays["repurchase.log_days"] = models.repurchase.log_days
    if models.kindred_ranker is not None:
        arrays |= {
            "kindred_ranker.signals.columns": models.kindred_ranker.signals.columns,
            "kindred_ranker.trees.values": models.kindred_ranker.trees.values,
        }
    for name, array in arrays.items():
        broken = int(np.count_nonzero(~np.isfinite(array)))
        if broken:
            raise TrainRefused(f"Expected finite numbers, got {broken} that are not - in `{name}`")
    if not len(models.neighbours.session_items):
        raise TrainRefused("Expected sessions, got none - in `neighbours`")


def _publish(
    models: Models,
    bundles_dir: Path,
    interactions: Interactions,
    evaluation: dict[str, Metrics],
    settings: TrainSettings,
    now_ms: int,
    headrace: str,
    progress: Progress,
) -> str:
    """Write a draft, load it as a server would, and make it current."""
    progress("publish", 0, 3)
    with Draft(bundles_dir) as draft:
        manifest = draft.write(
            models,
            headrace=headrace,
            created_at_ms=now_ms,
            training=_range(interactions),
            evaluation=evaluation,
        )
        progress("publish", 1, 3)
        try:
            bundles.load(draft.directory)
            progress("publish", 2, 3)
            draft.publish(keep=settings.keep)
        except BundleBroken as error:
            raise TrainRefused(str(error)) from error
    progress("publish", 3, 3)
    return manifest.version


def _published(bundles_dir: Path) -> Bundle | None:
    """The bundle served now; None before the first, and for one that cannot be read any more."""
    try:
        return bundles.load_current(bundles_dir)
    except BundleBroken:
        return None


def _range(interactions: Interactions) -> TrainingRange:
    return TrainingRange(
        from_s=float(interactions.at_s.min()),
        to_s=float(interactions.at_s.max()),
        interactions=len(interactions),
        sessions=interactions.n_sessions,
        persons=interactions.n_persons,
    )


def _steps(progress: Progress, stage: str) -> Callable[[str, float], None]:
    """The models' progress, told in per cent."""
    return lambda step, fraction: progress(f"{stage} {step}", round(fraction * _PERCENT), _PERCENT)
