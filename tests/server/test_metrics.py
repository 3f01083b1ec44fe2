"""Where figures lie, and how a process that is gone is told of."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from server import metrics
from server.metrics import figures_folder
from server.workers import ending_of


def test_figures_lie_in_memory_where_there_is_a_folder_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SHARED_MEMORY", tmp_path)
    one, other = figures_folder(tmp_path / "one", 7007), figures_folder(tmp_path / "other", 7007)
    assert one.parent == other.parent == tmp_path
    assert one != other
    monkeypatch.setattr(metrics, "SHARED_MEMORY", tmp_path / "missing")
    assert figures_folder(tmp_path / "one", 7007) == tmp_path / "one" / "metrics-7007"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1, {"code": 1}),
        (-signal.SIGBUS, {"signal": "SIGBUS", "perhaps": "is the disk full?"}),
        (-signal.SIGSEGV, {"signal": "SIGSEGV"}),
    ],
)
def test_a_signal_that_ended_a_process_is_named(code: int, told: dict[str, object]) -> None:
    assert ending_of(code) == told
