"""The simulated shop: same seed, same bytes; valid Segment calls; a truth that shows in its events."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime
from itertools import combinations, islice, pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.shop import Shop, VisitTruth

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
DAY_MS = 86_400_000
ROOT = Path(__file__).parents[2]

ECOMMERCE_V2 = {
    "Products Searched", "Product List Viewed", "Product List Filtered", "Promotion Viewed",
    "Promotion Clicked", "Product Clicked", "Product Viewed", "Product Added", "Product Removed",
    "Cart Viewed", "Checkout Started", "Checkout Step Viewed", "Checkout Step Completed",
    "Payment Info Entered", "Order Updated", "Order Completed", "Order Refunded", "Order Cancelled",
    "Coupon Entered", "Coupon Applied", "Coupon Denied", "Coupon Removed", "Product Added to Wishlist",
    "Product Removed from Wishlist", "Wishlist Product Added to Cart", "Product Shared", "Cart Shared",
    "Product Reviewed",
}  # fmt: skip


class Run:
    """Eight days of a shop without faults."""

    def __init__(self, shop):
        self.visits: list[VisitTruth] = []
        self.events = list(
            shop.events(START_MS, 8, 900, late=0.0, duplicates=0.0, broken=0.0, on_visit=self.visits.append)
        )
        self.decoded = [msgspec.json.decode(event.raw) for event in self.events]

    def named(self, name):
        return [event for event in self.decoded if event.get("event") == name]


@pytest.fixture(scope="module")
def run(shop):
    return Run(shop)


def at_ms(stamp):
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() * 1000


# Determinism


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    def some(seed):
        return list(islice(Shop(seed, 200, 20).events(START_MS, 1, 60, broken=0.02), 400))

    assert some(3) == some(3)
    assert {event.raw for event in some(3)}.isdisjoint(event.raw for event in some(4))


def test_fewer_days_are_a_prefix_of_more_days(shop):
    two = list(shop.events(START_MS, 2, 80))
    four = list(shop.events(START_MS, 4, 80))
    assert two == four[: len(two)]
    assert four[len(two)].received_ms >= START_MS + 2 * DAY_MS


def test_faults_change_how_events_arrive_and_not_what_happened(shop, run):
    faulty = []
    for _ in shop.events(START_MS, 8, 900, late=0.2, duplicates=0.1, broken=0.1, on_visit=faulty.append):
        pass
    assert faulty == run.visits


# Events


def test_every_event_is_a_segment_call(run):
    required = {
        "track": "event",
        "page": "name",
        "screen": "name",
        "identify": "traits",
        "alias": "previousId",
    }
    for sim, event in zip(run.events, run.decoded, strict=True):
        assert event["type"] in {*required, "group"}
        assert required.get(event["type"], "groupId") in event
        assert sim.key == event.get("anonymousId", event.get("userId"))
        assert isinstance(event["messageId"], str)
        assert event["timestamp"] == event["originalTimestamp"] <= event["sentAt"]
        assert event["context"]["library"]["name"] == "headrace-simulated-shop"
        if event["type"] in {"identify", "alias", "group"}:
            assert event["userId"]
        if event["type"] == "track" and "anonymousId" in event:
            assert event["context"]["page"]["url"].startswith("https://shop.example/")
            assert "analytics" in event["context"]["consent"]["categoryPreferences"]
    assert len({event["messageId"] for event in run.decoded}) == len(run.decoded)


def test_every_ecommerce_name_occurs_and_emails_too(run):
    names = {event["event"] for event in run.decoded if event["type"] == "track"}
    assert names >= ECOMMERCE_V2
    assert {
        "Email Delivered",
        "Email Opened",
        "Email Link Clicked",
        "Article Viewed",
        "Article Read",
    } <= names
    assert {event["type"] for event in run.decoded} >= {
        "track",
        "page",
        "screen",
        "identify",
        "alias",
        "group",
    }


def test_events_arrive_in_order_and_within_the_days_asked(shop):
    received = [event.received_ms for event in shop.events(START_MS, 2, 150, late=0.1, duplicates=0.1)]
    assert received == sorted(received)
    assert received[0] >= START_MS
    assert received[-1] < START_MS + 2 * DAY_MS


def test_products_in_events_are_those_of_the_feed(shop, run):
    price = {p["id"]: float((p["sale_price"] or p["price"]).removesuffix(" EUR")) for p in shop.products}
    for event in run.named("Product Viewed") + run.named("Product Added"):
        assert event["properties"]["price"] == price[event["properties"]["product_id"]]
    assert run.named("Order Completed")
    for event in run.named("Order Completed"):
        order = event["properties"]
        value = sum(line["price"] * line["quantity"] for line in order["products"])
        assert order["total"] == pytest.approx(value - order["discount"] + order["shipping"], abs=0.011)


def test_article_reads_tell_dwell_and_scroll(run):
    reads = [event["properties"] for event in run.named("Article Read")]
    assert len(reads) > 100
    assert all(0 < read["scroll"] <= 1 and 0 < read["dwell_s"] < 300 for read in reads)


def test_after_a_logout_events_no_longer_carry_the_customer(run):
    after = {}
    lost = 0
    for event in sorted((e for e in run.decoded if "anonymousId" in e), key=lambda e: e["timestamp"]):
        device = event["anonymousId"]
        if after.get(device) and event["type"] in {"page", "screen"}:
            lost += "userId" not in event
        after[device] = event.get("event") == "Signed Out"
    assert lost > 3


def test_no_sold_out_product_gets_into_a_cart(shop, run):
    sold_out = {product["id"] for product in shop.products if product["availability"] == "out of stock"}
    assert sold_out.isdisjoint(event["properties"]["product_id"] for event in run.named("Product Added"))


# Sessions


def test_sessions_are_plausible(run):
    assert 0.8 * 900 < len(run.visits) / 8 < 1.2 * 900
    assert 6 < sum("anonymousId" in event for event in run.decoded) / len(run.visits) < 14
    assert 0.01 < sum(visit.orders for visit in run.visits) / len(run.visits) < 0.04
    minutes = np.array([visit.ended_ms - visit.started_ms for visit in run.visits]) / 60_000
    assert 0.5 < np.median(minutes) < 10
    assert minutes.max() < 120


def test_a_persons_visits_do_not_overlap_and_lie_more_than_a_session_gap_apart(run):
    by_person = defaultdict(list)
    for visit in run.visits:
        by_person[visit.person].append(visit)
    returning = [visits for visits in by_person.values() if len(visits) > 1]
    assert len(returning) > 0.1 * len(by_person)
    for visits in returning:
        assert all(b.started_ms - a.ended_ms >= 40 * 60_000 for a, b in pairwise(visits))


def test_popularity_has_a_long_tail(run):
    views = sorted(
        Counter(e["properties"]["product_id"] for e in run.named("Product Viewed")).values(), reverse=True
    )
    assert len(views) > 600
    assert 0.25 < sum(views[:80]) / sum(views) < 0.8


# Faults


def test_shares_of_late_duplicate_and_broken_events_are_as_asked(shop):
    events = list(shop.events(START_MS, 5, 500, late=0.05, duplicates=0.03, broken=0.02))
    good, dead = [], 0
    for event in events:
        try:
            call = msgspec.json.decode(event.raw)
            at_ms(call["timestamp"])
            ok = call["type"] in {"track", "page", "screen", "identify", "alias", "group"}
            ok = (
                ok and isinstance(call.get("event", ""), str) and isinstance(call.get("properties", {}), dict)
            )
            ok = ok and ("anonymousId" in call or "userId" in call)
        except (msgspec.DecodeError, ValueError, TypeError):
            ok = False
        if ok:
            good.append((event.received_ms, call))
        dead += not ok
        assert b"\n" not in event.raw
    first = {call["messageId"]: call for _, call in good}
    late = [at_ms(call["sentAt"]) - at_ms(call["timestamp"]) for call in first.values()]
    late = [ms for ms in late if ms >= 60_000]
    assert dead / len(events) == pytest.approx(0.02, rel=0.2)
    assert 1 - len(first) / len(good) == pytest.approx(0.03, rel=0.2)
    assert len(late) / len(first) == pytest.approx(0.05, rel=0.2)
    assert max(late) <= 3_600_000


def test_wrong_clocks_are_repaired_by_sent_at(run):
    off = 0
    for sim, event in zip(run.events, run.decoded, strict=True):
        sent_ms = at_ms(event["sentAt"])
        repaired_ms = sim.received_ms - (sent_ms - at_ms(event["timestamp"]))
        assert 0 <= sim.received_ms - repaired_ms < 1000
        off += abs(sim.received_ms - sent_ms) > 60_000
    assert 0.005 < off / len(run.events) < 0.08


def test_a_share_that_is_none_is_refused(shop):
    with pytest.raises(ValueError, match=r"Expected a share in 0\.\.0\.5, got `0\.7` - at `late`"):
        shop.events(START_MS, 1, 10, late=0.7)


# Truth


def test_second_devices_belong_to_the_person_the_truth_names(shop, run):
    devices, customers = defaultdict(set), defaultdict(set)
    for visit in run.visits:
        devices[visit.person].add(visit.anonymous_id)
    for event in run.decoded:
        if event["type"] == "identify":
            customers[event["userId"]].add(event["anonymousId"])
    assert sum(len(found) == 2 for found in customers.values()) > 5
    for person, found in devices.items():
        told = shop.truth.person(person)
        assert found <= set(told.devices)
        if told.user_id in customers:
            assert customers[told.user_id] <= found


def test_complements_are_bought_together_more_often_than_chance(shop, run):
    complements = shop.truth.complements
    orders = [
        {line["product_id"] for line in e["properties"]["products"]} for e in run.named("Order Completed")
    ]
    pairs = [pair for order in orders for pair in combinations(sorted(order), 2)]
    together = sum(b in complements.get(a, ()) or a in complements.get(b, ()) for a, b in pairs)
    bought = sorted(product for order in orders for product in order)
    rng = np.random.default_rng(0)
    shuffled = rng.choice(np.array(bought), (20_000, 2))
    by_chance = np.mean([b in complements.get(a, ()) or a in complements.get(b, ()) for a, b in shuffled])
    assert len(pairs) > 30
    assert together / len(pairs) > 5 * by_chance


def test_the_next_product_is_mostly_of_the_same_category_or_a_complement(shop, run):
    complements = shop.truth.complements
    last, related, total = {}, 0, 0
    for event in run.named("Product Viewed"):
        product, device = event["properties"]["product_id"], event["anonymousId"]
        before = last.get(device)
        if before and before != product:
            total += 1
            same = before.rsplit("-", 1)[0] == product.rsplit("-", 1)[0]
            related += same or product in complements.get(before, ())
        last[device] = product
    assert 0.5 < related / total < 0.9


def test_people_look_at_what_they_like(run):
    likes = {visit.anonymous_id: visit.leaves for visit in run.visits}
    hits = [
        e["properties"]["product_id"].rsplit("-", 1)[0] in likes[e["anonymousId"]]
        for e in run.named("Product Viewed")
    ]
    assert np.mean(hits) > 0.6


# Scripted visitor


def test_scripted_visitor_tells_a_story_with_its_own_times(shop):
    kim = shop.visitor("Kim", START_MS)
    tent = shop.products[60]
    calls = [msgspec.json.decode(raw) for raw in (
        kim.home(), kim.view(tent), kim.read(shop.articles[5]), kim.search("tent pegs"),
        kim.add_to_cart(tent, 2), kim.identify("customer-kim"), kim.order(at_ms=START_MS + 90_000),
    )]  # fmt: skip
    assert {call["anonymousId"] for call in calls} == {"web-kim"}
    assert ["userId" in call for call in calls] == [False] * 5 + [True] * 2
    assert calls[1]["timestamp"] == "2026-01-01T00:00:10.000Z"
    assert calls[-1]["timestamp"] == "2026-01-01T00:01:30.000Z"
    (line,) = calls[-1]["properties"]["products"]
    assert (line["product_id"], line["quantity"]) == (tent["id"], 2)
    assert kim.cart == []
    assert kim.on_another_device(START_MS).anonymous_id == "web-kim-second-device"
    with pytest.raises(ValueError, match="Expected something in the cart of `Kim`, got an empty cart"):
        kim.order()


# Command line


def test_command_writes_all_files_and_says_that_it_is_simulated(tmp_path):
    command = [
        sys.executable,
        "-m",
        "bench.shop",
        "--out",
        str(tmp_path / "shop"),
        "--days",
        "1",
        "--visitors",
        "40",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "Simulated shop" in done.stdout
    lines = (tmp_path / "shop/events.jsonl").read_bytes().splitlines()
    received = [msgspec.json.decode(line)["receivedAt"] for line in lines]
    assert received == sorted(received)
    assert f"{len(lines)} events" in done.stdout
    truth = msgspec.json.decode((tmp_path / "shop/truth.json").read_bytes())
    assert truth["simulated"] is True
    assert {"complements", "people", "intents"} <= set(truth)
    assert (tmp_path / "shop/feed.tsv").exists()
    assert (tmp_path / "shop/articles.jsonl").exists()
