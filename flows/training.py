"""`headrace train` for one home: catalogue and archive -> bundle, with progress, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from flows.catchup import stage_bar
from flows.memory import peak_mb
from recsys import archive
from recsys.catalog import Item, decode_item
from recsys.keys import ITEM_PREFIX
from recsys.models.evaluation import Metrics
from recsys.open import open_store
from recsys.settings import Settings, TrainSettings
from recsys.train import TrainReport, train
from recsys.training_data import INTERACTIONS

_DAY_MS = 86_400_000


def train_home(settings: Settings, console: Console, *, force: bool = False) -> TrainReport:
    """Train and publish, telling how it goes. Raises TrainRefused."""
    began_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
    store = open_store(settings.state)
    try:
        items: list[Item] = [decode_item(record) for _, record in store.scan(ITEM_PREFIX)]
    finally:
        store.close()
    archived = Path(settings.archive)
    with stage_bar(console, "train") as tell:
        report = train(
            archived,
            Path(settings.bundles),
            items,
            _as_of(settings.train, archived, now_ms),
            now_ms,
            tell,
            headrace=_version(),
            force=force,
        )
    for line in summary(report, time.monotonic() - began_s, peak_mb()):
        # Not broken here: a supervisor's terminal, or a file, has other columns.
        console.print(line, highlight=False, soft_wrap=True)
    return report


def summary(report: TrainReport, seconds: float, memory_mb: float) -> Iterator[str]:
    """What was published, how good it is and what it took, in a few lines; `memory_mb` at its peak."""
    learned = report.training
    yield (
        f"model: published {report.version} in {seconds:.1f} s ({learned.interactions / seconds:,.0f}"
        f" interactions/s, peak memory {memory_mb:,.0f} MB)"
    )
    yield (
        f"  {learned.interactions:,} interactions of {learned.persons:,} ids"
        f" in {learned.sessions:,} sessions, {report.n_items:,} items"
    )
    for name, metrics in report.evaluation.items():
        yield _figures(name, metrics, "")
    if "published" not in report.evaluation and report.recorded is not None:
        # It has learned from some of the clicks held out now.
        yield _figures("published", report.recorded, " of its own training")
    blend, markov = report.evaluation["blend"], report.evaluation["markov"]
    if markov.hit_rate_low > blend.hit_rate_high:  # 95 % intervals apart: not by chance
        yield "  note: markov, which only counts what follows what, is clearly better than the blend here:"
        yield "  give `neighbours` and `item_to_item` more weight in the placements' sources"
    yield from (f"  forced in spite of: {objection}" for objection in report.objections)


def _figures(name: str, metrics: Metrics, whose: str) -> str:
    return (
        f"  {name:10} HR@20 {metrics.hit_rate_at_20:.3f}  MRR@20 {metrics.mrr_at_20:.3f}"
        f"  ({metrics.queries:,} held-out clicks{whose})"
    )


def _as_of(settings: TrainSettings, archived: Path, now_ms: int) -> TrainSettings:
    """`days` counts from the newest event of the archive: last year's events, imported today, are
    history to learn from as well. And where too few came since, from the newest one before which there is
    enough: the first clicks of a shop that has just opened here do not put its history out of reach."""
    # Where a shop is open the last day tells; else the whole archive is looked through.
    if _times(archived, now_ms - _DAY_MS).size >= settings.min_events:
        return settings
    at_ms, least = np.sort(_times(archived, None)), max(settings.min_events, 1)
    # How many lie within `days` before each, it included.
    enough = np.arange(1, len(at_ms) + 1) - np.searchsorted(at_ms, at_ms - settings.days * _DAY_MS) >= least
    newest_ms = int(at_ms[enough][-1]) if enough.any() else int(at_ms.max(initial=0))
    behind_days = (now_ms - newest_ms) // _DAY_MS if newest_ms else 0
    return msgspec.structs.replace(settings, days=settings.days + max(behind_days, 0))


def _times(archived: Path, since_ms: int | None) -> npt.NDArray[np.int64]:
    """When interactions at or after `since_ms` happened, in no order; 8 bytes each."""
    kinds, found = pa.array([int(action) for action in INTERACTIONS], "int8"), [np.empty(0, np.int64)]
    for batch in archive.read(archived, ("at_ms", "action"), since_ms):
        known = batch.filter(pc.is_in(batch["action"], kinds))
        found.append(known["at_ms"].to_numpy())
    return np.concatenate(found)


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:  # run from the tree
        return ""
