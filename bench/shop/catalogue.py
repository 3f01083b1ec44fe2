"""The catalogue of the demo shop: products made from words, and what goes with what."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import exp, log
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from bench.shop.articles import make_articles, slug
from bench.shop.words import (
    BRANDS,
    CLOSINGS,
    COMPLEMENTS,
    CURRENCY,
    LEAVES,
    SERIES,
    SITE,
    VARIANT_PRICE,
    VARIANTS,
    records,
)

TIERS = 3  # of price: budget, middle, premium
_TIER_PRICE = (0.72, 1.0, 1.55)
_SIMILAR = 12  # neighbours kept for a product in its leaf

T = TypeVar("T")


class Pick(Generic[T]):
    """A weighted choice by one uniform number: O(log n), no allocation."""

    def __init__(self, items: list[T], weights: list[float]) -> None:
        if not items or len(items) != len(weights):
            raise ValueError(
                f"Expected as many weights as items, at least one, got {len(weights)} for {len(items)}"
            )
        self.items = items
        self._cumulative = list(accumulate(weights))
        self._total = self._cumulative[-1]

    def at(self, u: float) -> T:
        """The item at `u` in [0, 1)."""
        return self.items[min(bisect_right(self._cumulative, u * self._total), len(self.items) - 1)]


class Leaf(NamedTuple):
    """A leaf category: its slug, path `A > B > C`, and what its products are made of."""

    slug: str
    path: str
    google: str
    variant: str  # key of VARIANTS, or ""
    lasts_days: int  # how long a purchase lasts; 0: not consumed
    styles: tuple[tuple[str, float], ...]
    clause: str

    @property
    def url(self) -> str:
        return f"{SITE}/c/{self.slug}"


class Product(NamedTuple):
    """A product as the simulator uses it; `feed` is its row in the product feed."""

    row: int
    id: str
    leaf: Leaf
    tier: int
    brand: str
    price: float  # what it costs now, the sale price when there is one
    group: str  # item_group_id, or ""
    in_stock: bool
    popularity: float
    properties: dict[str, Any]  # as Segment events carry it
    feed: dict[str, str]


def read_leaves() -> list[Leaf]:
    """The category tree's leaves, in the order of `words.LEAVES`."""
    leaves = []
    for line in records(LEAVES):
        path, google, variant, lasts_days, styles, clause = (part.strip() for part in line.split("|"))
        priced = tuple((s.rsplit("=", 1)[0].strip(), float(s.rsplit("=", 1)[1])) for s in styles.split(";"))
        leaves.append(
            Leaf(slug(path.rsplit(" > ", 1)[1]), path, google, variant, int(lasts_days), priced, clause)
        )
    return leaves


class Catalogue:
    """Products and articles with everything that can be looked up about them, made from a seed.

    Same (seed, products, articles): same catalogue. `products` counts variants, as a feed does.
    """

    def __init__(self, seed: int, products: int, articles: int) -> None:
        self.leaves = read_leaves()
        if not 2 * len(self.leaves) <= products <= 5000:
            raise ValueError(f"Expected {2 * len(self.leaves)}..5000 products, got `{products}`")
        self.leaf_of = {leaf.slug: leaf for leaf in self.leaves}
        self.products = _make_products(seed, products, self.leaves)
        self.by_id = {product.id: product for product in self.products}
        self.articles = make_articles(seed, articles)
        self.encoded = [msgspec.Raw(msgspec.json.encode(p.properties)) for p in self.products]  # by row
        self.by_leaf: dict[str, list[Product]] = {leaf.slug: [] for leaf in self.leaves}
        for product in self.products:
            self.by_leaf[product.leaf.slug].append(product)
        self.encoded_list = {leaf.slug: _encoded_list(leaf, self.by_leaf[leaf.slug]) for leaf in self.leaves}
        self.similar = {p.row: _similar(p, self.by_leaf[p.leaf.slug]) for p in self.products}
        self.complements = {p.row: _complements(p, self.by_leaf) for p in self.products}
        self.by_taste = {
            (leaf, tier): Pick(members, [_appeal(p, tier) for p in members])
            for leaf, members in self.by_leaf.items()
            for tier in range(TIERS)
        }
        self.best_sellers = Pick(self.products, [p.popularity * p.in_stock + 1e-6 for p in self.products])
        self.articles_of: dict[str, list[dict[str, Any]]] = {leaf.slug: [] for leaf in self.leaves}
        for article in self.articles:
            for tag in article["tags"]:
                self.articles_of[tag].append(article)

    def complement_pick(self, product: Product) -> Pick[Product] | None:
        """What goes with `product`; None when nothing does."""
        return self.complements[product.row]


