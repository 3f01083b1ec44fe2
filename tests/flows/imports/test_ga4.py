"""GA4 exports: the flattened CSV and BigQuery's JSON lines."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from flows.imports.ga4 import items_list, read_ga4
from flows.imports.source import RowProblem, UnknownFormat
from recsys.catalog import CatalogChange
from recsys.decode import CATALOG_KEY, Decoder
from recsys.events import Action, Arrival, Event
from recsys.ports import NewRecord, Position, Record

HEADER = "ts_us,user_id,session_id,event,item,price,qty,tx,page,dev,country,medium,source\n"
PAGE = "https://shop.example/Lifestyle/Bags"


def row(ts_us, event, item="", price="", qty="", tx="", user="7.1", page=PAGE, source="google"):
    quoted = '"' + item.replace('"', '""') + '"'
    return f"{ts_us},{user},99,{event},{quoted},{price},{qty},{tx},{page},mobile,Canada,cpc,{source}\n"


def write(path: Path, *rows: str) -> Path:
    path.write_text(HEADER + "".join(rows), "utf-8")
    return path


def write_json(path: Path, *events: dict) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
    return path


def records(path: Path, **options) -> list[NewRecord]:
    found = list(read_ga4(path, **options))
    assert [entry for entry in found if isinstance(entry, RowProblem)] == []
    return found


def decoded(found: list[NewRecord]) -> list[Event | CatalogChange]:
    decoder = Decoder()
    events = []
    for offset, record in enumerate(found):
        for each in decoder.decode(Record(Position(0, offset), *record), record.received_ms):
            assert isinstance(each, Arrival | CatalogChange), each
            events.append(each.event if isinstance(each, Arrival) else each)
    return events


def test_events_of_the_flattened_csv(tmp_path):
    path = write(
        tmp_path / "events.csv",
        row(1_604_188_806_427_147, "category_view", "Bags | Lifestyle | Shop"),
        row(1_604_188_806_428_000, "view", "Android Iconic 4&quot; Decal"),
        row(1_604_188_806_429_000, "add_to_cart", 'Android Iconic 4" Decal', "2.0", "3"),
        row(1_604_188_806_430_000, "search", "<obfuscated>"),
        row(1_604_188_806_431_000, "search", "mug"),
        row(1_604_188_806_432_000, "begin_checkout"),
        row(1_604_188_806_433_000, "add_shipping_info"),
        row(1_604_188_806_434_000, "add_payment_info"),
    )
    found = records(path)
    events = decoded(found)
    assert [event.action for event in events] == [
        *(Action.LIST_VIEW, Action.VIEW, Action.CART_ADD, Action.SEARCH, Action.SEARCH),
        *(Action.CHECKOUT, Action.CHECKOUT, Action.CHECKOUT),
    ]
    assert [event.name for event in events[-3:]] == [
        *("Checkout Started", "Checkout Step Completed", "Payment Info Entered"),
    ]
    assert {(event.visitor, event.device, event.path) for event in events} == {
        ("7.1", "mobile", "/Lifestyle/Bags")
    }
    assert [event.at_ms for event in events] == [record.received_ms for record in found]
    assert events[0].at_ms == 1_604_188_806_427
    assert events[0].category == "Lifestyle > Bags"
    viewed, added = events[1].lines[0], events[2].lines[0]
    assert viewed.item == added.item == added.name == 'Android Iconic 4" Decal'
    assert (added.price, added.quantity, viewed.price) == (2.0, 3.0, None)
    assert (events[3].query, events[4].query) == (None, "mug")
    assert (events[0].source.source, events[0].source.medium) == ("google", "cpc")
    call = json.loads(found[0].value)
    assert call["context"]["location"] == {"country": "Canada"}
    assert call["timestamp"].startswith("2020-11-01T00:00:06.427")


def test_rows_of_one_purchase_become_one_order(tmp_path):
    path = write(
        tmp_path / "events.csv",
        row(1000, "purchase", "Mug", "7.0", "2", "41"),
        row(1000, "purchase", "Mug", "7.0", "2", "41", user="8.1"),
        row(1000, "purchase", "Hat", "16.5", "1", "41"),
        row(5000, "purchase", "Cap", "10.0", "1", "(not set)"),
        row(9000, "purchase", "(not set)", "", "", "(not set)"),
    )
    orders = decoded(records(path))
    assert [(order.visitor, order.order_id, order.value) for order in orders] == [
        ("7.1", "41", 30.5),
        ("8.1", "41", 14.0),
        ("7.1", None, 10.0),
        ("7.1", None, None),
    ]
    assert [(line.item, line.price, line.quantity) for line in orders[0].lines] == [
        ("Mug", 7, 2),
        ("Hat", 16.5, 1),
    ]
    assert orders[3].lines == ()


def test_importing_twice_gives_the_same_messages_and_equal_rows_stay_apart(tmp_path):
    same = row(1000, "view", "Mug")
    later = row(2000, "view", "Mug")
    path = write(tmp_path / "events.csv", same, same, later)
    ids = [event.message_id for event in decoded(records(path))]
    assert len(set(ids)) == 3
    assert [event.message_id for event in decoded(records(path))] == ids
    shorter = write(tmp_path / "part.csv", same, later)
    assert [event.message_id for event in decoded(records(shorter))] == [ids[0], ids[2]]


def test_the_list_of_items_beside_the_csv_is_used(tmp_path):
    (tmp_path / "items.csv").write_text(
        "item_name,category,brand,price_median\n"
        "Tee,Home/Apparel/Men's / Unisex/,Google,30.0\n"
        "Caf&eacute; Mug,Uncategorized Items,,\n"
    )
    path = write(tmp_path / "events.csv", row(5_000_000, "view", "Tee"))
    tee, mug, view = decoded(records(path))
    assert json.loads(tee.fields) == {
        "title": "Tee", "category": ["Apparel", "Men's / Unisex"], "brand": "Google", "price": 30.0,
    }  # fmt: skip
    assert (tee.op, tee.item_id, tee.at_ms, mug.item_id) == ("patch", "Tee", 5000, "Café Mug")
    line = view.lines[0]
    assert (line.category, line.brand, line.url) == ("Apparel > Men's / Unisex", "Google", PAGE)


def test_only_the_csv_has_a_list_of_items_beside_it(tmp_path):
    beside = tmp_path / "items.csv"
    path = write(tmp_path / "events.csv", row(5_000_000, "view", "Tee"))
    assert items_list(path) is None
    beside.write_text("item_name\nTee\n")
    assert items_list(path) == beside
    assert items_list(beside) is None
    assert items_list(write_json(tmp_path / "events.jsonl", {"event_name": "scroll"})) is None


def test_rows_out_of_order_come_in_time_order(tmp_path):
    rows = [row(ts_us, "view", f"item {ts_us}") for ts_us in (3000, 1000, 2000, 1000)]
    found = records(write(tmp_path / "events.csv", *rows))
    assert [record.received_ms for record in found] == [1, 1, 2, 3]


@pytest.mark.parametrize("header", ["event,item,ts_us,user_id", '"event","item","ts_us","user_id"'])
def test_columns_may_stand_in_any_order_and_some_may_be_missing(tmp_path, header):
    path = tmp_path / "other.csv"
    path.write_text(f"{header}\nview,Mug,2000,7.1\nview,Hat,1000,7.1\n")
    assert [event.lines[0].item for event in decoded(records(path))] == ["Hat", "Mug"]


def test_broken_rows_are_told_and_the_rest_goes_on(tmp_path):
    path = write(tmp_path / "e.csv", row("soon", "view", "Mug"), "1,2\n", row(1000, "view", "Mug"))
    told = list(read_ga4(path))
    assert [str(entry) for entry in told[:2]] == [
        "line 2: Expected epoch microseconds, got `soon` - at `ts_us`",
        "line 3: Expected 13 columns, got 2",
    ]
    assert len(decoded(told[2:])) == 1


def test_a_gzip_file_that_ends_early_is_told(tmp_path):
    whole = gzip.compress((HEADER + "".join(row(ts, "view", f"i{ts}") for ts in range(5000))).encode())
    path = tmp_path / "events.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    found = list(read_ga4(path))
    assert isinstance(found[-1], RowProblem)
    assert "the rest of a gzip file" in str(found[-1])
    assert 0 < len(decoded(found[:-1])) < 5000


def test_a_hostile_visitor_id_cannot_pose_as_a_catalogue_change(tmp_path):
    path = write(tmp_path / "e.csv", row(1000, "view", "Mug", user=CATALOG_KEY + "Mug"))
    assert [record.key for record in records(path)] == [""]


def test_something_else_is_refused(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(
        UnknownFormat, match="Expected JSON lines of GA4 events or a CSV with the columns"
    ) as error:
        read_ga4(path)
    assert "got `a,b`" in str(error.value)


def param(key, **value):
    return {"key": key, "value": value}


def test_events_of_bigquery(tmp_path):
    common = {
        "user_pseudo_id": "1.2",
        "device": {"category": "desktop"},
        "geo": {"country": "Chile"},
        "traffic_source": {"source": "newsletter", "medium": "email", "name": "spring"},
    }
    item = {
        "item_id": "SKU1", "item_name": "Mug", "item_brand": "(not set)", "item_category": "Home",
        "item_category2": "Mugs", "price": 9.5, "quantity": "2",
    }  # fmt: skip
    page = [
        param("page_location", string_value="https://s.example/mug"),
        param("ga_session_id", int_value="5"),
    ]

    def event(seconds, name, *params, **fields):
        at_us = f"{seconds}000000"
        return {**common, "event_timestamp": at_us, "event_name": name, "event_params": params, **fields}

    shop = {"transaction_id": "T1", "purchase_revenue": 38.0}
    path = write_json(
        tmp_path / "events.json",
        event(7, "purchase", user_id="c9", items=[item, item], ecommerce=shop),
        event(1, "view_item", *page, items=[item]),
        event(2, "page_view", *page, param("page_title", string_value="Mugs")),
        event(3, "user_engagement", param("engagement_time_msec", int_value="4200")),
        event(4, "scroll", param("percent_scrolled", int_value=90)),
        event(5, "view_search_results", param("search_term", string_value="cup"), platform="IOS"),
        event(6, "quiz_done", param("score", int_value=3), param("products", string_value="none")),
    )
    view, paged, left, scrolled, searched, other, order = decoded(records(path))
    assert (view.action, view.visitor, view.user_id, view.device) == (Action.VIEW, "1.2", None, "desktop")
    assert (view.source.source, view.source.medium, view.source.campaign) == ("newsletter", "email", "spring")
    line = view.lines[0]
    assert (line.item, line.name, line.category, line.brand) == ("SKU1", "Mug", "Home > Mugs", None)
    assert (line.price, line.url, view.path) == (9.5, "https://s.example/mug", "/mug")
    assert (paged.action, paged.name) == (Action.PAGE, "Mugs")
    assert (left.action, left.dwell_s, scrolled.scroll) == (Action.LEAVE, 4.2, 0.9)
    assert (searched.action, searched.query) == (Action.SEARCH, "cup")
    assert (other.action, other.name) == (Action.OTHER, "quiz_done")
    assert (order.action, order.user_id, order.order_id, order.value) == (Action.ORDER, "c9", "T1", 38.0)
    assert [line.quantity for line in order.lines] == [2.0, 2.0]
    named = decoded(records(path, item_key="name"))
    assert named[0].lines[0].item == "Mug"


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("view_item", Action.VIEW),
        ("view_item_list", Action.LIST_VIEW),
        ("select_item", Action.CLICK),
        ("add_to_cart", Action.CART_ADD),
        ("remove_from_cart", Action.CART_REMOVE),
        ("view_cart", Action.CART_VIEW),
        ("begin_checkout", Action.CHECKOUT),
        ("add_shipping_info", Action.CHECKOUT),
        ("add_payment_info", Action.CHECKOUT),
        ("purchase", Action.ORDER),
        ("refund", Action.REFUND),
        ("view_promotion", Action.PROMOTION),
        ("select_promotion", Action.PROMOTION),
        ("add_to_wishlist", Action.WISH),
        ("search", Action.SEARCH),
        ("view_search_results", Action.SEARCH),
        ("login", Action.LOGIN),
        ("page_view", Action.PAGE),
        ("user_engagement", Action.LEAVE),
        ("first_visit", Action.OTHER),
    ],
)
def test_every_name_of_ga4_means_something(tmp_path, name, action):
    event = {"event_timestamp": 1, "event_name": name, "user_pseudo_id": "1.2", "items": [{"item_id": "a"}]}
    [event] = decoded(records(write_json(tmp_path / "e.json", event)))
    assert event.action == action
    assert [line.item for line in event.lines] == ["a"]


def test_broken_lines_of_bigquery_are_told(tmp_path):
    path = tmp_path / "events.json"
    path.write_text(
        '{"event_timestamp": "1", "event_name": "x", "user_pseudo_id": "a"}\n'
        '{"event_timestamp": "now", "event_name": "x"}\n{"event_timestamp": "2"}\nnonsense\n'
    )
    *problems, record = sorted(read_ga4(path), key=lambda entry: isinstance(entry, NewRecord))
    assert [(problem.line, problem.field) for problem in problems] == [
        (2, "event_timestamp"),
        (3, ""),
        (4, ""),
    ]
    assert str(problems[0]) == "line 2: Expected `int`, got `str` - at `event_timestamp`"
    assert record.key == "a"


@pytest.fixture(scope="module")
def merchandise_store() -> Path:
    beside = Path(__file__).parents[3] / ".." / "shared" / "data"
    home = Path(os.environ["HEADRACE_DATA"]) if "HEADRACE_DATA" in os.environ else beside
    path = home / "ga4-merch-2020" / "events.csv.gz"
    if not path.is_file():
        if os.environ.get("CI") and beside.is_dir():
            pytest.fail(f"CI is set and {beside.resolve()} is there, but {path} is not")
        pytest.skip(f"{path} is not there; HEADRACE_DATA names the folder that has ga4-merch-2020/")
    return path


@pytest.mark.slow
def test_the_merchandise_store_as_it_is(merchandise_store):
    decoder, names, ids = Decoder(), Counter(), set()
    lines = nameless = 0
    latest_ms = 0
    for offset, record in enumerate(read_ga4(merchandise_store)):
        assert isinstance(record, NewRecord), record
        assert record.received_ms >= latest_ms
        latest_ms = record.received_ms
        [arrival] = decoder.decode(Record(Position(0, offset), *record), latest_ms)
        if isinstance(arrival, CatalogChange):
            names["(catalogue)"] += 1
            continue
        assert isinstance(arrival, Arrival), arrival
        event = arrival.event
        names[event.name] += 1
        ids.add(event.message_id)
        assert event.at_ms == record.received_ms
        assert record.key == event.visitor
        if event.action is Action.ORDER:
            lines += len(event.lines)
            nameless += not event.lines
    assert names == {
        "Product List Viewed": 170_537,
        "Product Viewed": 86_041,
        "Product Added": 9_669,
        "Products Searched": 10_061,
        "Checkout Started": 12_117,
        "Checkout Step Completed": 7_318,
        "Payment Info Entered": 4_882,
        "Order Completed": 1_948,
        "(catalogue)": 411,
    }
    assert lines + nameless == 5_511
    events = names.total() - names["(catalogue)"]
    assert events - names["Order Completed"] + 5_511 == 306_136
    assert len(ids) == events
