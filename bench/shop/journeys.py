"""Why people come and what they then do: one plan an intent, written in acts of `visit.Visit`.

The next product follows the last one: mostly its like, often what goes with it, else what the person's
taste prefers. That is the structure a recommender should find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.shop.catalogue import Leaf, Pick, Product
from bench.shop.people import Person
from bench.shop.visit import Visit

# Intents: the truth behind a visit. `left_at_once` sees one page.
INTENTS = ("left_at_once", "looking", "reading", "comparing", "buying", "gift", "buying_again")
_INTENT = Pick(list(INTENTS[:6]), [24.0, 35.6, 15.2, 19.0, 2.0, 4.2])
_INTENT_AFTER_COMPARING = Pick(list(INTENTS[:6]), [12.0, 31.0, 11.0, 35.0, 7.0, 4.0])

_CHANNEL: Pick[dict[str, Any]] = Pick(
    [
        {"referrer": "", "campaign": None},
        {"referrer": "https://www.google.com/", "campaign": None},
        {
            "referrer": "https://www.google.com/",
            "campaign": {"source": "google", "medium": "cpc", "name": "outdoor-season"},
        },
        {
            "referrer": "https://www.instagram.com/",
            "campaign": {"source": "instagram", "medium": "social", "name": "slow-coffee"},
        },
        {"referrer": "https://trailblog.example/best-of", "campaign": None},
        {
            "referrer": "https://partner.example/deals",
            "campaign": {"source": "partner", "medium": "affiliate", "name": "deals"},
        },
    ],
    [32.0, 30.0, 16.0, 10.0, 7.0, 5.0],
)
_SAME_LEAF, _GOES_WITH, _SEEN_BEFORE, _TASTE, _FAVOURITE = "similar", "complement", "seen", "taste", "popular"
_STEP_WHEN_LOOKING = Pick(
    [_SAME_LEAF, _GOES_WITH, _SEEN_BEFORE, _TASTE, _FAVOURITE], [44.0, 19.0, 6.0, 24.0, 7.0]
)
_STEP_WHEN_COMPARING = Pick([_SAME_LEAF, _GOES_WITH, _SEEN_BEFORE, _TASTE], [66.0, 6.0, 22.0, 6.0])
_GIFT_LEAVES = ("mugs", "hats", "lanterns", "travel-mugs", "socks", "moka-pots", "filter-beans", "hammocks")


def choose_channel(u: float) -> dict[str, Any]:
    """Where a visitor comes from: `referrer` and `campaign` (None without one)."""
    return _CHANNEL.at(u)


def choose_intent(person: Person, at_ms: int, u: float) -> str:
    """Why they come now; an empty tin of coffee counts more than moods."""
    if any(due_ms <= at_ms for due_ms, _ in person.runs_out) and u < 0.55:
        return "buying_again"
    return (_INTENT_AFTER_COMPARING if person.compared else _INTENT).at(u)


def play(visit: Visit, intent: str) -> None:
    """Play one visit of that intent to its end."""
    if visit.device.user_id == "" and visit.person.signed_up and visit.draw() < 0.3:
        visit.log_in()
    _PLANS[intent](visit)
    if visit.device.user_id and visit.draw() < 0.05:
        visit.log_out()
        if visit.draw() < 0.5:
            visit.home()


def _leave_at_once(visit: Visit) -> None:
    u = visit.draw()
    if u < 0.4:
        visit.home()
    elif u < 0.8:
        visit.view(_by_taste(visit))
    else:
        _read_one(visit)


def _look(visit: Visit) -> None:
    if visit.draw() < 0.5:
        visit.home()
    current = _from_list(visit, _favourite_leaf(visit))
    for _ in range(int(visit.draw() * visit.draw() * 9)):
        current = _next(visit, current, _STEP_WHEN_LOOKING)
        visit.view(current)
        if visit.draw() < 0.12:
            visit.list_page(current.leaf)
    if visit.draw() < 0.04:
        visit.wish(current)
    if visit.draw() < 0.05 and visit.add(current) and visit.draw() < 0.3:
        visit.cart()


def _read(visit: Visit) -> None:
    leaf = _favourite_leaf(visit)
    for _ in range(1 + int(visit.draw() * 2.6)):
        article = _read_one(visit, leaf)
        if visit.draw() < 0.35:
            about = visit.catalogue.leaf_of[article["tags"][int(visit.draw() * len(article["tags"]))]]
            visit.view(visit.catalogue.by_taste[about.slug, visit.person.tier].at(visit.draw()))
            visit.person.compared = visit.person.compared or visit.draw() < 0.3


def _compare(visit: Visit) -> None:
    leaf = _favourite_leaf(visit)
    if visit.draw() < 0.45:
        visit.search(_query(visit, leaf))
    current = _from_list(visit, leaf)
    for _ in range(2 + int(visit.draw() * 6)):
        current = _next(visit, current, _STEP_WHEN_COMPARING)
        visit.view(current)
    if visit.draw() < 0.3:
        _read_one(visit, leaf)
    if visit.draw() < 0.08:
        visit.wish(current)
    if visit.draw() < 0.16 and visit.add(current):
        _maybe_complement(visit, current)
        if visit.draw() < 0.5:
            visit.cart()
        if visit.draw() < 0.12:
            visit.checkout(0.35)
    visit.person.compared = True


def _buy(visit: Visit) -> None:
    person = visit.person
    wanted = person.wished[-1] if person.wished else person.seen[-1] if person.seen else None
    if wanted is None or not wanted.in_stock or visit.draw() < 0.4:
        leaf = wanted.leaf if wanted else _favourite_leaf(visit)
        if visit.draw() < 0.5:
            visit.search(_query(visit, leaf))
        wanted = _from_list(visit, leaf)
        for _ in range(int(visit.draw() * 3)):
            wanted = _next(visit, wanted, _STEP_WHEN_COMPARING)
            visit.view(wanted)
    else:
        visit.view(wanted)
    if visit.draw() < 0.85 and visit.add(wanted):
        _maybe_complement(visit, wanted)
        visit.cart()
        if visit.checkout(0.72):
            person.compared = False


def _gift(visit: Visit) -> None:
    slugs = _GIFT_LEAVES
    leaf = visit.catalogue.leaf_of[slugs[int(visit.draw() * len(slugs))]]
    if visit.draw() < 0.3:
        visit.search("gift")
    current = _from_list(visit, leaf)
    for _ in range(int(visit.draw() * 4)):
        current = _next(visit, current, _STEP_WHEN_LOOKING)
        visit.view(current)
    if visit.draw() < 0.15:
        visit.wish(current)
    if visit.draw() < 0.25 and visit.add(current):
        visit.cart()
        if visit.draw() < 0.5:
            visit.checkout(0.6)


def _buy_again(visit: Visit) -> None:
    person = visit.person
    due = [(due_ms, product) for due_ms, product in person.runs_out if due_ms <= visit.now_ms]
    if not due:
        _look(visit)
        return
    visit.log_in()
    for due_ms, product in due:
        visit.view(product)
        if visit.draw() < 0.05:
            visit.review(product)
        person.runs_out.remove((due_ms, product))
        visit.add(product, 1 + int(visit.draw() * 1.4))
    visit.cart()
    visit.checkout(0.75)


def _maybe_complement(visit: Visit, product: Product) -> None:
    goes_with = visit.catalogue.complement_pick(product)
    if goes_with and visit.draw() < 0.45:
        other = goes_with.at(visit.draw())
        visit.view(other)
        if visit.draw() < 0.7:
            visit.add(other, 2 if other.price < 10 else 1)


def _favourite_leaf(visit: Visit) -> Leaf:
    return visit.catalogue.leaf_of[visit.person.leaf_pick.at(visit.draw())]


def _by_taste(visit: Visit) -> Product:
    if visit.draw() < 0.12:
        return visit.catalogue.best_sellers.at(visit.draw())
    return visit.catalogue.by_taste[visit.person.leaf_pick.at(visit.draw()), visit.person.tier].at(
        visit.draw()
    )


def _from_list(visit: Visit, leaf: Leaf) -> Product:
    visit.list_page(leaf)
    product = visit.catalogue.by_taste[leaf.slug, visit.person.tier].at(visit.draw())
    visit.view(product, list_id=leaf.slug)
    return product


def _next(visit: Visit, current: Product, steps: Pick[str]) -> Product:
    step = steps.at(visit.draw())
    goes_with = None
    if step == _SAME_LEAF:
        goes_with = visit.catalogue.similar[current.row]
    elif step == _GOES_WITH:
        goes_with = visit.catalogue.complement_pick(current)
    elif step == _FAVOURITE:
        goes_with = visit.catalogue.best_sellers
    elif step == _SEEN_BEFORE and visit.person.seen:
        product = visit.person.seen[int(visit.draw() * len(visit.person.seen))]
        if product.row != current.row:
            return product
    return goes_with.at(visit.draw()) if goes_with else _by_taste(visit)


def _read_one(visit: Visit, leaf: Leaf | None = None) -> dict[str, Any]:
    about = visit.catalogue.articles_of[(leaf or _favourite_leaf(visit)).slug]
    articles = about if about and visit.draw() < 0.7 else visit.catalogue.articles
    u = visit.draw()  # squared: the first articles are the well-known ones
    article = articles[int(u * u * len(articles))]
    visit.read(article)
    return article


def _query(visit: Visit, leaf: Leaf) -> str:
    words = leaf.path.rsplit(" > ", 1)[1].lower()
    u = visit.draw()
    if u < 0.45:
        return words
    if u < 0.75:
        return leaf.styles[int(visit.draw() * len(leaf.styles))][0].lower()
    if u < 0.9:
        return f"{words} {('cheap', 'good', 'best')[visit.person.tier]}"
    cut = 1 + int(visit.draw() * (len(words) - 2))
    return words[:cut] + words[cut + 1 :]  # a typing error


_PLANS: dict[str, Callable[[Visit], object]] = {
    "left_at_once": _leave_at_once,
    "looking": _look,
    "reading": _read,
    "comparing": _compare,
    "buying": _buy,
    "gift": _gift,
    "buying_again": _buy_again,
}
