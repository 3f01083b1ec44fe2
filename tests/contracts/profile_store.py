"""What every ProfileStore promises."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys.open import open_store
from recsys.ports import JournalTrimmed, StoreUnavailable
from tests.contracts.processes import running

PATIENCE_S = 60


class ProfileStoreContract:
    """Subclasses give `url`, of an empty store, and `unavailable_url`."""

    @pytest.fixture
    def store(self, url):
        store = open_store(url)
        yield store
        store.close()

    def test_empty(self, store):
        assert store.get_many([]) == []
        assert store.get_many(["v:anna"]) == [None]
        assert list(store.scan("")) == []
        store.put_many({})

    def test_put_replaces_and_get_keeps_the_order_of_keys(self, store):
        store.put_many({"v:a": b"1", "v:b": b"2", "p:a": b""})
        store.put_many({"v:b": b"two"})
        assert store.get_many(["v:b", "v:none", "p:a", "v:a", "v:b"]) == [b"two", None, b"", b"1", b"two"]

    def test_any_bytes_and_any_key(self, store):
        records = {
            "v:Jürgen": bytes(range(256)),
            "v:訪問者": b"\x00",
            "v:🦊": b"\x01" * 9,
            "v:a b*c?d[e]\\f": b"glob",
            "v:" + "x" * 398: b"long",
            "v:large": b"x" * 1_000_000,
        }
        store.put_many(records)
        assert store.get_many(list(records)) == list(records.values())
        assert dict(store.scan("v:")) == records

    def test_many_at_once(self, store):
        records = {f"v:{number}": f"{number}".encode() * 20 for number in range(3000)}
        store.put_many(records)
        assert store.get_many(list(records)) == list(records.values())
        assert dict(store.scan("v:")) == records

    def test_scan_takes_the_prefix_literally(self, store):
        keys = ["v:a", "v:ab", "v:b", "v", "w:a", "v:*", "v:*x", "v:[a]", "v:a\\b", "v:\U0010ffff"]
        store.put_many({key: key.encode() for key in keys})
        for prefix in ("v:", "v:a", "v:*", "v:[a]", "v:a\\", "", "v:\U0010ffff", "x"):
            expected = {key: key.encode() for key in keys if key.startswith(prefix)}
            assert dict(store.scan(prefix)) == expected

    def test_scan_while_others_write(self, store):
        kept = {f"v:{number:05}": b"x" * 100 for number in range(3000)}
        store.put_many(kept)
        seen = {}
        for number, (key, value) in enumerate(store.scan("v:")):
            seen[key] = value
            if number % 100 == 0:
                store.put_many({f"v:new-{number}": b"new"})
        assert kept.items() <= seen.items()

    def test_another_opening_sees_it(self, url, store):
        store.put_many({"v:a": b"1"})
        other = open_store(url)
        assert other.get_many(["v:a"]) == [b"1"]
        other.put_many({"v:a": b"2"})
        other.close()
        assert store.get_many(["v:a"]) == [b"2"]

    def test_claim(self, store):
        assert store.claim("c:1", b"first", 1000) == b"first"
        assert store.claim("c:1", b"second", 1000) == b"first"
        assert store.get_many(["c:1"]) == [b"first"]
        assert dict(store.scan("c:")) == {"c:1": b"first"}

    def test_claims_of_many_are_claims_of_each(self, store):
        store.claim("c:2", b"before", 1000)
        claims = [(f"c:{number}", b"%d" % number) for number in range(1, 4)]
        assert store.claim_many(claims, 1000) == [b"1", b"before", b"3"]
        assert store.claim_many(claims[::-1], 1000) == [b"3", b"before", b"1"]
        assert store.get_many(["c:1", "c:2", "c:3"]) == [b"1", b"before", b"3"]
        assert store.claim_many([], 1000) == []

    def test_claim_finds_a_record_that_was_put(self, store):
        store.put_many({"c:1": b"put"})
        assert store.claim("c:1", b"claimed", 1) == b"put"

    def test_a_claim_expires(self, store):
        store.claim("c:1", b"first", 1)
        deadline = time.monotonic() + PATIENCE_S
        while (stored := store.claim("c:1", b"second", 1000)) != b"second" and time.monotonic() < deadline:
            assert stored == b"first"
            time.sleep(0.05)
        assert store.claim("c:1", b"third", 1000) == b"second"

    def test_a_put_over_a_claim_does_not_expire(self, store):
        store.claim("c:1", b"claimed", 1)
        store.claim("c:clock", b"first", 1)
        store.put_many({"c:1": b"put"})
        deadline = time.monotonic() + PATIENCE_S
        while store.claim("c:clock", b"second", 1000) != b"second" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert store.claim("c:1", b"late", 1000) == b"put"

    def test_threads_claim_one_winner(self, store):
        with ThreadPoolExecutor(8) as pool:
            for number in range(20):
                key = f"c:{number}"
                stored = list(
                    pool.map(lambda name, key=key: store.claim(key, name, 60), [b"%d" % n for n in range(8)])
                )
                assert len(set(stored)) == 1

    def test_processes_claim_one_winner(self, url, store):
        with running("claimer", url, "a", 200) as first, running("claimer", url, "b", 200) as second:
            for process in (first, second):
                assert process.stdout.readline() == "ready\n"
            for process in (first, second):
                process.stdin.write("go\n")
                process.stdin.flush()
            stored = [process.stdout.read().split() for process in (first, second)]
        assert stored[0] == stored[1]
        assert stored[0] == [value.decode() for value in store.get_many([f"c:{n}" for n in range(200)])]

    def test_journal(self, store):
        store.journal("changed", ["v:a", "v:Jürgen"])
        store.journal("other", ["v:x"])
        store.journal("changed", ["v:a"])
        store.journal("changed", [])
        entries, cursor = store.journal_after("changed", "", 2)
        assert entries == ["v:a", "v:Jürgen"]
        entries, cursor = store.journal_after("changed", cursor, 10)
        assert entries == ["v:a"]
        assert cursor == store.journal_end("changed")
        assert store.journal_after("changed", cursor, 10) == ([], cursor)
        store.journal("changed", ["v:later"])
        assert store.journal_after("changed", cursor, 10)[0] == ["v:later"]

    def test_a_journal_is_no_record(self, store):
        store.journal("changed", ["v:a"])
        store.put_many({"v:a": b"1"})
        assert dict(store.scan("")) == {"v:a": b"1"}

    def test_an_empty_journal(self, store):
        end = store.journal_end("changed")
        assert store.journal_after("changed", "", 10) == ([], end)
        assert store.journal_after("changed", end, 10) == ([], end)
        store.journal("changed", ["v:a", "v:b"])
        assert store.journal_after("changed", end, 10)[0] == ["v:a", "v:b"]

    def test_names_of_journals_do_not_overlap(self, store):
        store.journal("a", ["v:1"])
        store.journal("ab", ["v:2"])
        store.journal("a", ["v:3"])
        assert store.journal_after("a", "", 10)[0] == ["v:1", "v:3"]
        assert store.journal_after("ab", "", 10)[0] == ["v:2"]

    def test_a_trimmed_journal_says_so(self, store):
        store._journal_kept = 500
        beginning = store.journal_end("changed")
        store.journal("changed", ["v:first"])
        _, early = store.journal_after("changed", "", 1)
        keys = [f"v:{number}" for number in range(5000)]
        for start in range(0, 5000, 50):
            store.journal("changed", keys[start : start + 50])
        for cursor in (beginning, early):
            with pytest.raises(JournalTrimmed, match="journal `changed`"):
                store.journal_after("changed", cursor, 10)
        kept, cursor = store.journal_after("changed", "", 10_000)
        assert 500 <= len(kept) <= 1500
        assert kept == keys[-len(kept) :]
        assert cursor == store.journal_end("changed")

    def test_a_cursor_of_nonsense_is_refused(self, store):
        with pytest.raises(ValueError, match=r"Expected a journal cursor like `.*`, got `yesterday`"):
            store.journal_after("changed", "yesterday", 1)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("", "Expected a key of 1 to 400 bytes of UTF-8, got 0 - at ``"),
            ("v:" + "x" * 399, "Expected a key of 1 to 400 bytes of UTF-8, got 401 - at `v:xxx"),
            ("ü" * 201, "Expected a key of 1 to 400 bytes of UTF-8, got 402 - at `üüü"),
            ("\ud800", r"Expected a key of valid Unicode, got '\\ud800'"),
        ],
    )
    def test_keys_out_of_limits(self, store, key, message):
        for use in (
            lambda: store.get_many(["v:fine", key]),
            lambda: store.put_many({"v:fine": b"", key: b""}),
            lambda: store.claim(key, b"", 1),
            lambda: store.journal("changed", [key]),
        ):
            with pytest.raises(ValueError, match=message):
                use()
        assert store.get_many(["v:fine"]) == [None]

    def test_values_out_of_limits(self, store):
        store.put_many({"v:fine": b"x" * 8_388_608})
        for use in (
            lambda: store.put_many({"v:a": b"", "v:b": b"x" * 8_388_609}),
            lambda: store.claim("v:b", b"x" * 8_388_609, 1),
        ):
            with pytest.raises(
                ValueError, match="Expected a value of at most 8388608 bytes, got 8388609 - at `v:b`"
            ):
                use()
        assert store.get_many(["v:a"]) == [None]

    def test_sync(self, store):
        store.put_many({"v:a": b"1"})
        store.sync()
        assert store.get_many(["v:a"]) == [b"1"]
        assert dict(store.scan("")) == {"v:a": b"1"}

    def test_closed(self, url):
        store = open_store(url)
        store.close()
        store.close()
        with pytest.raises(StoreUnavailable, match="the store is closed"):
            store.get_many(["v:a"])

    def test_unavailable(self, unavailable_url):
        with pytest.raises(StoreUnavailable, match=r"nowhere|onnect"):
            open_store(unavailable_url).get_many(["v:a"])
