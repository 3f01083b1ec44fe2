"""The Redis store beyond its contract: a server that comes back, one that is killed, its secrets."""

from __future__ import annotations

import os
import signal
from contextlib import closing

import pytest
import redis

from recsys.open import open_store
from recsys.ports import StoreUnavailable
from tests.services import ValkeyServer


def test_prefixes_keep_two_shops_apart(valkey_url):
    with (
        closing(open_store(f"{valkey_url}?prefix=a:")) as a,
        closing(open_store(f"{valkey_url}?prefix=b:")) as b,
    ):
        a.put_many({"v:1": b"a"})
        b.put_many({"v:1": b"b"})
        b.journal("changed", ["v:1"])
        assert dict(a.scan("")) == {"v:1": b"a"}
        assert a.journal_after("changed", "", 10)[0] == []


def test_a_lost_connection_is_tried_once_more(valkey_url):
    with closing(open_store(valkey_url)) as store, redis.Redis.from_url(valkey_url) as other:
        store.put_many({"v:a": b"1"})
        other.client_kill_filter(_type="normal", skipme=True)
        assert store.get_many(["v:a"]) == [b"1"]


def test_what_was_synced_survives_a_killed_server(valkey_session, tmp_path):
    server = ValkeyServer(tmp_path)
    server.start()
    try:
        with closing(open_store(server.url)) as store:
            store.put_many({f"v:{number}": b"x" for number in range(1000)})
            store.sync()
            server.kill()
            with pytest.raises(StoreUnavailable, match=f"redis://127.0.0.1:{server.port}/0: "):
                store.get_many(["v:1"])
            server.start()
            assert store.get_many([f"v:{number}" for number in range(1000)]) == [b"x"] * 1000
    finally:
        server.stop()


def test_a_server_that_hangs_keeps_one_who_is_in_a_hurry_waiting_and_the_next_not(own_valkey, monkeypatch):
    monkeypatch.setattr("recsys.stores.redis_store.REST_S", 60.0)
    with closing(open_store(own_valkey.url)) as patient, closing(open_store(own_valkey.url, 0.1)) as hurried:
        patient.put_many({"v:a": b"1"})
        assert hurried.get_many(["v:a"]) == [b"1"]
        os.kill(own_valkey.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="Timeout"):
                hurried.get_many(["v:a"])
        finally:
            os.kill(own_valkey.process.pid, signal.SIGCONT)
        assert patient.get_many(["v:a"]) == [b"1"]
        with pytest.raises(StoreUnavailable, match="Timeout"):
            hurried.get_many(["v:a"])


def test_a_server_that_refuses_at_once_is_asked_again(own_valkey, monkeypatch):
    monkeypatch.setattr("recsys.stores.redis_store.REST_S", 60.0)
    own_valkey.kill()
    with closing(open_store(own_valkey.url, 5.0)) as hurried:
        with pytest.raises(StoreUnavailable):
            hurried.get_many(["v:a"])
        own_valkey.start()
        assert hurried.get_many(["v:a"]) == [None]


def test_errors_do_not_tell_the_password(valkey_url):
    url = valkey_url.replace("redis://", "redis://anna:secret@")
    with closing(open_store(url)) as store, pytest.raises(StoreUnavailable) as caught:
        store.get_many(["v:a"])
    assert "redis://127.0.0.1:" in str(caught.value)
    assert "secret" not in str(caught.value)