def _make_products(seed: int, count: int, leaves: list[Leaf]) -> list[Product]:
    products: list[Product] = []
    for place, leaf in enumerate(leaves):
        size = count * (place + 1) // len(leaves) - count * place // len(leaves)
        products.extend(_fill_leaf(Random(f"{seed}/leaf/{leaf.slug}"), leaf, size, len(products)))
    return products


class _Model(NamedTuple):
    """What all variants of a product share. `off` is the share taken off in a sale, 0 without one."""

    leaf: Leaf
    title: str
    about: str
    brand: str
    tier: int
    cost: float
    off: float
    popularity: float
    group: str


def _fill_leaf(rng: Random, leaf: Leaf, size: int, first_row: int) -> list[Product]:
    """`size` products of one leaf: models, each of one style, some in several variants."""
    kind = "Beans" if leaf.path.startswith("Coffee > Beans") else leaf.path.split(" > ")[0]
    brands = BRANDS[kind]
    names = [(brand, series) for series in SERIES[kind].split() for brand in brands]
    rng.shuffle(names)
    shift = int(rng.random() * len(leaf.styles))
    attraction = exp(rng.gauss(0, 0.7))  # some leaves sell more than others
    made: list[Product] = []
    number = 0
    while len(made) < size:
        brand, series = names[number % len(names)]
        style, base = leaf.styles[(number + shift) % len(leaf.styles)]
        tier = (brands.index(brand) + int(rng.random() * 1.3)) % TIERS
        variants = _variants_of(rng, leaf, size - len(made))
        number += 1
        known_as = style if kind == "Beans" else series
        closing = CLOSINGS[int(rng.random() * len(CLOSINGS))]
        model = _Model(
            leaf=leaf,
            title=f"{brand} {style} {series}" if kind == "Beans" else f"{brand} {series} {style}",
            about=f"{style} by {brand}. The {known_as} {leaf.clause}. {closing}",
            brand=brand,
            tier=tier,
            cost=base * _TIER_PRICE[tier] * (0.9 + 0.2 * rng.random()),
            off=(0.1, 0.15, 0.2, 0.3)[int(rng.random() * 4)] if rng.random() < 0.16 else 0.0,
            popularity=attraction / number**0.9,
            group=f"{leaf.slug}-g{number:02d}" if len(variants) > 1 else "",
        )
        for place, variant in enumerate(variants):
            row = first_row + len(made)
            made.append(_product(model, variant, row, len(made) + 1, place, rng.random()))
    return made


def _variants_of(rng: Random, leaf: Leaf, room: int) -> list[str]:
    if not leaf.variant:
        return [""]
    names = VARIANTS[leaf.variant]
    wanted = min(room, 1 + int(rng.random() * 3.5), len(names))
    start = int(rng.random() * (len(names) - wanted + 1))
    return list(names[start : start + wanted])


def _shelf_price(price: float) -> float:
    """Round as shops do: 7.40, 24.90, 129.00."""
    if price < 10:
        return round(price * 10) / 10
    return float(int(price)) + 0.9 if price < 100 else float(round(price / 10) * 10 - 1)


