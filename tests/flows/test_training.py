"""Which part of the archive a training reads."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from flows.training import _as_of
from recsys.events import Action
from recsys.settings import TrainSettings
from tests.recsys.test_training_data import write

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000


def shop(archive: Path, *spans: tuple[int, int]) -> None:
    """So many days ago so many views, an hour from each other."""
    for seq, (days, count) in enumerate(spans):
        last_ms = NOW_MS - days * DAY_MS
        rows = [(last_ms - at * 3_600_000, "v", "a:v", last_ms, Action.VIEW, ["x"]) for at in range(count)]
        day = datetime.fromtimestamp(last_ms / 1000, timezone.utc).date().isoformat()
        write(archive, day, rows, seq)


@pytest.mark.parametrize(
    ("spans", "days"),
    [
        ([], 180),
        ([(0, 200)], 180),
        ([(3, 200)], 183),
        ([(900, 200)], 1080),
        ([(900, 200), (0, 4)], 1080),  # a history of long ago, and the first clicks of today
        ([(900, 200), (30, 70), (0, 70)], 180),  # enough came since, if not in a day
        ([(900, 40), (0, 4)], 180),  # never enough: the newest tell what is missing
    ],
)
def test_history_of_long_ago_is_learned_from_until_there_is_enough_of_its_own(
    tmp_path: Path, spans: list[tuple[int, int]], days: int
) -> None:
    shop(tmp_path, *spans)
    assert _as_of(TrainSettings(days=180, min_events=100), tmp_path, NOW_MS).days == days
