"""The contestants, as data: a name, the formats it can be asked in, and what learns and answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from bench.quality import kernels
from bench.quality.ablation import GROUPS, deaf_to
from bench.quality.baselines import (
    Baseline,
    ItemKnn,
    Neighbours,
    Popular,
    RecentPopular,
    Rules,
    empty_answers,
    fill_popular,
    popular_rows,
)
from bench.quality.replayed import asked_of_pipeline
from bench.quality.score import AT, Answers, score
from bench.quality.trial import Questions, Trial
from bench.quality.tuning import CURRENT, NEAREST, tuned
from recsys.models.als import Als, AlsSettings
from recsys.models.arrays import Rows
from recsys.models.bundle import Models
from recsys.models.interactions import Interactions
from recsys.models.item_to_item import ItemToItem
from recsys.models.tables import TopTable
from recsys.pipeline.replay import FEED, unsaved
from recsys.placement import Placement
from recsys.settings import TrainSettings
from recsys.train import Progress, fit_models

OURS: Final = "headrace"
NEXT_ITEM: Final = ("sessions", "tsv", "ga4")
TOPN: Final = ("topn", "retail")
WARM_UP: Final = 20


class Contestant(NamedTuple):
    name: str
    kinds: tuple[str, ...]
    learn: Callable[[Interactions, TrainSettings], Baseline]


class Row(NamedTuple):
    """A line of the table."""

    name: str
    figures: dict[str, float]


class AlsAlone:
    """The product's factors, the session (or the whole history) folded in, and nothing else."""

    def __init__(self, train: Interactions, settings: TrainSettings) -> None:
        self._als = Als.fit(train, als_settings(settings), threads=settings.threads)

    @property
    def size_bytes(self) -> int:
        return self._als.item_factors.nbytes

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        out, als = empty_answers(questions), self._als
        scratch, factors = als.scratch(), als.item_factors
        for number in range(len(questions)):
            walk = questions.walk[questions.start[number] : questions.stop[number]]
            vector = als.fold_in(walk, np.ones(len(walk), np.float32), scratch)
            if not vector.any():
                continue
            scores = factors @ vector
            if trial.bars_history:
                scores[walk[walk >= 0]] = -np.inf
            elif trial.bars_current and questions.current(number) >= 0:
                scores[questions.current(number)] = -np.inf
            best = np.argpartition(-scores, min(AT, len(scores) - 1))[:AT]
            best = best[np.argsort(-scores[best], kind="stable")]
            best = best[np.isfinite(scores[best])]
            out[number, : len(best)] = best
        return out


class ItemToItemAlone:
    """The product's lists of like items, around the last five of the session."""

    SEEDS = 5

    def __init__(self, train: Interactions, settings: TrainSettings) -> None:
        als = Als.fit(train, als_settings(settings), threads=settings.threads)
        self._table: TopTable = ItemToItem.fit(train, als.item_factors, threads=settings.threads).table

    @property
    def size_bytes(self) -> int:
        return self._table.rows.nbytes + self._table.scores.nbytes

    def answer(self, trial: Trial, questions: Questions) -> Rows:
        out, table = empty_answers(questions), self._table
        kernels.blended_answers(
            table.rows, table.scores, table.lengths, questions.walk, questions.start, questions.stop,
            self.SEEDS, True, trial.bars_current, trial.bars_history, out,
        )  # fmt: skip
        return out


def als_settings(settings: TrainSettings) -> AlsSettings:
    return AlsSettings(
        factors=settings.factors,
        iterations=settings.iterations,
        regularization=settings.regularization,
        kind_weights=(
            settings.view_weight, settings.cart_weight, settings.order_weight, settings.read_weight,
        ),
        seed=settings.seed,
    )  # fmt: skip