def _product(model: _Model, variant: str, row: int, number: int, place: int, draw: float) -> Product:
    """Variant number `place` of a model, product `number` of its leaf; `draw` decides its availability."""
    leaf = model.leaf
    code = f"{leaf.slug}-{number:03d}"
    title = f"{model.title}, {variant}" if variant else model.title
    price = _shelf_price(model.cost * VARIANT_PRICE.get(variant, 1.0))
    now = round(price * (1 - model.off), 2)
    availability = "out of stock" if draw < 0.04 else "preorder" if draw < 0.05 else "in stock"
    feed = {
        "id": code,
        "title": title,
        "description": model.about,
        "link": f"{SITE}/p/{code}",
        "image_link": f"{SITE}/img/{code}.jpg",
        "availability": availability,
        "price": f"{price:.2f} {CURRENCY}",
        "sale_price": f"{now:.2f} {CURRENCY}" if model.off else "",
        "brand": model.brand,
        "condition": "new",
        "google_product_category": leaf.google,
        "product_type": leaf.path,
        "item_group_id": model.group,
        "gtin": _gtin(row),
        "size": "" if leaf.variant == "colour" else variant,
        "color": variant if leaf.variant == "colour" else "",
    }
    properties = _properties(feed, variant, now)
    popularity = model.popularity / (1 + 0.4 * place)
    in_stock = availability != "out of stock"
    return Product(
        row, code, leaf, model.tier, model.brand, now, model.group, in_stock, popularity, properties, feed
    )


def _properties(feed: dict[str, str], variant: str, price: float) -> dict[str, Any]:
    """A feed row in the names of Segment's e-commerce specification."""
    properties: dict[str, Any] = {
        "product_id": feed["id"],
        "sku": feed["id"],
        "name": feed["title"],
        "brand": feed["brand"],
        "category": feed["product_type"],
        "price": price,
        "currency": CURRENCY,
        "url": feed["link"],
        "image_url": feed["image_link"],
    }
    return {**properties, "variant": variant} if variant else properties


def _gtin(row: int) -> str:
    """An EAN-13 of the range kept for use inside a shop (prefix 2), so that it is nobody's."""
    digits = f"200{row + 1:09d}"
    odd, even = sum(map(int, digits[::2])), sum(map(int, digits[1::2]))
    return f"{digits}{-(odd + 3 * even) % 10}"


def _encoded_list(leaf: Leaf, members: list[Product]) -> msgspec.Raw:
    """The properties of `Product List Viewed` for a leaf's first page, encoded once."""
    products = [{"product_id": p.id, "position": place} for place, p in enumerate(members[:8], 1)]
    properties = {"list_id": leaf.slug, "category": leaf.path, "products": products}
    return msgspec.Raw(msgspec.json.encode(properties))


def _appeal(product: Product, tier: int) -> float:
    near = (1.0, 0.35, 0.12)[abs(product.tier - tier)]
    return product.popularity * near * (1.0 if product.in_stock else 0.15)


def _similar(product: Product, members: list[Product]) -> Pick[Product] | None:
    """Others of the same leaf, nearer in price, brand and group more likely; None for a lonely product."""
    weighed = []
    for other in members:
        if other.row == product.row or not other.in_stock:
            continue
        weight = _appeal(other, product.tier) ** 0.5 * exp(-abs(log(other.price / product.price)))
        weight *= 2.0 if other.brand == product.brand else 1.0
        weight *= 0.5 if other.group and other.group == product.group else 1.0
        weighed.append((weight, other.row, other))
    weighed.sort(reverse=True)
    kept = weighed[:_SIMILAR]
    return Pick([other for _, _, other in kept], [weight**1.5 for weight, _, _ in kept]) if kept else None


def _complements(product: Product, by_leaf: dict[str, list[Product]]) -> Pick[Product] | None:
    """At most six products that go with this one: two of each of its first complement leaves."""
    items: list[Product] = []
    weights: list[float] = []
    for rank, leaf in enumerate(COMPLEMENTS.get(product.leaf.slug, ())[:3]):
        members = [p for p in by_leaf[leaf] if p.in_stock]
        best = sorted(
            members, key=lambda p: -_appeal(p, product.tier) * (1.6 if p.brand == product.brand else 1.0)
        )
        one_a_group = list({other.group or other.id: other for other in reversed(best)}.values())[::-1]
        for place, other in enumerate(one_a_group[:2]):
            items.append(other)
            weights.append(1.0 / (1 + rank) / (1 + 0.6 * place))
    return Pick(items, weights) if items else None
