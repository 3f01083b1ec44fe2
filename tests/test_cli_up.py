"""`headrace up`: everything a home needs, once a home, until a signal."""

import json
import signal
import subprocess
import sys
import time

import pytest

from server.up import free_ports
from tests.commands import PROGRAM, run

pytestmark = pytest.mark.usefixtures("no_settings_from_outside")


def test_up_runs_everything_once_a_home_and_stops_on_a_signal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_SERVER__METRICS_PORT", "0")
    monkeypatch.setenv("HEADRACE_SERVER__PORT", str(free_ports(1)[0]))
    command = [sys.executable, str(PROGRAM), "--home", str(tmp_path), "up"]
    with (tmp_path / "out").open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as up:
        try:
            _until(lambda: run(tmp_path, "track", "view", "P-1", "--as", "anna") == 0)
            position = capsys.readouterr().out.split()[0]
            assert run(tmp_path, "ask", "home.hero", "--as", "anna", "--after", position, "--json") == 0
            answer = json.loads(capsys.readouterr().out)
            assert answer["blocks"][0]["freshness"]["reached"] is True
            assert answer["person"]["person"] == "a:anna"
            assert run(tmp_path, "ask", "home.hero", "--as", "anna", "--json", "--why-not", "P-1") == 0
            (account,) = json.loads(capsys.readouterr().out)["explained"]
            assert account["block"]["placement"] == "home.hero"
            assert run(tmp_path, "explain", answer["blocks"][0]["decision_id"]) == 0
            assert "known as a:anna" in capsys.readouterr().out
            # Ids are no words of a console's own: `:heart:` is not a heart.
            assert run(tmp_path, "track", "view", "P-1", "--as", ":heart:") == 0
            position = capsys.readouterr().out.split()[0]
            assert run(tmp_path, "ask", "--as", ":heart:", "--after", position, "--why") == 0
            assert "a::heart:" in capsys.readouterr().out
            assert run(tmp_path, "ask", "home.nowhere") == 2
            capsys.readouterr()
            assert run(tmp_path, "ask", "product.similar", "--item", "P-1") == 0
            assert capsys.readouterr().err == ""
            assert run(tmp_path, "ask", "product.similar", "--item", "nope") == 0
            assert capsys.readouterr().err == "headrace: the catalogue has no item `nope`\n"
            assert run(tmp_path, "ask", "--market", "Germany") == 0
            assert capsys.readouterr().err == ""
            assert run(tmp_path, "ask", "--market", "Germoney") == 0
            unknown = "headrace: `Germoney` is no country, and no item names such a market\n"
            assert capsys.readouterr().err == unknown
            assert run(tmp_path / "second", "ask") == 0
            warned = capsys.readouterr().err
            assert warned.startswith("headrace: 127.0.0.1:")
            assert (
                f"is the server of `sqlite://{tmp_path}/log.db`, not of `sqlite://{tmp_path}/second" in warned
            )
            assert not (tmp_path / "second").exists()
            assert run(tmp_path, "up") == 1
            assert run(tmp_path, "flow") == 1
        finally:
            up.send_signal(signal.SIGTERM)
            assert up.wait(60) == 0
    assert "headrace: all stopped" in (tmp_path / "out").read_text()
    capsys.readouterr()
    assert run(tmp_path, "ask") == 1  # nobody answers any more


def test_up_starts_nothing_with_settings_that_nobody_can_serve_with(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_SERVER__HOST", "0.0.0.0")
    assert run(tmp_path, "up") == 2
    assert "Expected keys, got none - at `server.keys`" in capsys.readouterr().err
    monkeypatch.delenv("HEADRACE_SERVER__HOST")
    monkeypatch.setenv("HEADRACE_LOG", "kafak://x")
    for words in (["up"], ["config", "show"]):
        assert run(tmp_path, *words) == 2
        assert "got scheme `kafak` - at `log`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def _until(condition) -> None:
    end_s = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.2)
