"""One product as a feed tells it, feeds as RSS, and the reading of what a test wrote."""

from __future__ import annotations

from flows.imports.feeds import read_feed
from recsys.catalog import Item

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


def rss(*items):
    channel = "".join(f"<item>{item}</item>" for item in items)
    return (
        '<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>'
        f"<title>Shop</title><link>https://shop.example</link>{channel}</channel></rss>"
    )


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


XML_ITEM = "".join(f"<g:{name}>{escaped(text)}</g:{name}>" for name, text in FIELDS.items())


def read(tmp_path, content, **options):
    path = tmp_path / "feed"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_feed(path, **options))
