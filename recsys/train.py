"""train: archive -> interactions -> models -> evaluation -> bundle, or a refusal that says why.

A bundle is published only when it is sound and no worse than popularity and than the one before it.

Models are fitted twice. *Early* ones know all but the newest sessions: the ranker learns from the first half
of these, replayed, and is evaluated on the second; then it learns from all of them. The models that are
published are fitted on everything, beside the lessons and the trial where there are two threads. Memory is
bounded by `training_data.MAX_INTERACTIONS`, threads by `settings.threads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from recsys import archive
from recsys.catalog import Item
from recsys.fitting import Fitted, Progress, acquainted, beside, encoder_of, fit_content, steps
from recsys.models import bundle as bundles
from recsys.models.bundle import Bundle, Models, TrainingRange
from recsys.models.content import Content
from recsys.models.current import BundleBroken
from recsys.models.evaluation import Metrics
from recsys.models.interactions import Interactions
from recsys.models.lessons import Lessons
from recsys.models.publish import Draft
from recsys.models.sentence_model import NoSentenceModel
from recsys.settings import TrainSettings
from recsys.training_data import read_interactions
from recsys.trial import Trial, newest_s, objections

_DAY_MS: Final = 86_400_000


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
    recorded: Metrics | None = None
    """How the bundle published before did in its own trial."""


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
    try:
        encoder_of(settings)
    except NoSentenceModel as error:
        raise TrainRefused(f"{error} - at `train.text_model`") from error
    catalogue = [item for item in items if not item.removed]
    with threadpool_limits(limits=settings.threads):
        interactions = _read(archive_dir, now_ms - settings.days * _DAY_MS, progress)
        if len(interactions) < settings.min_events:
            expected = f"at least {settings.min_events} interactions in {settings.days} days"
            raise TrainRefused(f"Expected {expected}, got {len(interactions)} - in archive `{archive_dir}`")
        interactions = interactions.with_items([item.id for item in catalogue])
        published = _published(bundles_dir)
        recorded = published.manifest.evaluation.get("blend") if published is not None else None
        trial = Trial.of(interactions, published, settings)
        before = published.content if published is not None else None
        del published
        with _texts(interactions, catalogue, settings, progress, before) as content:
            early = Fitted.on(trial.early, content, settings, progress, "early", in_sessions_only=True)
        with _fit_late(interactions, early, content, settings, progress) as late:
            lessons = early.taught_by(interactions, catalogue, settings, progress)
            evaluation = trial.evaluate(early, lessons, content, catalogue, settings, progress)
            del early, trial
            objected = objections(evaluation, recorded, settings)
            if objected and not force:
                raise TrainRefused("; ".join(objected))
            models = _taught(late, lessons, interactions, settings, progress)
        _check_sound(models)
        version = _publish(
            models, bundles_dir, interactions, evaluation, settings, now_ms, headrace, progress
        )
    return TrainReport(
        version=version,
        training=_range(interactions),
        n_items=interactions.n_items,
        evaluation=evaluation,
        objections=tuple(objected),
        recorded=recorded,
    )


def fit_models(
    interactions: Interactions, catalogue: Sequence[Item], settings: TrainSettings, progress: Progress
) -> Models:
    """Every model of a bundle, without archive, evaluation and publication. `interactions` have rows
    for the whole catalogue."""
    with threadpool_limits(limits=settings.threads):
        if not interactions.tells_order:
            with _texts(interactions, catalogue, settings, progress) as content:
                late = Fitted.on(interactions, content, settings, progress, "fit")
            return acquainted(late.models, interactions, settings, progress, "fit")
        before, _ = interactions.split(newest_s(interactions, settings.test_share))
        with _texts(interactions, catalogue, settings, progress) as content:
            early = Fitted.on(before, content, settings, progress, "early", in_sessions_only=True)
        with _fit_late(interactions, early, content, settings, progress) as late_coming:
            lessons = early.taught_by(interactions, catalogue, settings, progress)
            del early
            return _taught(late_coming, lessons, interactions, settings, progress)


def _read(archive_dir: Path, since_ms: int, progress: Progress) -> Interactions:
    archived = archive.count_closed(archive_dir)
    progress("read", 0, archived)
    # Open files are not counted, and of closed ones old days are passed over.
    return read_interactions(
        archive_dir, since_ms, told=lambda seen: progress("read", seen, max(archived, seen))
    )


def _texts(
    interactions: Interactions,
    catalogue: Sequence[Item],
    settings: TrainSettings,
    progress: Progress,
    before: Content | None = None,
) -> AbstractContextManager[Callable[[], Content]]:
    """What the texts tell, found out beside the early models."""
    return beside(
        lambda tell: fit_content(interactions, catalogue, settings, tell, before), progress, settings.threads
    )


def _fit_late(
    interactions: Interactions,
    early: Fitted,
    content: Callable[[], Content],
    settings: TrainSettings,
    progress: Progress,
) -> AbstractContextManager[Callable[[], Fitted]]:
    """The models to publish, on everything, without what the lessons teach."""
    start = early.models.als

    def fit(tell: Progress) -> Fitted:
        return Fitted.on(interactions, content, settings, tell, "fit", start=start)

    return beside(fit, progress, settings.threads)


def _taught(
    late: Callable[[], Fitted],
    lessons: Lessons | None,
    interactions: Interactions,
    settings: TrainSettings,
    progress: Progress,
) -> Models:
    """The models to publish, with their rankers."""
    tell = steps(progress, "learn")
    trees = lessons.learned(threads=settings.threads, progress=tell) if lessons is not None else None
    return acquainted(late().ranked_by(trees), interactions, settings, progress, "fit")


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
            "ranker.signals.next_vectors": models.ranker.signals.arrays.next_vectors,
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