BASELINES: Final = (
    Contestant("popular", (*NEXT_ITEM, *TOPN), lambda train, _: Popular(train)),
    Contestant("recent_popular", NEXT_ITEM, lambda train, _: RecentPopular(train)),
    Contestant("live_popular", NEXT_ITEM, lambda train, _: RecentPopular(train, live=True)),
    Contestant("markov", NEXT_ITEM, lambda train, _: tuned(Rules, train, CURRENT, max_gap=1)),
    Contestant("sequential_rules", NEXT_ITEM, lambda train, _: tuned(Rules, train, CURRENT, max_gap=10)),
    Contestant(
        "session_recency_rules",
        NEXT_ITEM,
        lambda train, _: tuned(Rules, train, CURRENT, max_gap=10, recent_first=True),
    ),
    Contestant("s_knn", NEXT_ITEM, lambda train, _: tuned(Neighbours, train, NEAREST, by_place=False)),
    Contestant("vmis_knn", NEXT_ITEM, lambda train, _: tuned(Neighbours, train, NEAREST, by_place=True)),
    Contestant("als", (*NEXT_ITEM, *TOPN), AlsAlone),
    Contestant("item_to_item", NEXT_ITEM, ItemToItemAlone),
    Contestant("item_knn", TOPN, lambda train, _: ItemKnn(train, 200)),
)


def baseline_row(contestant: Contestant, trial: Trial, settings: TrainSettings, seed: int) -> Row:
    """Train, ask and judge one baseline."""
    questions = trial.questions
    began_s = time.perf_counter()
    learned = contestant.learn(trial.train, settings)
    train_s = time.perf_counter() - began_s
    ranked, few = popular_rows(trial.train), questions.chosen(np.arange(min(WARM_UP, len(questions))))
    fill_popular(learned.answer(trial, few), trial, few, ranked)  # compiles
    began_ns = time.process_time_ns()
    rows = learned.answer(trial, questions)
    fill_popular(rows, trial, questions, ranked)
    us = (time.process_time_ns() - began_ns) / 1000 / max(len(questions), 1)
    found = score(trial, Answers(rows, us), seed)
    return Row(contestant.name, {**found, "train_s": train_s, "bundle_mb": learned.size_bytes / 1e6})


class Ours:
    """Headrace, trained once and asked with all sources or some."""

    def __init__(self, trial: Trial, settings: TrainSettings, progress: Progress) -> None:
        began_s = time.perf_counter()
        self.models: Models = fit_models(
            trial.train.with_items([item.id for item in trial.catalogue]), trial.catalogue, settings, progress
        )
        self.train_s = time.perf_counter() - began_s
        with TemporaryDirectory(prefix="headrace-bench-") as folder:
            self.models.save(made(Path(folder) / "bundle"))
            self.bundle_mb = sum(file.stat().st_size for file in Path(folder).rglob("*.*")) / 1e6
        self._trial = trial

    def row(
        self, name: str, placement: Placement, seed: int, progress: Progress, models: Models | None = None
    ) -> Row:
        """What the models, its own unless others are given, are worth on that placement."""
        bundle = unsaved(self.models if models is None else models)
        answers = asked_of_pipeline(self._trial, bundle, placement, progress)
        found = score(self._trial, answers, seed)
        return Row(name, {**found, "train_s": self.train_s, "bundle_mb": self.bundle_mb})

    def rows_without(self, seed: int, progress: Progress) -> Sequence[Row]:
        """A row for each source of the placement, with that one naming nothing, and one for each group of
        the ranker's signals, with that one saying nothing. Nothing is fitted again."""
        found = []
        for off in FEED.sources:
            left = {source: weight for source, weight in FEED.sources.items() if source != off}
            placement = Placement(sources=left, item_types=FEED.item_types, limit=FEED.limit)
            found.append(self.row(f"{OURS} - {off}", placement, seed, progress))
        for group in GROUPS if self.models.ranker is not None else ():
            models = deaf_to(self.models, group)
            found.append(self.row(f"{OURS} - signals: {group}", FEED, seed, progress, models))
        return found


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
