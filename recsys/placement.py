"""Placements: the named places of pages and emails, and those that are built in."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

SourceName = Literal[
    "neighbours",
    "als",
    "kindred",
    "buy_again",
    "item_to_item",
    "bought_together",
    "content",
    "trending",
    "surging",
    "lately",
    "recent",
    "cart",
    "price_drop",
    "back_in_stock",
    "complements",
    "popular",
]
Tier = Literal["browsing", "comparison", "ready_to_buy"]
"""Of intent; see `recsys.intent`."""
Kind = Literal["product", "article", "banner"]
"""What may stand in a mixed block."""
Channel = Literal["web", "email"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A named place on a page or in an email, as configured."""

    title: str = ""
    """What stands above the block."""
    sources: dict[SourceName, Annotated[float, msgspec.Meta(ge=0, le=1000)]] = {}
    """Sources of candidates by their weights, which decide where a bundle has no ranker and which source
    leads; `recsys.pipeline.candidates` says what each is."""
    leading_sources: tuple[SourceName, ...] = ()
    """Of `sources`, those whose items come first, by their weights; items of the others come behind, as
    usual. So a block of complements goes by what was bought together, not by what is looked at next."""
    item_types: tuple[Literal["product", "article"], ...] = ("product",)
    """The types of items that may stand in it; at least one."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 10
    """Items when the request names no number."""
    filter: str = ""
    """What items must pass besides, in CEL: `price_now < 50.0 && !("clearance" in tags)`."""
    min_age: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Set it where the place stands behind an age gate: everybody who sees it is at least so many years old,
    and items that ask for no more are shown to people of whom the caller says no age."""
    needs_item: bool = False
    """The request must name the page's item (product.similar)."""
    exclude_cart: bool = False
    """Leave out what is in the cart."""
    other_categories: bool = False
    """Leave out what has the same last category as the page's item or as something in the cart: it would take
    its place, not go with it."""
    exclude_session_items: bool = False
    """Leave out what the open session has already looked at."""
    pages: bool = False
    """Whether a block has a cursor, with which the next page is asked for."""
    lead_with_cart: bool = False
    """What was left in the cart stands first (email.cart_recovery)."""
    max_per_brand: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The most items of one brand in a block; unset: no limit. A block may be shorter for it."""
    max_per_category: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The most items of one last category in a block; unset: no limit."""
    diversity: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """How much variety of content counts against relevance (maximal marginal relevance), 0 to 1; 0: not."""
    explore: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.0
    """The share of places that goes to items newer than the model, drawn for each person anew each day."""
    shares: dict[Kind, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}
    """A mixed block: about which part of its places each kind takes, at most 1 together, spread over the
    block; where one runs out, another takes its places. Banners are those of `[banners]`. Empty: whatever is
    best."""
    prefer_tags: dict[Tier, tuple[str, ...]] = {}
    """Tags by the person's tier of intent: items with one of them come before items without."""
    fills: bool = True
    """Whether what is in demand fills the places for which no source had anything. False for a mail about
    prices: it may be short, and where there is nothing to tell it is empty."""
    bought_within_days: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Leave out what the person ordered in the last so many days, in all its variants; 0: leave out none."""
    urgent_stock: Annotated[int, msgspec.Meta(ge=0)] = 0
    """An item says how many are left where they are no more than this, by a feed of the last 24 hours; 0: it
    never does."""
    urgent_sale_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """An item says when its sale ends where that is within this time; 0: it never does."""
    urgent_tiers: tuple[Tier, ...] = ("ready_to_buy",)
    """The tiers of intent in which people are told of stock and sale."""
    cooldown_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long a person is not shown again what this placement has shown them, banners among it, nor another
    variant of it; 0: the next request may show the same. Of each placement the newest 24 blocks are
    remembered."""
    cooldown_blocks: Annotated[int, msgspec.Meta(ge=0, le=24)] = 0
    """Leave out what the last so many of its own blocks have shown this person, however long ago; 0: none."""
    cooldown_of: tuple[str, ...] = ()
    """Placements whose blocks count for `cooldown_s` besides its own: by name, or `web` or `email` for all of
    that channel. Without `cooldown_s` it would do nothing, and is refused."""
    channel: Channel = "web"
    """Where it is shown: people who get no mail get no block of `email`."""
    render_ttl_s: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How long one `render_id` keeps its decision; unset: `server.render_ttl_s`. After that the answer is
    decided anew, and says what changed."""


PRODUCT_FEED: dict[SourceName, float] = {
    "neighbours": 1.0,
    "als": 0.6,
    "kindred": 0.6,
    "buy_again": 0.5,
    "item_to_item": 0.5,
    "content": 0.2,
    "recent": 0.5,
    "trending": 0.3,
    "lately": 0.3,
    "surging": 0.1,
    "popular": 0.05,
}

COMPLEMENTING: tuple[SourceName, ...] = ("bought_together", "complements")

CONTENT_BY_TIER: dict[Tier, tuple[str, ...]] = {
    "browsing": ("educational",),
    "comparison": ("comparison", "advantages"),
    "ready_to_buy": ("advantages",),
}
"""The built-in `prefer_tags` of articles."""

DEFAULT_PLACEMENTS: dict[str, Placement] = {
    "home.hero": Placement(title="For you", sources=PRODUCT_FEED, limit=3, exclude_cart=True),
    "home.feed": Placement(title="You may like", sources=PRODUCT_FEED, limit=20, pages=True, explore=0.05),
    "product.similar": Placement(
        title="Similar",
        sources={"item_to_item": 1.0, "content": 1.0, "neighbours": 0.3, "popular": 0.05},
        needs_item=True,
    ),
    "product.complements": Placement(
        title="Goes well with it",
        sources={
            "bought_together": 1.0,
            "complements": 0.3,
            "neighbours": 0.2,
            "item_to_item": 0.1,
            "popular": 0.02,
        },
        leading_sources=COMPLEMENTING,
        needs_item=True,
        exclude_cart=True,
        other_categories=True,
    ),
    "cart.cross_sell": Placement(
        title="Goes well with your cart",
        sources={"bought_together": 1.0, "complements": 0.3, "neighbours": 0.3, "als": 0.2, "popular": 0.05},
        leading_sources=COMPLEMENTING,
        exclude_cart=True,
        other_categories=True,
    ),
    "article.next": Placement(
        title="Read on",
        sources={
            "content": 1.0,
            "neighbours": 0.8,
            "lately": 0.6,
            "surging": 0.3,
            "trending": 0.2,
            "popular": 0.05,
        },
        item_types=("article",),
        limit=5,
        exclude_session_items=True,
        prefer_tags=CONTENT_BY_TIER,
        explore=0.05,
    ),
    "home.mixed": Placement(
        title="From our shop",
        sources=PRODUCT_FEED,
        item_types=("product", "article"),
        shares={"product": 0.6, "article": 0.3, "banner": 0.1},
        bought_within_days=7,
        prefer_tags=CONTENT_BY_TIER,
        limit=10,
    ),
    "email.cart_recovery": Placement(
        title="You left something behind",
        # Behind the cart what `cart.cross_sell` would show.
        sources={
            "cart": 1.0,
            "bought_together": 1.0,
            "complements": 0.3,
            "neighbours": 0.3,
            "als": 0.2,
            "popular": 0.05,
        },
        leading_sources=COMPLEMENTING,
        limit=6,
        lead_with_cart=True,
        other_categories=True,
        urgent_stock=3,
        urgent_sale_s=2 * 86_400,
        urgent_tiers=get_args(Tier),
        channel="email",
    ),
    "email.price_drop": Placement(
        title="Cheaper now",
        sources={"price_drop": 1.0},
        limit=6,
        fills=False,
        bought_within_days=30,
        urgent_sale_s=2 * 86_400,
        urgent_tiers=get_args(Tier),
        channel="email",
    ),
    "email.back_in_stock": Placement(
        title="Here again",
        sources={"back_in_stock": 1.0},
        limit=6,
        fills=False,
        bought_within_days=30,
        urgent_stock=3,
        urgent_tiers=get_args(Tier),
        channel="email",
    ),
    "email.digest": Placement(
        title="New for you",
        sources={
            "als": 1.0,
            "kindred": 1.0,
            "buy_again": 0.6,
            "price_drop": 0.8,
            "back_in_stock": 0.8,
            "neighbours": 0.5,
            "content": 0.4,
            "trending": 0.3,
            "popular": 0.05,
        },
        item_types=("product", "article"),
        bought_within_days=7,
        limit=8,
        explore=0.05,
        cooldown_blocks=3,
        channel="email",
    ),
}
