"""train: archive -> interactions -> models -> evaluation -> bundle, or a refusal that says why.

A bundle is published only when it is sound and no worse than popularity and than the one before it.
Memory is bounded by `training_data.MAX_INTERACTIONS`, threads by `settings.threads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
from recsys.models.neighbours import NeighbourSettings, SessionNeighbours
from recsys.models.popularity import Popularity, PopularitySettings
from recsys.models.publish import Draft
from recsys.models.ranker import Ranker, RankerSettings
from recsys.models.transitions import MARKOV, Transitions
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
    """What an evaluation is made of: models fitted on what was `before`, asked about what came `after`."""

    before: Interactions
    after: Interactions
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
        evaluation = _evaluate(trial, content, catalogue, settings, progress)
        recorded = published.manifest.evaluation.get("blend") if published is not None else None
        objections = _objections(evaluation, recorded, settings)
        if objections and not force:
            raise TrainRefused("; ".join(objections))
        models = _fit(interactions, content, settings, progress, "fit")
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
        return _fit(interactions, content, settings, progress, "fit")


def _trial(interactions: Interactions, published: Bundle | None, settings: TrainSettings) -> _Trial:
    """Hold out the newest sessions. The published bundle has learned from most of them already, so it
    can be asked about those after its own training only; where there are enough of these, they are
    the test, and both bundles know the same past."""
    ended_s = interactions.at_s[interactions.session_starts[1:] - 1]
    split_s = float(np.quantile(ended_s, 1.0 - settings.test_share)) if len(ended_s) else 0.0
    if published is not None and published.manifest.training.to_s is not None:
        learned_s = np.nextafter(published.manifest.training.to_s, np.inf)
        if learned_s <= split_s:
            return _Trial(*interactions.split(split_s), published)
        before, after = interactions.split(float(learned_s))
        if len(after) - after.n_sessions >= MIN_TEST_QUERIES:
            return _Trial(before, after, published)
    return _Trial(*interactions.split(split_s), None)


def _evaluate(
    trial: _Trial, content: Content, catalogue: list[Item], settings: TrainSettings, progress: Progress
) -> dict[str, Metrics]:
    """The blend as it serves beside the baselines, all asked about the same sessions."""
    models = _fit(trial.before, content, settings, progress, "trial")
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


def _fit(
    interactions: Interactions, content: Content, settings: TrainSettings, progress: Progress, stage: str
) -> Models:
    """All models; `content` knows texts only, and serves the trial as well."""
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
        transitions=Transitions.fit(interactions, progress=told),
        neighbours=SessionNeighbours.fit(interactions, neighbour_settings, told),
        als=als,
        item_to_item=ItemToItem.fit(interactions, als.item_factors, threads=settings.threads, progress=told),
        bought_together=BoughtTogether.fit(interactions, progress=told),
        content=content,
        ranker=Ranker.fit(
            interactions, RankerSettings(seed=settings.seed), threads=settings.threads, progress=told
        ),
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
