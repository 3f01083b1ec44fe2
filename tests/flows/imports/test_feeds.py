"""Catalogue feeds in every format: the same shop, told in different ways, is the same shop."""

from __future__ import annotations

import gzip
import json

import pytest

from flows.imports.feed_items import MAX_ATTRIBUTES, MAX_DESCRIPTION_CHARS
from flows.imports.feed_values import read_availability, read_ms, read_price
from flows.imports.feed_xml import MAX_ITEM_BYTES
from flows.imports.feeds import ROWS_LOOKED_AT, read_feed
from flows.imports.source import RowProblem, UnknownFormat
from recsys.catalog import Item, encode_change
from recsys.decode import CATALOG_KEY, Decoder
from recsys.events import MAX_ID_BYTES, MAX_TEXT_CHARS
from recsys.ports import Position, Record

FIELDS = {
    "id": "tent-2",
    "title": "Ridge Tent 2",
    "description": "Light, dry & quick to pitch.",
    "link": "https://shop.example/tent-2",
    "image_link": "https://shop.example/tent-2.jpg",
    "product_type": "Outdoor > Tents",
    "google_product_category": "1013",
    "brand": "Ridge",
    "price": "249.50 EUR",
    "sale_price": "199.00 EUR",
    "availability": "in_stock",
    "item_group_id": "tent",
    "color": "green",
}
TENT = Item(
    "tent-2",
    "product",
    "Ridge Tent 2",
    "Light, dry & quick to pitch.",
    "https://shop.example/tent-2",
    "https://shop.example/tent-2.jpg",
    ("Outdoor", "Tents"),
    "Ridge",
    249.5,
    199.0,
    "EUR",
    True,
    "tent",
    attributes={"google_product_category": "1013", "color": "green"},
)


def table(delimiter, *rows):
    def cell(text):
        return f'"{text}"' if delimiter in text else text

    return "".join(delimiter.join(cell(text) for text in row) + "\n" for row in rows)


def rss(*items):
    channel = "".join(f"<item>{item}</item>" for item in items)
    return (
        '<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>'
        f"<title>Shop</title><link>https://shop.example</link>{channel}</channel></rss>"
    )


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


XML_ITEM = "".join(f"<g:{name}>{escaped(text)}</g:{name}>" for name, text in FIELDS.items())
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">'
    f'<title>Shop</title><entry><title>{FIELDS["title"]}</title><link href="{FIELDS["link"]}"/>'
    + "".join(
        f"<g:{name}>{escaped(text)}</g:{name}>"
        for name, text in FIELDS.items()
        if name not in ("title", "link")
    )
    + "</entry></feed>"
)
TOLD = {
    "tsv": table("\t", FIELDS, FIELDS.values()),
    "csv": table(",", FIELDS, FIELDS.values()),
    "semicolons": table(";", FIELDS, FIELDS.values()),
    "spreadsheet": table("\t", FIELDS, FIELDS.values()).encode("utf-16"),
    "marked": table(",", FIELDS, FIELDS.values()).encode("utf-8-sig"),
    "named as in a spreadsheet": table(
        "\t", (name.replace("_", " ").title() for name in FIELDS), FIELDS.values()
    ),
    "rss": rss(XML_ITEM),
    "rss mixed": rss(XML_ITEM.replace("g:title", "title").replace("g:link", "link")),
    "atom": ATOM,
    "jsonl": json.dumps(FIELDS) + "\n",
    "jsonl of numbers": json.dumps(
        {**FIELDS, "price": {"value": 249.5, "currency": "EUR"}, "sale_price": 199}
    ),
}


def read(tmp_path, content, **options):
    path = tmp_path / "feed"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_feed(path, **options))


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("pack", [False, True])
def test_the_same_product_in_every_format(tmp_path, told, pack):
    content = TOLD[told] if isinstance(TOLD[told], bytes) else TOLD[told].encode()
    assert read(tmp_path, gzip.compress(content) if pack else content) == [TENT]


