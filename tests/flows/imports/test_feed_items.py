"""What a product's fields become: markets, ages, sales, stock and attributes."""

from __future__ import annotations

import json

import pytest

from flows.imports.feed_items import MAX_ATTRIBUTES, MAX_DESCRIPTION_CHARS
from flows.imports.feed_values import read_ms
from recsys.catalog import ComingSale
from recsys.events import MAX_TEXT_CHARS
from tests.flows.imports.feeds import FIELDS, read, rss

JSON_SHIPPING = (
    '{"id": "1", "title": "A", "price": "1 EUR", "shipping":'
    ' [{"country": "AT", "price": {"value": "9", "currency": "EUR"}}, {"country": "DE"}]}'
)
XML_SHIPPING = (
    "<g:shipping><g:price>9 EUR</g:price><g:country>AT</g:country></g:shipping>"
    "<g:shipping><g:country>DE</g:country></g:shipping>"
)


@pytest.mark.parametrize(
    ("content", "markets"),
    [
        ("id\ttitle\tprice\tshipping\n1\tA\t1 EUR\tAT:::9 EUR,DE::Fast:4.95 EUR,AT:W::1 EUR", ("AT", "DE")),
        ("id\ttitle\tprice\tshipping(country:price)\n1\tA\t1 EUR\tat:9 EUR,DE:4.95 EUR", ("AT", "DE")),
        ("id\ttitle\tprice\tshipping\n1\tA\t1 EUR\t:::9 EUR", ()),
        ("id\ttitle\tprice\n1\tA\t1 EUR", ()),
        (JSON_SHIPPING, ("AT", "DE")),
        (rss(f"<g:id>1</g:id><title>A</title><g:price>1 EUR</g:price>{XML_SHIPPING}"), ("AT", "DE")),
    ],
    ids=["tsv", "named parts", "no country", "nothing", "json", "xml"],
)  # fmt: skip
def test_what_is_sent_to_some_countries_is_for_those_markets(tmp_path, content, markets):
    [item] = read(tmp_path, content)
    assert (item.markets, item.not_markets) == (markets, ())


def test_countries_that_are_excluded(tmp_path):
    [item] = read(tmp_path, json.dumps(FIELDS | {"shopping_ads_excluded_country": ["FR", "be, NL"]}))
    assert item.not_markets == ("FR", "BE", "NL")


@pytest.mark.parametrize(
    ("fields", "years"),
    [
        ({}, 0),
        ({"adult": "no"}, 0),
        ({"adult": "yes"}, 18),
        ({"min_age": "16"}, 16),
        ({"adult": True, "min_age": 21}, 21),
    ],
)
def test_how_old_somebody_must_be(tmp_path, fields, years):
    [item] = read(tmp_path, json.dumps(FIELDS | fields))
    assert item.min_age == years
    assert not {"adult", "min_age"} & item.attributes.keys()


@pytest.mark.parametrize(
    ("at", "sale_price"),
    [
        (None, 199.0),
        ("2026-03-01T00:00+0100", 199.0),
        ("2026-03-08T23:59+01:00", None),
    ],
)
def test_a_sale_has_its_time(tmp_path, at, sale_price):
    period = {"sale_price_effective_date": "2026-03-01T00:00+0100/2026-03-08T23:59+0100"}
    [item] = read(tmp_path, json.dumps({**FIELDS, **period}), at_ms=None if at is None else read_ms(at))
    assert (item.price, item.sale_price) == (249.5, sale_price)
    assert item.sale_end_ms == (None if sale_price is None else read_ms("2026-03-08T23:59+0100"))


def test_a_sale_that_has_not_begun_is_kept_with_its_time(tmp_path):
    period = {"sale_price_effective_date": "2026-03-01T00:00+0100/2026-03-08T23:59+0100"}
    [item] = read(tmp_path, json.dumps({**FIELDS, **period}), at_ms=read_ms("2026-02-28T22:00Z"))
    start_ms, end_ms = read_ms("2026-03-01T00:00+0100"), read_ms("2026-03-08T23:59+0100")
    assert (item.price_now, item.sale_end_ms) == (249.5, None)
    assert item.coming_sale == ComingSale(199.0, start_ms, end_ms)


@pytest.mark.parametrize(("text", "stock"), [("3", 3), ("0", 0), ("", None)])
def test_how_many_are_left_is_read_where_the_feed_says(tmp_path, text, stock):
    [item] = read(tmp_path, json.dumps({**FIELDS, "quantity": text}))
    assert item.stock == stock
    assert "quantity" not in item.attributes


def test_further_fields_become_attributes_and_everything_is_bounded(tmp_path):
    many = {f"custom_{number}": "x" * 2000 for number in range(50)}
    long = {"title": "t" * 2000, "description": "<p>d &amp; e</p>" + "f" * 9000}
    [item] = read(tmp_path, json.dumps({**FIELDS, **long, **many}))
    assert len(item.attributes) == MAX_ATTRIBUTES
    assert {len(text) for name, text in item.attributes.items() if name.startswith("custom")} == {
        MAX_TEXT_CHARS
    }
    assert (len(item.title), len(item.description)) == (MAX_TEXT_CHARS, MAX_DESCRIPTION_CHARS)
    assert item.description.startswith("d & e f")


def test_preorder_is_available_and_stays_visible(tmp_path):
    [item] = read(tmp_path, json.dumps({**FIELDS, "availability": "preorder"}))
    assert (item.available, item.attributes["availability"]) == (True, "preorder")
