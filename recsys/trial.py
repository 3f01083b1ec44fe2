"""The trial before a publication: models that do not know the newest sessions are asked about them.

Beside the blend, as it serves, stand what is popular, what follows what, and the bundle served now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.catalog import Item
from recsys.fitting import Fitted, Progress, acquainted, steps
from recsys.models.bundle import Bundle
from recsys.models.content import Content
from recsys.models.evaluation import Metrics, Recommend, next_item
from recsys.models.interactions import Interactions
from recsys.models.lessons import Lessons
from recsys.models.transitions import MARKOV, Transitions
from recsys.pipeline.replay import blend, past_catalogue, unsaved
from recsys.settings import TrainSettings

MIN_TEST_QUERIES: Final = 50
"""Fewer held-out queries than this say nothing about better or worse."""


@dataclass(frozen=True)
class Trial:
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

    @classmethod
    def of(cls, interactions: Interactions, published: Bundle | None, settings: TrainSettings) -> Trial:
        """Hold out the newest sessions. The published bundle has learned from some of them already, so it
        can be asked about those after its own training only; where there are enough of these, they are the
        test, and both bundles know the same past."""
        held_out_s = newest_s(interactions, settings.test_share)
        asked_s = newest_s(interactions, settings.test_share / 2)
        early, held_out = interactions.split(held_out_s)
        _, after = held_out.split(asked_s)
        if published is not None and published.manifest.training.to_s is not None:
            learned_s = float(np.nextafter(published.manifest.training.to_s, np.inf))
            if learned_s <= held_out_s:
                return cls(early, early, after, asked_s, published)
            before, unseen = interactions.split(learned_s)
            _, after_both = unseen.split(asked_s)
            if len(after_both) - after_both.n_sessions >= MIN_TEST_QUERIES:
                return cls(early, before, after_both, max(learned_s, asked_s), published)
        return cls(early, early, after, asked_s, None)

    def evaluate(
        self,
        early: Fitted,
        lessons: Lessons | None,
        content: Callable[[], Content],
        catalogue: Sequence[Item],
        settings: TrainSettings,
        progress: Progress,
    ) -> dict[str, Metrics]:
        """The blend as it serves beside the baselines, all asked about the same sessions. `early` and
        `lessons` are of the interactions `early`."""
        tell = steps(progress, "trial")
        trees = (
            None
            if lessons is None
            else lessons.learned(self.asked_s, threads=settings.threads, progress=tell)
        )
        fitted = early
        if self.before is not self.early:
            fitted = Fitted.on(
                self.before, content, settings, progress, "trial",
                start=early.models.als, in_sessions_only=True,
            )  # fmt: skip
        models = acquainted(fitted.ranked_by(trees), self.before, settings, progress, "trial")
        past = past_catalogue(self.before.item_ids, catalogue)
        popular = models.popularity.top(20)[0]
        now_ms = round(float(self.after.at_s.max(initial=0.0)) * 1000)
        contestants: dict[str, Recommend] = {
            "blend": blend(unsaved(models), past, now_ms),
            "popularity": lambda _: popular,
        }
        markov = Transitions.fit(self.before, MARKOV, threads=settings.threads)
        contestants["markov"] = lambda session: markov.recommend(session, 20)[0]
        if self.published is not None:
            contestants["published"] = blend(self.published, past, now_ms)
        found = {}
        for place, (name, recommend) in enumerate(contestants.items()):
            progress("evaluate", place, len(contestants))
            found[name] = next_item(
                recommend, self.after, max_queries=settings.max_test_queries, seed=settings.seed
            )
        progress("evaluate", len(contestants), len(contestants))
        return found


def newest_s(interactions: Interactions, share: float) -> float:
    """The epoch second from which on the newest `share` of the sessions ended."""
    ended_s = interactions.at_s[interactions.session_starts[1:] - 1]
    return float(np.quantile(ended_s, 1.0 - share)) if len(ended_s) else 0.0


def objections(
    evaluation: dict[str, Metrics], recorded: Metrics | None, settings: TrainSettings
) -> list[str]:
    """What speaks against publishing, in words. `recorded`: how the published bundle did in its own trial."""
    ours = evaluation["blend"]
    if ours.queries < MIN_TEST_QUERIES:
        return []
    found = []
    hit_rate, popular = ours.hit_rate_at_20, evaluation["popularity"].hit_rate_at_20
    if hit_rate < popular:
        found.append(f"Expected HR@20 of at least {popular:.4f} (popularity), got {hit_rate:.4f}")
    published = evaluation.get("published")
    if published is not None:
        bar = published.hit_rate_at_20 * (1.0 - settings.worse_by)
        if hit_rate < bar:
            found.append(
                f"Expected HR@20 of at least {bar:.4f} ({published.hit_rate_at_20:.4f} of the published"
                f" bundle, less {settings.worse_by:.0%}), got {hit_rate:.4f}"
            )
    elif recorded is not None and recorded.queries >= MIN_TEST_QUERIES:
        # Measured on other sessions: only what chance does not explain counts.
        bar = recorded.hit_rate_low * (1.0 - settings.worse_by)
        if ours.hit_rate_high < bar:
            found.append(
                f"Expected HR@20 of at least {bar:.4f} (the published bundle's when it was trained, less"
                f" {settings.worse_by:.0%}), got {hit_rate:.4f}"
            )
    return found
