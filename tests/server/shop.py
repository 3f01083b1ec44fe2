"""A small shop behind a real gRPC server in this process, with the ports in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from recsys.banner import Banner
from recsys.catalog import Item, encode_item
from recsys.decide import decide_all
from recsys.keys import ITEMS_JOURNAL, item_key, person_key, visitor_key
from recsys.placement import Placement
from recsys.ports import EventLog, Position, ProfileStore
from recsys.profile import PersonRecord, Profile, Standing, Touch, VisitorLink, encode_record
from recsys.settings import ServerSettings, Settings
from server.blocks import Decider
from server.metrics import Metrics
from server.pb.headrace_pb2_grpc import HeadraceStub
from server.running import RunningServer
from tests.fakes import MemoryLog, MemoryStore

PRODUCTS = 30
ARTICLES = 5


def product(number: int, **fields: Any) -> Item:
    return Item(
        f"p{number}",
        title=f"Trail Tent {number}",
        link=f"https://shop.example/p/{number}",
        category=("Outdoor", "Tents"),
        price=100.0 + number,
        currency="EUR",
        fed=True,
        **fields,
    )


def article(number: int) -> Item:
    return Item(f"article:{number}", "article", title=f"How to camp {number}", fed=True)


def catalogue() -> list[Item]:
    return [
        *(product(number) for number in range(PRODUCTS)),
        *(article(number) for number in range(ARTICLES)),
    ]


def viewed(*items: str, at_ms: int, **fields: Any) -> Profile:
    touches = tuple(Touch(item, 1, at_ms // 1000) for item in items)
    return Profile(first_ms=at_ms, last_ms=at_ms, touches=touches, events=len(items), sessions=1, **fields)


def put_items(store: ProfileStore, items: Iterable[Item]) -> None:
    records = {item_key(item.id): encode_item(item) for item in items}
    store.put_many(records)
    store.journal(ITEMS_JOURNAL, list(records))


def put_customer(store: ProfileStore, user_id: str, profile: Profile, at: Position | None = None) -> None:
    record = PersonRecord(f"u:{user_id}", profile, standing(at), profile.last_ms)
    store.put_many({person_key(user_id): encode_record(record)})


def put_visitor(
    store: ProfileStore,
    visitor: str,
    profile: Profile | None = None,
    user_id: str | None = None,
    at: Position | None = None,
) -> None:
    record = None if profile is None else PersonRecord(f"a:{visitor}", profile, standing(at), profile.last_ms)
    store.put_many({visitor_key(visitor): encode_record(VisitorLink(visitor, user_id, record))})


def standing(at: Position | None) -> Standing:
    return Standing() if at is None else Standing(((at.partition, at.offset),))


class Shop:
    """A running server, and a client of it."""

    def __init__(
        self,
        folder: Path,
        event_log: EventLog | None = None,
        store: ProfileStore | None = None,
        decider: Decider = decide_all,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        placements: dict[str, Placement] | None = None,
        banners: dict[str, Banner] | None = None,
        asked: ProfileStore | None = None,
        **server_settings: Any,
    ) -> None:
        self.log: Any = event_log if event_log is not None else MemoryLog()
        self.store: Any = store if store is not None else MemoryStore()
        self.registry = CollectorRegistry()
        server = msgspec.structs.replace(ServerSettings(refresh_ms=10, threads=4), **server_settings)
        self.settings = Settings(
            bundles=str(folder / "bundles"), server=server, placements=placements or {}, banners=banners or {}
        )
        self.running = RunningServer(
            self.settings,
            self.log,
            self.store,
            Metrics(self.registry),
            decider=decider,
            now_ms=now_ms,
            asked=asked,
        )
        self.port = 0

    @contextmanager
    def open(self, *, loaded: bool = True) -> Iterator[Shop]:
        self.port = self.running.start(0)
        try:
            if loaded:
                assert self.running.loaded.wait(30)
            with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                self.channel = channel
                self.client = HeadraceStub(channel)
                yield self
        finally:
            self.running.stop(grace_s=2, drain_s=2)

    def health(self, service: str = "") -> int:
        stub = health_pb2_grpc.HealthStub(self.channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service)).status)

    def figure(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def served(self) -> list[Any]:
        """The events of blocks served, as the log has them."""
        return [
            msgspec.json.decode(record.value)
            for record in self.log.records
            if record.key.startswith("headrace:served:")
        ]


def until(true: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Wait for something the background brings about."""
    until_s = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < until_s, "it did not come about in time"
        time.sleep(0.005)
    return found
