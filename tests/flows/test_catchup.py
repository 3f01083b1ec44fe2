"""An import waits for the flow that runs, so that what comes next finds what was imported."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flows.catchup import follow
from flows.run import run
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
