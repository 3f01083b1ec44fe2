"""Bundles and the flow's lag, as a running server follows them."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recsys.block import Block
from recsys.decide import decide_all
from recsys.keys import FLOW_KEY
from recsys.models.bundle import TrainingRange
from recsys.models.publish import Draft, set_current
from recsys.ports import NewRecord
from recsys.progress import FlowProgress, encode_progress
from server.flowlag import SILENT_MS, FlowLag
from server.pb import headrace_pb2 as pb
from tests.fakes import MemoryLog, MemoryStore
from tests.recsys.models.toys import small_models
from tests.server.shop import Shop, product, put_items, put_visitor, until, viewed

_, MODELS = small_models()
REQUEST = pb.GetBlocksRequest(slots=[pb.Slot(placement="home.feed")], anonymous_id="v1")


def publish(folder: Path, created_at_s: int) -> str:
    with Draft(folder / "bundles") as draft:
        draft.write(
            MODELS,
            headrace="test",
            created_at_ms=created_at_s * 1000,
            training=TrainingRange(),
            evaluation={},
        )
        draft.publish(keep=100)
        return draft.version


def served_by(shop: Shop) -> str:
    return shop.client.GetBlocks(REQUEST, timeout=5).blocks[0].model_version


class TestBundles:
    def test_the_current_bundle_serves_from_the_start(self, tmp_path: Path, store: MemoryStore) -> None:
        version = publish(tmp_path, 1)
        with Shop(tmp_path, store=store).open() as shop:
            assert served_by(shop) == version

    def test_a_new_one_is_swapped_in(self, tmp_path: Path, shop: Shop) -> None:
        assert served_by(shop) == ""
        version = publish(tmp_path, 2)
        assert until(lambda: served_by(shop) == version)
        assert shop.figure("headrace_bundle_loads_total", outcome="loaded") == 1

    def test_a_broken_one_leaves_the_old_one_serving(self, tmp_path: Path, shop: Shop) -> None:
        good = publish(tmp_path, 2)
        until(lambda: served_by(shop) == good)
        bad = publish(tmp_path / "elsewhere", 3)
        (tmp_path / "elsewhere" / "bundles" / bad).rename(tmp_path / "bundles" / bad)
        largest = max((tmp_path / "bundles" / bad).rglob("*.npy"), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
        set_current(tmp_path / "bundles", bad)
        until(lambda: shop.figure("headrace_bundle_loads_total", outcome="broken"))
        assert served_by(shop) == good
        better = publish(tmp_path, 4)
        assert until(lambda: served_by(shop) == better)
        assert shop.figure("headrace_bundle_loads_total", outcome="broken") == 1

    def test_a_broken_pointer_leaves_the_old_one_serving(self, tmp_path: Path, shop: Shop) -> None:
        good = publish(tmp_path, 2)
        until(lambda: served_by(shop) == good)
        (tmp_path / "bundles" / "current").write_text("../somewhere")
        until(lambda: shop.figure("headrace_bundle_loads_total", outcome="broken"))
        assert served_by(shop) == good

    def test_no_request_fails_while_bundles_and_items_change(
        self, tmp_path: Path, store: MemoryStore
    ) -> None:
        put_visitor(store, "v1", viewed("p3", "i4", at_ms=1_700_000_000_000))
        versions = [publish(tmp_path, number) for number in range(1, 5)]
        stop, failures, seen = Event(), [], set()

        def keep_asking() -> None:
            try:
                while not stop.is_set():
                    answer = shop.client.GetBlocks(REQUEST, timeout=10)
                    assert len(answer.blocks[0].items) == 20
                    seen.add(answer.blocks[0].model_version)
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not happen)
                failures.append(error)

        with Shop(tmp_path, store=store).open() as shop:
            askers = [Thread(target=keep_asking) for _ in range(4)]
            for asker in askers:
                asker.start()
            for round_number in range(3):
                for version in versions:
                    set_current(tmp_path / "bundles", version)
                    put_items(store, [product(100 + round_number * 50 + number) for number in range(50)])
                    until(lambda version=version: shop.running.live.model_version == version)
            stop.set()
            for asker in askers:
                asker.join()
        assert failures == []
        assert set(versions) <= seen | {versions[-1]}
        assert len(seen) > 1


class TestFlowLag:
    def test_unknown_without_a_flow(self) -> None:
        assert FlowLag().see(None, {0: 5}, 1000) == -1

    def test_none_when_everything_is_taken(self) -> None:
        assert FlowLag().see(FlowProgress(partitions=((0, 5),)), {0: 5}, 1000) == 0

    def test_grows_from_when_the_log_was_seen_to_be_ahead(self) -> None:
        lag, progress = FlowLag(), FlowProgress(partitions=((0, 5),))
        lag.see(progress, {0: 5}, 1000)
        assert lag.see(progress, {0: 6}, 2000) == 0
        assert lag.see(progress, {0: 9}, 2600) == 600
        assert lag.see(FlowProgress(partitions=((0, 6),)), {0: 9}, 2800) == 200
        assert lag.see(FlowProgress(partitions=((0, 9),)), {0: 9}, 2900) == 0

    def test_a_server_that_finds_the_flow_behind_counts_from_its_newest_record(self) -> None:
        progress = FlowProgress(partitions=((0, 5),), watermark_ms=400)
        assert FlowLag().see(progress, {0: 6}, 1000) == 600

    def test_is_unknown_where_the_flow_has_fallen_silent_and_has_grown_when_it_is_back(self) -> None:
        lag, progress = FlowLag(), FlowProgress(partitions=((0, 5),), written_ms=1000)
        assert lag.see(progress, {0: 5}, 1000) == 0
        assert lag.see(progress, {0: 6}, 1000 + SILENT_MS) == 0
        assert lag.see(progress, {0: 6}, 1001 + SILENT_MS) == -1
        back = msgspec.structs.replace(progress, written_ms=3000 + SILENT_MS)
        assert lag.see(back, {0: 6}, 3000 + SILENT_MS) == 2000

    @given(st.integers(1, 5000))
    def test_is_bounded_and_true_while_the_flow_stands_still(self, ticks: int) -> None:
        lag, progress = FlowLag(), FlowProgress(partitions=((0, 0),))
        lag.see(progress, {0: 0}, 0)
        for tick in range(1, ticks + 1):
            beating = msgspec.structs.replace(progress, written_ms=tick * 10)
            lag.see(beating, {0: tick}, tick * 10)
        assert lag.lag_ms == (ticks - 1) * 10
        assert len(lag._marks) <= 1025

    def test_blocks_tell_it(self, shop: Shop) -> None:
        assert shop.client.GetBlocks(REQUEST).blocks[0].freshness.flow_lag_ms == -1
        (position,) = shop.log.append([NewRecord("v1", b"{}", 0)])
        until(shop.served)
        ends = tuple(shop.log.end().items())
        beating = FlowProgress(partitions=ends, written_ms=time.time_ns() // 1_000_000)
        shop.store.put_many({FLOW_KEY: encode_progress(beating)})
        until(lambda: shop.running.live.flow.lag_ms == 0)
        assert shop.client.GetBlocks(REQUEST).blocks[0].freshness.flow_lag_ms == 0
        assert until(lambda: shop.running.live.flow.lag_ms > 0)  # that block waits in the log
        assert position.offset == 0

    def test_an_unreadable_progress_is_unknown(self, shop: Shop) -> None:
        shop.store.put_many({FLOW_KEY: b"\xff"})
        until(lambda: shop.figure("headrace_refresh_failures_total", of="flow"))
        assert shop.running.live.flow.lag_ms == -1


def test_a_full_house_is_refused_not_queued_for_ever(tmp_path: Path, store: MemoryStore) -> None:
    hold = Event()

    def slow(*asked: Any) -> list[list[Block]]:
        hold.wait(10)
        return decide_all(*asked)

    with Shop(tmp_path, MemoryLog(), store, decider=slow, threads=1).open() as shop:
        calls = [shop.client.GetBlocks.future(REQUEST, timeout=20) for _ in range(40)]
        refused = until(lambda: len(done := [call for call in calls if call.done()]) >= 8 and done)
        assert {call.code() for call in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        hold.set()
        answered = [call for call in calls if call.code() is grpc.StatusCode.OK]
        assert len(answered) == 32
