"""Every ProfileStore passes one suite."""

from __future__ import annotations

import time

import pytest
import redis

from tests.contracts.profile_store import ProfileStoreContract
from tests.services import ValkeyServer
from tests.services.process import free_port


@pytest.fixture(scope="module")
def cluster_port(valkey_session, tmp_path_factory):
    """A cluster of one node that serves every slot: still no command may span two slots."""
    server = ValkeyServer(tmp_path_factory.mktemp("cluster"))
    server.process.command += ["--cluster-enabled", "yes"]
    server.start()
    deadline = time.monotonic() + 60
    try:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while (
                client.execute_command("CLUSTER INFO")["cluster_state"] != "ok"
                and time.monotonic() < deadline
            ):
                time.sleep(0.05)
        yield server.port
    finally:
        server.stop()


class TestLmdbStore(ProfileStoreContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"lmdb://{tmp_path}/new/state?map_gb=1"

    @pytest.fixture
    def unavailable_url(self, tmp_path):
        (tmp_path / "nowhere").write_text("a file, not a folder")
        return f"lmdb://{tmp_path}/nowhere/state"


class TestRedisStore(ProfileStoreContract):
    @pytest.fixture
    def url(self, valkey_url):
        return f"{valkey_url}?prefix=shop*:"

    @pytest.fixture
    def unavailable_url(self):
        return f"valkey://127.0.0.1:{free_port()}/0"


class TestRedisClusterStore(ProfileStoreContract):
    @pytest.fixture
    def url(self, cluster_port):
        with redis.Redis(port=cluster_port) as client:
            client.flushall()
        return f"redis+cluster://127.0.0.1:{cluster_port}?prefix=shop:"

    @pytest.fixture
    def unavailable_url(self):
        return f"redis+cluster://127.0.0.1:{free_port()}"