def test_items_are_taken_by_the_decoder(tmp_path):
    [item] = read(tmp_path, TOLD["tsv"])
    value = encode_change("upsert", item.id, item)
    [change] = Decoder().decode(Record(Position(0, 0), CATALOG_KEY + item.id, value, 1), 1)
    assert (change.op, change.item_id) == ("upsert", "tent-2")


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("id", "", "Expected an id, got nothing - at `id`"),
        ("id", "x" * 201, f"Expected an id of at most {MAX_ID_BYTES} bytes, got `{'x' * 64}` - at `id`"),
        ("id", "article:1", "Expected an id that does not begin with `article:`, got `article:1` - at `id`"),
        ("title", " ", "Expected a title, got nothing - at `title`"),
        ("price", "cheap", "Expected a price like `24.50 EUR`, got `cheap` - at `price`"),
        (
            "availability",
            "maybe",
            "Expected one of in_stock, out_of_stock, preorder, backorder, got `maybe` - at `availability`",
        ),
        (
            "link",
            "javascript:x()",
            "Expected an address with `https://` or `http://`, got `javascript:x()` - at `link`",
        ),
        (
            "quantity",
            "some",
            "Expected a whole number, got `some` - at `quantity`",
        ),
        ("adult", "perhaps", "Expected yes or no, got `perhaps` - at `adult`"),
        ("min_age", "18+", "Expected a number of years, got `18+` - at `min_age`"),
        (
            "sale_price_effective_date",
            "soon",
            "Expected two times with a `/` between them, got `soon` - at `sale_price_effective_date`",
        ),
    ],
)  # fmt: skip
def test_a_wrong_row_is_told_and_skipped(tmp_path, field, text, problem):
    rows = [{**FIELDS, field: text}, FIELDS]
    wrong, right = read(tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
    assert str(wrong) == f"line 1: {problem}"
    assert wrong.item_id == ("" if field == "id" else "tent-2")
    assert right == TENT


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


def test_lines_are_counted_over_cells_of_several_lines(tmp_path):
    found = read(tmp_path, 'id,title,price\na,"two\nlines",1 EUR\nb,B,x\nc,C\nd,D,1,2\n')
    assert [entry.line for entry in found if isinstance(entry, RowProblem)] == [4, 6]
    assert [entry.title for entry in found if isinstance(entry, Item)] == ["two lines", "C"]


@pytest.mark.parametrize(
    ("at", "sale_price"),
    [
        (None, 199.0),
        ("2026-03-01T00:00+0100", 199.0),
        ("2026-02-28T22:00Z", None),
        ("2026-03-08T23:59+01:00", None),
    ],
)
def test_a_sale_has_its_time(tmp_path, at, sale_price):
    period = {"sale_price_effective_date": "2026-03-01T00:00+0100/2026-03-08T23:59+0100"}
    [item] = read(tmp_path, json.dumps({**FIELDS, **period}), at_ms=None if at is None else read_ms(at))
    assert (item.price, item.sale_price) == (249.5, sale_price)
    assert item.sale_end_ms == (None if sale_price is None else read_ms("2026-03-08T23:59+0100"))


@pytest.mark.parametrize(("text", "stock"), [("3", 3), ("0", 0), ("", None)])
def test_how_many_are_left_is_read_where_the_feed_says(tmp_path, text, stock):
    [item] = read(tmp_path, json.dumps({**FIELDS, "quantity": text}))
    assert item.stock == stock
    assert "quantity" not in item.attributes


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
    ],
)
def test_prices(text, price):
    assert read_price(text) == price


@pytest.mark.parametrize("text", ["", "free", "-3 EUR", "1 EUR 2", "nan", "1e999", "12 EURO", "9" * 400])
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


ARTICLE = {
    "id": 12,
    "title": "How to pitch a tent",
    "summary": "<b>Ten</b> minutes &amp; dry.",
    "url": "https://shop.example/a/12",
    "published": "2026-03-01T10:00:00Z",
    "category": "Advice > Tents",
    "tags": ["tents", "how-to"],
    "author": "Ada",
}


def test_articles_as_json_lines(tmp_path):
    [article] = read(tmp_path, json.dumps(ARTICLE))
    assert article == Item(
        "article:12",
        "article",
        "How to pitch a tent",
        "Ten minutes & dry.",
        "https://shop.example/a/12",
        category=("Advice", "Tents"),
        published_ms=read_ms("2026-03-01T10:00:00Z"),
        tags=("tents", "how-to"),
        attributes={"author": "Ada"},
    )


def test_articles_as_rss(tmp_path):
    item = (
        "<guid>https://shop.example/a/12</guid><title>Pitching</title><link>https://shop.example/a/12</link>"
        "<description><![CDATA[<p>Ten minutes.</p>]]></description>"
        "<pubDate>Sun, 01 Mar 2026 10:00:00 GMT</pubDate>"
        "<category>Advice</category><category>Tents</category>"
        "<enclosure url='https://shop.example/a.jpg' type='image/jpeg'/>"
    )
    [article] = read(tmp_path, rss(item))
    assert (article.id, article.type) == ("article:https://shop.example/a/12", "article")
    assert (article.title, article.description) == ("Pitching", "Ten minutes.")
    assert (article.category, article.tags) == (("Advice",), ("Tents",))
    assert article.published_ms == read_ms("2026-03-01T10:00:00Z")
    assert article.image_link == "https://shop.example/a.jpg"


