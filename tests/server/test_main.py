"""The supervisor and its processes, on the embedded log and state."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import msgspec
import pytest

from recsys.open import open_log, open_store
from recsys.settings import ServerSettings, Settings, SettingsError
from server.main import serve
from server.metrics import figures_folder
from server.pb import headrace_pb2 as pb
from server.pb.headrace_pb2_grpc import HeadraceStub
from tests.server.shop import catalogue, put_items, until

EMAIL = pb.GetBlocksRequest(slots=[pb.Slot(placement="email.digest")], user_id="ann", render_id="spring/1")
REQUEST = pb.GetBlocksRequest(slots=[pb.Slot(placement="home.hero")])


def settings_of(home: Path, **server: Any) -> Settings:
    return Settings(
        log=f"sqlite://{home}/log.db",
        state=f"lmdb://{home}/state?map_gb=0.05",
        bundles=str(home / "bundles"),
        server=msgspec.structs.replace(ServerSettings(port=0, metrics_port=free_port()), **server),
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(home: Path, settings: Settings) -> Iterator[tuple[int, int]]:
    stopping, ready, ports = Event(), Event(), []

    def on_ready(port: int, metrics_port: int) -> None:
        ports.extend((port, metrics_port))
        ready.set()

    codes: list[int] = []
    thread = Thread(target=lambda: codes.append(serve(settings, home, stopping, on_ready)))
    thread.start()
    try:
        until(lambda: ready.is_set() or not thread.is_alive(), 60)
        assert ready.is_set()
        yield ports[0], ports[1]
    finally:
        stopping.set()
        thread.join(60)
    assert codes == [0]


@contextmanager
def client(port: int) -> Iterator[HeadraceStub]:
    # A connection of its own: with several processes each connection may meet another one.
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield HeadraceStub(channel)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with closing(open_store(settings_of(tmp_path).state)) as store:
        put_items(store, catalogue())
    return tmp_path


def figures(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return str(page.read().decode())


def pids_of(port: int) -> set[str]:
    lines = [line for line in figures(port).splitlines() if line.startswith("headrace_model_info{")]
    return {line.split('pid="')[1].split('"')[0] for line in lines}


def test_two_processes_share_a_port_and_survive_the_death_of_one(home: Path) -> None:
    settings = settings_of(home, processes=2)
    with serving(home, settings) as (port, metrics_port):
        for _ in range(8):
            with client(port) as one:
                assert one.GetBlocks(REQUEST, timeout=10).blocks[0].items
        emails = set()
        for _ in range(8):
            with client(port) as one:
                emails.add(one.GetBlocks(EMAIL, timeout=10).blocks[0].SerializeToString())
        assert len(emails) == 1
        with client(port) as one:
            event = b'{"type":"page","anonymousId":"v1"}'
            assert one.Track(pb.TrackRequest(events=[event]), timeout=10).receipts[0].position
        answered = 'headrace_requests_total{code="OK",rpc="GetBlocks"} 16.0'
        page = until(
            lambda: (
                "headrace_served_logged_total 9.0" in (page := figures(metrics_port))
                and answered in page  # summed by each process now and then
                and page
            )
        )
        assert "headrace_catalogue_items 35.0" in page
        before = pids_of(metrics_port)
        assert len(before) == 2
        os.kill(int(min(before)), signal.SIGKILL)
        until(lambda: len(pids_of(metrics_port) - before) == 1, 30)
        with client(port) as one:
            assert one.GetBlocks(REQUEST, timeout=10, wait_for_ready=True).blocks
        after = pids_of(metrics_port)
    assert not any(_is_running(pid) for pid in before | after)
    assert not figures_folder(home, port).exists()
    with closing(open_log(settings.log)) as log:  # what was served was logged before the end
        served = [record for record in log.reader().read(100) if record.key.startswith("headrace:served:")]
    assert len(served) == 10


def test_a_port_in_use_is_told(home: Path) -> None:
    with serving(home, settings_of(home)) as (port, metrics_port):
        with pytest.raises(SettingsError) as caught:
            serve(settings_of(home, port=port), home)
        assert str(caught.value) == (
            f"Expected a port that can be had, got `Address already in use` - at `server.port` = {port}"
        )
        with pytest.raises(SettingsError, match=f"at `server.metrics_port` = {metrics_port}"):
            serve(settings_of(home, metrics_port=metrics_port), home)


def test_open_to_others_without_keys_it_refuses_to_start(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"got none - at `server\.keys`"):
        serve(settings_of(home, host="0.0.0.0"), home)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"processes": 0}, "Expected at least 1, got 0 - at `server.processes`"),
        ({"port": 70_000}, "Expected a port of 0 to 65535, got 70000 - at `server.port`"),
        (
            {"host": "no.such.host.invalid", "keys": {"k" * 20: "read"}},
            "- at `server.host` = `no.such.host.invalid`",
        ),
    ],
)
def test_settings_nobody_could_serve_with(home: Path, setting: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        serve(settings_of(home, **setting), home)


def test_what_can_never_start_ends(home: Path) -> None:
    settings = msgspec.structs.replace(settings_of(home), log="nonsense://x")
    assert serve(settings, home) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_end_leaves_no_process_behind(home: Path, how: signal.Signals) -> None:
    settings = settings_of(home)
    program = textwrap.dedent("""
        import sys, msgspec
        from pathlib import Path
        from recsys.settings import Settings
        from server.main import serve
        settings = msgspec.json.decode(sys.argv[1], type=Settings)
        sys.exit(serve(settings, Path(sys.argv[2]), on_ready=lambda *ports: print(*ports, flush=True)))
    """)
    command = [sys.executable, "-c", program, msgspec.json.encode(settings).decode(), str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            port, metrics_port = map(int, process.stdout.readline().split())
            (worker,) = pids_of(metrics_port)
            with client(port) as one:
                assert one.GetBlocks(REQUEST, timeout=10).blocks
            process.send_signal(how)
            assert process.wait(40) == (0 if how is not signal.SIGKILL else -signal.SIGKILL)
            until(lambda: not _is_running(worker), 40)
        finally:
            process.kill()


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"  # a zombie that nobody has waited for does not run
