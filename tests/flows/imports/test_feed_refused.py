"""Feeds that are wrong: rows are told and skipped, broken files end early, others are refused."""

from __future__ import annotations

import json

import pytest

from flows.imports.feed_xml import MAX_ITEM_BYTES
from flows.imports.feeds import ROWS_LOOKED_AT
from flows.imports.source import UnknownFormat
from recsys.events import MAX_ID_BYTES
from tests.flows.imports.feeds import FIELDS, TENT, XML_ITEM, read, rss


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
        ("min_age", "201", "Expected a number of years, got `201` - at `min_age`"),
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