def test_articles_as_atom(tmp_path):
    [article] = read(
        tmp_path,
        '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>tag:shop,1</id>'
        '<title type="html">A &amp;amp; B</title>'
        '<link rel="self" href="https://shop.example/self"/><link href="https://shop.example/a"/>'
        '<category term="Advice"/><updated>2026-03-02T10:00:00Z</updated>'
        "<published>2026-03-01T10:00:00Z</published><author><name>Ada</name></author>"
        '<content type="xhtml"><div>Ten <i>minutes</i>.</div></content></entry></feed>',
    )
    assert (article.id, article.title, article.link) == (
        "article:tag:shop,1",
        "A & B",
        "https://shop.example/a",
    )
    assert (article.category, article.description) == (("Advice",), "Ten minutes .")
    assert article.published_ms == read_ms("2026-03-01T10:00:00Z")


PLAIN = {"id": "7", "title": "Seven", "text": "Seven tents.", "url": "https://shop.example/a/7"}


def test_the_kind_can_be_given(tmp_path):
    plain = json.dumps(PLAIN)
    assert read(tmp_path, plain, kind="product")[0].id == "7"
    [article] = read(tmp_path, plain, kind="article")
    assert (article.id, article.description, article.attributes) == ("article:7", "Seven tents.", {})


@pytest.mark.parametrize(
    "row",
    [
        PLAIN,
        {"id": "1", "title": "A", "description": "B", "link": "/a", "category": "C", "products": ["7"]},
    ],
)
def test_rows_that_may_be_of_either_kind_are_not_guessed_at(tmp_path, row):
    with pytest.raises(UnknownFormat) as refused:
        read(tmp_path, json.dumps(row))
    assert str(refused.value) == (
        "Expected products or articles, got rows without price, availability, published or summary:"
        f" say --kind product or --kind article - in `{tmp_path / 'feed'}`"
    )


@pytest.mark.parametrize(("sign", "kind"), [({"price": "1 EUR"}, "product"), ({"summary": "x"}, "article")])
def test_a_row_behind_the_first_may_tell_the_kind_of_all(tmp_path, sign, kind):
    told = read(tmp_path, "\n".join(json.dumps(row) for row in (PLAIN, {**PLAIN, "id": "8", **sign})))
    assert [item.type for item in told] == [kind, kind]


def test_a_feed_of_problems_only_is_told_row_by_row(tmp_path):
    assert [entry.line for entry in read(tmp_path, "{broken\n{broken\n")] == [1, 2]
    with pytest.raises(UnknownFormat, match="say --kind product or --kind article"):
        read(tmp_path, "{broken\n" * ROWS_LOOKED_AT + json.dumps(FIELDS))


def test_broken_xml_ends_the_feed_with_a_problem_for_everything_behind_it(tmp_path):
    item, problem = read(tmp_path, rss(XML_ITEM, "<g:id>x</wrong>"))
    assert item == TENT
    assert (problem.line, problem.item_id, problem.expected) == (2, "", "well-formed XML")


def test_xml_with_entities_of_its_own_is_refused(tmp_path):
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + rss(XML_ITEM)[21:]
    assert [str(entry) for entry in read(tmp_path, bomb)] == [
        "line 1: Expected XML without a DTD, got DTDForbidden"
    ]


def test_an_endless_item_is_not_read_to_its_end(tmp_path):
    long = f"<g:id>x</g:id><g:title>{'y' * (MAX_ITEM_BYTES + 70_000)}</g:title>"
    item, problem = read(tmp_path, rss(XML_ITEM, long, XML_ITEM))
    assert item == TENT
    assert str(problem).endswith(
        f"Expected an item of at most {MAX_ITEM_BYTES} bytes, got more than {MAX_ITEM_BYTES} bytes"
    )


def test_many_items_of_xml_stay_small(tmp_path):
    import tracemalloc

    path = tmp_path / "feed"
    path.write_text(rss(*(XML_ITEM for _ in range(4000))))
    tracemalloc.start()
    assert sum(isinstance(entry, Item) for entry in read_feed(path)) == 4000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < path.stat().st_size / 4


def test_json_that_is_nested_too_deeply_is_told(tmp_path):
    deep = '{"id": "x", "title": ' + "[" * 100_000 + "]" * 100_000 + "}"
    problem, item = read(tmp_path, deep + "\n" + json.dumps(FIELDS))
    assert (problem.line, item) == (1, TENT)


@pytest.mark.parametrize("content", ["", "name,price\na,1\n", "just text"])
def test_something_else_is_refused(tmp_path, content):
    with pytest.raises(
        UnknownFormat, match="Expected a feed in XML or JSON lines, or a table with the columns"
    ):
        read(tmp_path, content)
