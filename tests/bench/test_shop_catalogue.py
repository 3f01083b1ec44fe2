"""The simulated shop's catalogue: products and articles that could be a shop's."""

from __future__ import annotations

import csv
from collections import Counter

import msgspec
import pytest

from bench.shop import Shop


def test_catalogue_has_three_levels_readable_unique_names_and_sane_prices(shop):
    assert (len(shop.products), len(shop.articles)) == (800, 60)
    assert len({product["title"] for product in shop.products}) == 800
    assert len({product["id"] for product in shop.products}) == 800
    assert {product["product_type"].count(" > ") for product in shop.products} == {2}
    for product in shop.products:
        price = float(product["price"].removesuffix(" EUR"))
        assert 3 <= price <= 2500
        if product["sale_price"]:
            assert float(product["sale_price"].removesuffix(" EUR")) < price
    groups = Counter(product["item_group_id"] for product in shop.products if product["item_group_id"])
    assert len(groups) > 60
    assert min(groups.values()) >= 2
    assert {"in stock", "out of stock"} <= {product["availability"] for product in shop.products}


def test_gtins_carry_a_valid_check_digit_of_the_range_kept_for_shops(shop):
    for product in shop.products:
        digits = [int(digit) for digit in product["gtin"]]
        assert len(digits) == 13
        assert digits[0] == 2
        assert (sum(digits[::2]) + 3 * sum(digits[1::2])) % 10 == 0


def test_articles_are_about_categories_that_exist(shop):
    slugs = {product["id"].rsplit("-", 1)[0] for product in shop.products}
    assert {tag for article in shop.articles for tag in article["tags"]} <= slugs
    assert len({article["id"] for article in shop.articles}) == 60


def test_feed_and_articles_read_back(shop, tmp_path):
    shop.write_feed(tmp_path / "feed.tsv")
    shop.write_articles(tmp_path / "articles.jsonl")
    with (tmp_path / "feed.tsv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file, delimiter="\t")) == shop.products
    lines = (tmp_path / "articles.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == shop.articles


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"products": 20}, "Expected 110..5000 products, got `20`"),
        ({"articles": 61}, "Expected 1..60 articles, got `61`"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message.replace("..", r"\.\.")):
        Shop(**sizes)
