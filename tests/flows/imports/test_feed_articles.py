"""Feeds of articles, and how products and articles are told apart."""

from __future__ import annotations

import json

import pytest

from flows.imports.feed_values import read_ms
from flows.imports.source import UnknownFormat
from recsys.catalog import Item
from tests.flows.imports.feeds import read, rss

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
