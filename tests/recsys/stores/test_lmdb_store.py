"""The embedded store beyond its contract: its file, its bounds, one environment a process."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from recsys.ports import StoreUnavailable
from recsys.stores.lmdb_store import EXPIRED_PER_CLAIM, LmdbStore

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "state_v1"


class Clock:
    now_s = 1_700_000_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state"


def test_a_full_map_names_the_setting_and_leaves_nothing(path):
    with closing(LmdbStore(path, map_gb=0.002)) as store:
        with pytest.raises(StoreUnavailable, match=r"raise `map_gb` \(now 0\.002\) in the URL"):
            store.put_many({f"v:{number}": b"x" * 100_000 for number in range(100)})
        assert list(store.scan("")) == []
        store.put_many({"v:a": b"fits"})


def test_stores_on_one_folder_share_an_environment(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    with closing(LmdbStore(path)) as first:
        second = LmdbStore(tmp_path / "link")
        second.put_many({"v:a": b"1"})
        second.close()
        second.close()
        assert first.get_many(["v:a"]) == [b"1"]
    with closing(LmdbStore(path)) as again:
        assert again.get_many(["v:a"]) == [b"1"]


def test_a_fork_opens_its_own(path):
    program = """
import os, sys
from pathlib import Path
from recsys.stores.lmdb_store import LmdbStore
store = LmdbStore(Path(sys.argv[1]))
store.put_many({"v:a": b"parent"})
child = os.fork()
if child == 0:
    own = LmdbStore(Path(sys.argv[1]))
    own.put_many({"v:b": own.get_many(["v:a"])[0]})
    own.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(store.get_many(["v:b"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[b'parent']\n"


def test_what_was_put_survives_kill_9(path):
    program = """
import os, signal, sys
from pathlib import Path
from recsys.stores.lmdb_store import LmdbStore
store = LmdbStore(Path(sys.argv[1]))
for number in range(100):
    store.put_many({f"v:{number}": b"%d" % number})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    with closing(LmdbStore(path)) as store:
        assert store.get_many([f"v:{number}" for number in range(100)]) == [
            b"%d" % number for number in range(100)
        ]


def test_a_claim_stands_until_its_time_and_not_longer(path):
    clock = Clock()
    with closing(LmdbStore(path, clock=clock)) as store:
        store.claim("c:1", b"first", 60)
        clock.now_s += 59.9
        assert store.claim("c:1", b"second", 60) == b"first"
        clock.now_s += 0.1
        assert store.claim("c:1", b"second", 60) == b"second"
        clock.now_s += 59.9
        assert store.claim("c:1", b"third", 60) == b"second"


def test_expired_claims_are_dropped_in_passing(path):
    clock = Clock()
    with closing(LmdbStore(path, clock=clock)) as store:
        for number in range(100):
            store.claim(f"c:{number}", b"x", 60)
        store.put_many({"c:7": b"put over a claim"})
        clock.now_s += 61
        for number in range(100 // EXPIRED_PER_CLAIM + 1):
            store.claim(f"c:new-{number}", b"x", 60)
        left = {key for key, _ in store.scan("c:") if not key.startswith("c:new-")}
        assert left == {"c:7"}


def test_a_journal_is_bounded_while_it_grows(path):
    with closing(LmdbStore(path, journal_kept=100)) as store:
        for batch in range(40):
            store.journal("changed", [f"v:{batch}-{number}" for number in range(17)])
            kept, _ = store.journal_after("changed", "", 10_000)
            assert min(100, (batch + 1) * 17) <= len(kept) <= 200


def test_a_store_of_a_newer_version_is_refused(path):
    LmdbStore(path).close()
    with lmdb.open(str(path), max_dbs=4) as env, env.begin(write=True) as txn:
        txn.put(b"version", b"2", db=env.open_db(b"meta", txn=txn))
    with pytest.raises(StoreUnavailable) as caught:
        LmdbStore(path)
    assert str(caught.value) == (
        f"{path}: Expected a store of version 1 or older, got version 2: a newer Headrace wrote it"
    )


@pytest.mark.skipif(
    sys.byteorder != "little" or struct.calcsize("P") != 8, reason="LMDB's file is of one kind of CPU"
)
def test_reads_the_golden_file(path):
    """Written by version 1; see `_write_golden`."""
    shutil.copytree(GOLDEN, path)
    with closing(LmdbStore(path, map_gb=0.01, clock=Clock())) as store:
        assert dict(store.scan("")) == {"v:anna": b"\x00\xff", "p:ünal": b"", "c:1": b"claimed"}
        assert store.claim("c:1", b"late", 60) == b"claimed"
        assert store.journal_after("changed", "", 10) == (["v:anna", "p:ünal"], "2")


def _write_golden():
    store = LmdbStore(GOLDEN, map_gb=0.001, clock=Clock())
    store.put_many({"v:anna": b"\x00\xff", "p:ünal": b""})
    store.claim("c:1", b"claimed", 60)
    store.journal("changed", ["v:anna", "p:ünal"])
    store.sync()
    store.close()
    (GOLDEN / "lock.mdb").unlink()
