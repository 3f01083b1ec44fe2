"""A state that was lost is noticed by whoever goes on with it, and they are told how to get it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flows.doctor import examine
from flows.recovery import ANEW, StateLost, resumed_progress
from flows.run import run
from flows.verify import verify
from recsys.keys import FLOW_KEY
from recsys.open import open_store
from recsys.progress import FlowProgress, encode_progress
from recsys.settings import Settings
from tests.flows.homes import append, filled, start_flow, taken, wait_for_records

EVENTS = 1500


@pytest.fixture
def done(tmp_path: Path) -> Settings:
    """A home whose flow has taken its whole log."""
    settings = filled(tmp_path, EVENTS)
    run(settings, to_end=True)
    return settings


def folder(url: str) -> Path:
    return Path(url.partition("://")[2])


def test_a_state_that_was_lost_is_noticed_and_can_be_had_again(done: Settings, tmp_path: Path) -> None:
    shutil.rmtree(folder(done.state))
    said = f"Expected a state with the 1,500 events taken, got one with nothing of them. {ANEW}"
    with pytest.raises(StateLost) as refused:
        run(done, to_end=True)
    assert str(refused.value) == said
    report = verify(done)
    assert not report.ok
    assert report.advice == said
    bad = {finding.detail for finding in examine(done, tmp_path) if finding.ok is False}
    assert said in bad
    for path in (done.recovery, done.archive):
        shutil.rmtree(path)
    run(done, to_end=True)
    assert verify(done).ok


def test_a_state_put_back_from_long_ago_is_noticed(done: Settings) -> None:
    store = open_store(done.state)
    kept = taken(done)
    seconds_ago = msgspec.structs.replace(kept, watermark_ms=kept.watermark_ms - 10_000)
    store.put_many({FLOW_KEY: encode_progress(seconds_ago)})
    run(done, to_end=True)  # what a power failure may have taken of it
    minutes_ago = msgspec.structs.replace(kept, accepted=9, watermark_ms=kept.watermark_ms - 100_000)
    store.put_many({FLOW_KEY: encode_progress(minutes_ago)})
    with pytest.raises(StateLost, match="got one with only"):
        run(done, to_end=True)
    store.close()


def test_verify_tells_of_people_that_a_state_has_lost(done: Settings) -> None:
    store = open_store(done.state)
    records = dict(store.scan(""))
    store.close()
    shutil.rmtree(done.state.removeprefix("lmdb://"))
    kept = {key: record for key, record in records.items() if not key.startswith("v:")}
    store = open_store(done.state)
    store.put_many(kept)
    store.close()
    assert verify(done).advice == f"This state has lost {len(records) - len(kept):,} people. {ANEW}"


def test_a_recovery_that_is_just_being_made_has_taken_nothing(tmp_path: Path) -> None:
    (tmp_path / "part-0.sqlite3").touch()
    assert resumed_progress(tmp_path) == FlowProgress()


def test_a_flow_that_was_killed_at_once_has_lost_nothing(tmp_path: Path) -> None:
    settings = filled(tmp_path, EVENTS)
    flow = start_flow(tmp_path, "forever", snapshot_s=60)
    wait_for_records(settings, 100)
    flow.kill()
    flow.wait()
    append(settings, 100, seed=7, skip=EVENTS)
    run(settings, to_end=True)
    assert taken(settings).received == EVENTS + 100
    assert verify(settings).ok


@pytest.mark.parametrize(("asked", "lines"), [("1", False), ("full", True)])
def test_a_failure_is_told_without_the_stack_of_the_engine_unless_that_is_asked_for(
    tmp_path: Path, asked: str, lines: bool
) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from flows.run import run; from recsys.ports import LogUnavailable; from recsys.settings import *\n"
        "from flows.source import LogSource\n"
        "def away(*_): raise LogUnavailable('the log is away')\n"
        "LogSource.build_part = away\n"
        "run(load_settings(Path(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RUST_BACKTRACE": asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the log is away" in done.stderr
    assert ("stack backtrace" in done.stderr) == lines


def test_a_full_disk_is_told_in_a_line(done: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = 'Err value: SqliteFailure(Error { code: DiskFull }, Some("database or disk is full"))'

    def full(*_: object, **__: object) -> None:
        raise RuntimeError(failure)

    monkeypatch.setattr("flows.run.cli_main", full)
    with pytest.raises(OSError, match=r"No space left on device: .*recovery"):
        run(done)
