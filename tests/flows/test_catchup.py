"""An import waits for the flow that runs, so that what comes next finds what was imported."""

from __future__ import annotations

import fcntl
import io
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from flows.catchup import FlowFailed, follow, import_bar
from flows.imports import run as imports
from flows.imports.append import ImportReport
from flows.run import FlowRunning, flow_lock, is_running, run
from recsys.settings import load_settings
from tests.flows.homes import append, taken


def test_it_is_waited_for_until_the_running_flow_has_read_the_log(tmp_path: Path) -> None:
    settings, looks = load_settings(tmp_path), 0
    append(settings, 300, seed=7, broken=0.05)

    def is_running() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            run(settings, to_end=True)
        return True

    caught = follow(settings, Console(quiet=True), is_running)
    assert caught is not None
    assert (caught.records, caught.dead) == (300, taken(settings).dead)
    assert caught.dead > 0
    assert looks == 2


def test_a_flow_that_stops_on_the_way_is_told(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    append(settings, 10, seed=7)
    assert follow(settings, Console(quiet=True), lambda: False) is None


def test_two_imports_at_once_both_see_their_events_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(tmp_path)
    append(settings, 100, seed=7)
    others = [True, False]

    def too_late(*_: object) -> None:
        # The other import's flow has taken the lock first; it ends where the log ended for it.
        run(settings, to_end=True)
        append(settings, 50, seed=8)
        raise FlowFailed("another flow runs")

    monkeypatch.setattr(imports, "catch_up", too_late)
    monkeypatch.setattr(imports, "is_running", lambda _: others.pop() if others else True)
    monkeypatch.setattr(imports, "follow", lambda settings, *_: run(settings, to_end=True) or "caught")
    assert imports._folded(settings, (), Console(quiet=True)) == "caught"
    assert taken(settings).received == 150


def test_to_look_whether_a_flow_runs_keeps_none_from_starting(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with flow_lock(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(FlowRunning), flow_lock(tmp_path):
            pass
    assert not is_running(tmp_path)
    with (tmp_path / "flow.lock").open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        threading.Thread(target=lambda: (time.sleep(0.1), fcntl.flock(looked_at, fcntl.LOCK_UN))).start()
        with flow_lock(tmp_path):
            pass


@pytest.mark.parametrize(("total", "shown"), [(None, " 1,200 "), (5000, " 1200/5000 ")])
def test_a_bar_counts_without_a_total_that_nobody_knows(total: int | None, shown: str) -> None:
    screen = Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)
    with import_bar(screen, "visits", total) as tell:
        tell(ImportReport(read=1200))
    told = screen.file.getvalue()  # type: ignore[attr-defined]
    assert shown in told
    assert "?" not in told.replace("\x1b[?25", "")
