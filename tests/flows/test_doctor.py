"""What doctor, verify and train say, without a flow."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from flows.catchup import stage_bar
from flows.dead_letters import MAX_RAW_CHARS, DeadLetters, newest_letters, told
from flows.doctor import Finding, examine, lines_of
from flows.training import summary
from recsys.catalog import Item, encode_item
from recsys.events import DeadLetter, Flaw
from recsys.keys import FLOW_KEY, item_key
from recsys.models.bundle import TrainingRange
from recsys.models.evaluation import Metrics
from recsys.open import open_log, open_store
from recsys.ports import NewRecord, Position
from recsys.progress import FOLD_RULES, FlowProgress, encode_progress
from recsys.settings import load_settings
from recsys.stores.sqlite_log import SqliteLog
from recsys.train import TrainReport


def findings(home: Path) -> dict[str, Finding]:
    return {finding.title: finding for finding in examine(load_settings(home), home)}


def test_doctor_needs_no_kernels():
    loaded = "import sys, flows.doctor; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_doctor_creates_nothing(tmp_path):
    home = tmp_path / "home"
    found = findings(home)
    assert not home.exists()
    assert found["log"].detail == "none yet: `headrace up` or an import begins it"
    assert found["state"].ok is None


def test_a_log_without_a_flow_waits(tmp_path):
    settings = load_settings(tmp_path)
    log = open_log(settings.log)
    log.append([NewRecord("a", b"{}", 1)])
    log.close()
    before = sorted(tmp_path.iterdir())
    assert findings(tmp_path)["flow"].detail.startswith("not running, 1 record waits")
    assert sorted(tmp_path.iterdir()) == before


def test_doctor_tells_items_on_offer_from_others(tmp_path):
    store = open_store(load_settings(tmp_path).state)
    items = (Item("a", fed=True), Item("b", fed=True, available=False), Item("c"), Item("d", removed=True))
    store.put_many({item_key(item.id): encode_item(item) for item in items})
    store.close()
    catalogue = findings(tmp_path)["catalogue"]
    assert catalogue == Finding(True, "catalogue", "2 from feeds, 1 known from events only, 1 taken out")


@pytest.mark.parametrize("rules", [FOLD_RULES, FOLD_RULES - 1])
def test_doctor_says_that_an_earlier_version_began_the_state(tmp_path, rules):
    settings = load_settings(tmp_path)
    open_log(settings.log).close()
    store = open_store(settings.state)
    store.put_many({FLOW_KEY: encode_progress(FlowProgress(accepted=1, rules=rules))})
    store.close()
    found = findings(tmp_path).get("rules")
    assert (found is None) == (rules == FOLD_RULES)
    assert found is None or found.detail.startswith(
        "begun by an earlier version: `headrace verify` may differ."
    )


def test_doctor_says_whose_word_the_time_of_receipt_is(tmp_path, monkeypatch):
    open_log(load_settings(tmp_path).log).close()
    assert "  time of receipt" not in findings(tmp_path)
    monkeypatch.setattr(SqliteLog, "receipt_note", lambda _log: "the producer's")
    assert findings(tmp_path)["  time of receipt"] == Finding(None, "  time of receipt", "the producer's")


def test_doctor_names_crowded_devices(tmp_path):
    settings = load_settings(tmp_path)
    log, store = open_log(settings.log), open_store(settings.state)
    log.append([NewRecord("a", b"{}", 1)])
    store.put_many({FLOW_KEY: encode_progress(FlowProgress(crowded=(("bot", 2480), ("kiosk", 3))))})
    log.close()
    store.close()
    assert findings(tmp_path)["crowded devices"] == Finding(
        None,
        "crowded devices",
        "logged in as more than 20 customers; events taken as nobody's: bot (2,480), kiosk (3)",
    )


def test_doctor_tells_wrong_fields_and_late_events_in_words(tmp_path):
    settings = load_settings(tmp_path)
    open_log(settings.log).close()
    store = open_store(settings.state)
    price = Flaw("wrong_type", "$.properties.price", "`float | null`", "`str`", is_repaired=True)
    progress = FlowProgress(accepted=9, late=5, rules=FOLD_RULES, flaws=((price, 1),))
    store.put_many({FLOW_KEY: encode_progress(progress)})
    store.close()
    found = findings(tmp_path)
    assert found["  1 time"].detail == (
        "wrong_type: Expected a number or nothing, got text - at `$.properties.price`, read"
    )
    assert found["  late"] == Finding(
        None,
        "  late",
        "5 came more than 60 s behind newer ones, as the history of a shop does that is imported later: taken"
        " all the same",
    )


def test_what_cannot_be_reached_is_told_once_and_in_its_own_words(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_STATE", "redis://127.0.0.1:1/0")
    told = examine(load_settings(tmp_path, environ=os.environ), tmp_path)
    (state,) = [finding for finding in told if finding.title == "state"]
    assert state.ok is False
    assert not state.detail.startswith("StoreUnavailable")


def test_settings_nobody_could_serve_with_are_found(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("[placements.'home.hero']\nfilter = 'price_now >'\n")
    found = findings(tmp_path)["settings"]
    assert found.ok is False
    assert found.detail.endswith('of `placements."home.hero".filter`')


def test_a_text_model_that_training_would_refuse_is_found(tmp_path: Path) -> None:
    assert "text model" not in findings(tmp_path)
    (tmp_path / "headrace.toml").write_text("[train]\ntext_model = 'gpt'\n")
    found = findings(tmp_path)["text model"]
    assert found.ok is False
    assert found.detail.startswith("Expected `all-minilm-l6-v2` or a folder with ")


def test_findings_are_broken_between_words_for_a_terminal_only():
    finding = Finding(None, "unknown event names", "one, two, \x1b[31mthree")
    assert list(lines_of(finding, None)) == ["-   unknown event names: one, two, \\x1b[31mthree"]
    assert list(lines_of(finding, 32)) == ["-   unknown event names: one,", "      two, \\x1b[31mthree"]


def letter(offset: int, raw: bytes) -> DeadLetter:
    return DeadLetter("wrong_type", "$.x", "`str`", "`int`", raw, Position(0, offset), 0, 1_772_359_200_000)


def test_the_newest_letters_come_first_and_whole(tmp_path):
    path = tmp_path / "dead.db"
    assert newest_letters(path, 2) == ([], 0)
    assert not path.exists()
    letters = DeadLetters(path)
    letters.add([letter(offset, b"{%d}" % offset) for offset in range(3)])
    letters.close()
    newest, count = newest_letters(path, 2)
    assert ([each.raw for each in newest], count) == ([b"{2}", b"{1}"], 3)
    assert told(newest[0]) == (
        "0:2 received 2026-03-01 10:00:00 UTC, wrong_type: Expected `str`, got `int` - at `$.x`",
        "{2}",
    )


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("é\n\x1b[2J".encode() + b"\xff", "é\\n\\x1b[2J\\xff"),
        (b"x" * (MAX_RAW_CHARS + 1), "x" * MAX_RAW_CHARS + "... (2,001 bytes)"),
        (b"x" * 100_000, "x" * MAX_RAW_CHARS + "... (100,000 bytes)"),
    ],
)
def test_a_letter_is_shown_on_one_bounded_line_that_steers_no_terminal(raw, shown):
    assert told(letter(0, raw))[1] == shown


def test_stages_tell_a_line_now_and_then_where_no_terminal_is():
    now_s = 0.0
    out = io.StringIO()
    with stage_bar(Console(file=out), "verify", lines_every_s=10.0, clock=lambda: now_s) as tell:
        for now_s in (0.0, 9.0, 10.0, 11.0, 25.0):
            tell("fold", int(now_s) * 1000, 30_000)
    assert out.getvalue() == "verify: fold 10,000 of 30,000\nverify: fold 25,000 of 30,000\n"


def test_a_stage_of_many_shows_its_rate_and_one_of_per_cents_none():
    now_s = 0.0
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with stage_bar(console, "train", clock=lambda: now_s) as tell:
        for now_s in (5.0, 7.0):
            tell("read", int(now_s - 5) * 1000, 30_000)
    assert "1,000/s" in console.file.getvalue()
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with stage_bar(console, "train", clock=lambda: now_s) as tell:
        for now_s in (8.0, 9.0):
            tell("fit als", int(now_s), 100)
    assert "fit als" in console.file.getvalue()
    assert "/s" not in console.file.getvalue()


def test_training_says_what_it_took():
    learned = TrainingRange(from_s=0.0, to_s=1.0, interactions=9000, persons=7, sessions=8)
    blend = Metrics(0.28, 0.1, 0.1, 0.5, 0.25, 0.31, 0.09, 0.11, 500, 100)
    report = TrainReport("v1", learned, 10, {"blend": blend, "markov": blend}, ())
    first = next(summary(report, 2.0, 1234.4))
    assert first == "model: published v1 in 2.0 s (4,500 interactions/s, peak memory 1,234 MB)"


def test_training_says_how_good_the_bundle_before_was():
    learned = TrainingRange(from_s=0.0, to_s=1.0, interactions=1, persons=1, sessions=1)
    blend = Metrics(0.28, 0.1, 0.1, 0.5, 0.25, 0.31, 0.09, 0.11, 500, 100)
    before = msgspec.structs.replace(blend, hit_rate_at_20=0.705, queries=88)
    report = TrainReport("v2", learned, 10, {"blend": blend, "markov": blend}, (), before)
    own = "  published  HR@20 0.705  MRR@20 0.100  (88 held-out clicks of its own training)"
    assert list(summary(report, 1.0, 500.0))[-1] == own
    asked = msgspec.structs.replace(report, evaluation={**report.evaluation, "published": blend})
    assert own not in list(summary(asked, 1.0, 500.0))


def test_stages_tell_no_lines_where_none_are_asked_for():
    out = io.StringIO()
    with stage_bar(Console(file=out), "train") as tell:
        tell("fit", 1, 2)
    assert out.getvalue() == ""


@pytest.mark.parametrize(("low", "noted"), [(0.30, False), (0.32, True)])
def test_training_says_where_markov_is_clearly_better(low, noted):
    blend = Metrics(0.28, 0.1, 0.1, 0.5, 0.25, 0.31, 0.09, 0.11, 500, 100)
    markov = msgspec.structs.replace(blend, hit_rate_at_20=0.35, hit_rate_low=low, hit_rate_high=0.38)
    learned = TrainingRange(from_s=0.0, to_s=1.0, interactions=1, persons=1, sessions=1)
    report = TrainReport("v1", learned, 10, {"blend": blend, "markov": markov}, ())
    assert any("markov" in line and "note:" in line for line in summary(report, 1.0, 500.0)) is noted


def test_a_server_of_another_log_is_not_ours(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    class Told(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
        def Check(self, request: object, context: grpc.ServicerContext) -> health_pb2.HealthCheckResponse:  # noqa: N802
            context.set_trailing_metadata((("headrace-log-bin", b"sqlite:///elsewhere/log.db"),))
            return health_pb2.HealthCheckResponse(status=1)

    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(Told(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        settings = load_settings(tmp_path, environ={"HEADRACE_SERVER__PORT": str(port)})
        (found,) = [finding for finding in examine(settings, tmp_path) if finding.title == "server"]
    finally:
        server.stop(None)
    assert found.ok is False
    assert "is the server of sqlite:///elsewhere/log.db" in found.detail
