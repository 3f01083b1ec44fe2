"""The values of a feed's fields: prices, availability and times as shops write them."""

from __future__ import annotations

import pytest

from flows.imports.feed_values import read_availability, read_ms, read_price


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("24.50 EUR", (24.5, "EUR")),
        ("24.50EUR", (24.5, "EUR")),
        ("EUR 24,5", (24.5, "EUR")),
        ("15", (15.0, "")),
        ("1,299.00 usd", (1299.0, "USD")),
        ("1.299,00 EUR", (1299.0, "EUR")),
        ("1,299 USD", (1299.0, "USD")),
        ("1.299.000 IDR", (1_299_000.0, "IDR")),
        ("12.345 KWD", (12.345, "KWD")),
        ("0.00 EUR", (0.0, "EUR")),
        ("19,90 €", (19.9, "EUR")),
        ("1.299 €", (1299.0, "EUR")),
        ("100.000 ₫", (100_000.0, "VND")),
        ("€1.29", (1.29, "EUR")),
        ("1.299 KWD", (1.299, "KWD")),
        ("12.990 EUR", (12.99, "EUR")),
        ("€ 1.299,00", (1299.0, "EUR")),
        ("1\u202f299,00\u00a0€", (1299.0, "EUR")),
        ("1'299.00 CHF", (1299.0, "CHF")),
        ("£24.50", (24.5, "GBP")),
        ("$24.50", (24.5, "")),
        ("$24.50 CAD", (24.5, "CAD")),
        ("€ 19,90 EUR", (19.9, "EUR")),
    ],
)
def test_prices(text, price):
    assert read_price(text) == price


@pytest.mark.parametrize(
    "text",
    [
        "",
        "free",
        "-3 EUR",
        "1 EUR 2",
        "nan",
        "1e999",
        "12 EURO",
        "9" * 400,
        "€",
        "€ 5 USD",
        "19,90 €€",
        "1,2,3 €",
    ],
)
def test_what_is_no_price(text):
    with pytest.raises(ValueError, match="a price like"):
        read_price(text)


@pytest.mark.parametrize(
    ("text", "available"),
    [
        ("in stock", True),
        ("In_Stock", True),
        ("preorder", True),
        ("backorder", True),
        ("https://schema.org/InStock", True),
        ("out of stock", False),
        ("OUT_OF_STOCK", False),
    ],
)
def test_availability(text, available):
    assert read_availability(text) is available


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T01:00+0100", 0),
        ("1970-01-01 00:00:01.123456789+00:00", 1123),
        ("Thu, 01 Jan 1970 00:00:02 GMT", 2000),
        ("1700000000", 1_700_000_000_000),
        ("1700000000123", 1_700_000_000_123),
    ],
)
def test_times(text, at_ms):
    assert read_ms(text) == at_ms


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "9" * 14 + "-", "Thu, 99 Jan 1970 00:00:02 GMT"]
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="a time like"):
        read_ms(text)
