"""The people of the demo shop: tastes, devices, accounts. All made up, all made from (seed, number)."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.shop.catalogue import TIERS, Catalogue, Pick, Product
from bench.shop.events import DAY_MS, HOUR_MS, LIBRARY, MINUTE_MS, iso
from bench.shop.words import records

# taste | how many have it | leaves with their weights
_TASTES = """
weekend hiker | 18 | daypacks 3, hiking-boots 3, socks 2, rain-jackets 3, trekking-poles 2,
    bottles-and-flasks 2, hiking-trousers 2, compasses-and-maps 1, trail-meals 1, hats 1
long-distance walker | 9 | hiking-backpacks 4, tents 3, sleeping-bags 3, sleeping-mats 3,
    water-filters 2, dry-bags 2, trail-meals 3, gas-canisters 2, trail-shoes 2, power-banks 1
family camper | 14 | tents 4, sleeping-mats 3, lanterns 3, camping-stoves 2, cookware 2,
    gas-canisters 2, hammocks 2, sleeping-bags 3, headlamps 2, tarps 1
climber | 7 | ropes 3, harnesses 3, carabiners-and-belay 5, chalk-and-tape 5, trail-shoes 1,
    insulated-jackets 1
winter walker | 7 | insulated-jackets 4, gloves 3, fleeces 3, merino-tops 3, leggings 2, hats 2,
    wash-and-proof 2, hiking-boots 2
espresso lover | 14 | espresso-beans 5, espresso-machines 3, electric-grinders 3,
    milk-jugs-and-tampers 3, cleaning 2, mugs 1, moka-pots 1
filter fan | 14 | filter-beans 5, pour-over-drippers 3, paper-filters 3, hand-grinders 3, kettles 2,
    coffee-scales 2, mugs 1, french-presses 1
easy drinker | 8 | french-presses 3, moka-pots 3, filter-beans 2, espresso-beans 3, decaf-beans 3,
    mugs 3, travel-mugs 2
coffee camper | 6 | travel-brewers 4, hand-grinders 3, travel-mugs 2, camping-stoves 3, cookware 2,
    filter-beans 3, gas-canisters 2
everyday wearer | 8 | fleeces 3, shorts 2, hats 3, rain-jackets 3, merino-tops 2, daypacks 2,
    trail-shoes 2, leggings 1
"""
_FIRST = (
    "Anna", "Ben", "Carla", "David", "Elif", "Finn", "Greta", "Hugo", "Ines", "Jonas", "Karim", "Lena",
    "Mats", "Nora", "Omar", "Pia", "Rafael", "Sofia", "Tom", "Yara",
)  # fmt: skip
_LAST = (
    "Abel", "Brandt", "Costa", "Dorn", "Eriksen", "Fuchs", "Greco", "Holm", "Ivanov", "Jansen", "Keller",
    "Lund", "Meyer", "Novak", "Okoro", "Petit", "Ruiz",
)  # fmt: skip
_COMPANIES = ("Café Nordlicht", "Hikers' Hut Association", "Studio Elf", "Bergblick Guesthouse")

_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
_AGENT = {
    "desktop": "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "mobile": f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {_WEBKIT}",
    "tablet": f"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) {_WEBKIT}",
    "app": "TarnAndKettle/4.2 (simulated; Android 15)",
}
_KIND = Pick(["mobile", "desktop", "tablet", "app"], [50.0, 36.0, 6.0, 8.0])
_CONSENT = Pick(
    [
        {"analytics": True, "advertising": True, "personalization": True},
        {"analytics": True, "advertising": False, "personalization": False},
        {"analytics": False, "advertising": False, "personalization": False},
    ],
    [88.0, 8.0, 4.0],
)
_WRONG_CLOCK_SHARE = 0.025
# Minutes to more than a year: a wrong zone set by hand, a drifting clock, a dead battery.
_WRONG_CLOCKS_MS = (HOUR_MS, -HOUR_MS, 4 * MINUTE_MS, -11 * MINUTE_MS, 2 * DAY_MS, -400 * DAY_MS)


class CartLine:
    """A product in a cart and how many of it."""

    __slots__ = ("product", "quantity")

    def __init__(self, product: Product, quantity: int) -> None:
        self.product = product
        self.quantity = quantity


@dataclass
class Device:
    """One browser or app, one anonymousId. `user_id` is set while somebody is logged in on it."""

    anonymous_id: str
    kind: str
    context: dict[str, Any]
    clock_off_ms: int
    user_id: str = ""
    cart: list[CartLine] = field(default_factory=list)


@dataclass
class Person:
    """Somebody with a taste, and what the simulator remembers of them between visits (bounded)."""

    number: int
    taste: str
    tier: int
    leaves: list[str]  # the favourite leaf categories, the dearest first
    leaf_pick: Pick[str]
    devices: list[Device]
    user_id: str  # their account; "" for those who never make one
    traits: dict[str, Any]
    company: str
    signed_up: bool
    mail_ok: bool
    cart: list[CartLine] = field(default_factory=list)  # the account's cart, on every device logged in
    seen: list[Product] = field(default_factory=list)  # newest last, at most 12
    wished: list[Product] = field(default_factory=list)  # at most 5
    runs_out: list[tuple[int, Product]] = field(default_factory=list)  # (at_ms, consumable), at most 4
    visits: int = 0
    orders: int = 0
    compared: bool = False  # a comparison makes a later purchase likelier

    def remember(self, product: Product) -> None:
        """Note a product looked at."""
        self.seen.append(product)
        del self.seen[:-12]


def _read_tastes() -> Pick[tuple[str, list[str], list[float]]]:
    tastes, shares = [], []
    for line in records(_TASTES):
        name, share, leaves = line.split(" | ")
        pairs = [pair.rsplit(" ", 1) for pair in leaves.split(", ")]
        tastes.append((name, [leaf for leaf, _ in pairs], [float(weight) for _, weight in pairs]))
        shares.append(float(share))
    return Pick(tastes, shares)


_TASTE = _read_tastes()


def make_person(seed: int, number: int, first_seen_ms: int, catalogue: Catalogue) -> Person:
    """Person `number`, always the same one for the same seed; `first_seen_ms` dates what they own already."""
    rng = Random(f"{seed}/person/{number}")
    draw = rng.random
    taste, leaves, weights = _TASTE.at(draw())
    own = [weight * (0.3 + 2.0 * draw() ** 2) for weight in weights]
    ranked = sorted(zip(own, leaves, strict=True), reverse=True)[:5]
    tier = min(int(draw() * 3.6), 3) % TIERS if draw() < 0.9 else 2
    has_account = draw() < 0.45
    first, last = _FIRST[int(draw() * len(_FIRST))], _LAST[int(draw() * len(_LAST))]
    user_id = f"customer-{100_000 + number}" if has_account else ""
    person = Person(
        number=number,
        taste=taste,
        tier=tier,
        leaves=[leaf for _, leaf in ranked],
        leaf_pick=Pick([leaf for _, leaf in ranked], [weight for weight, _ in ranked]),
        devices=[_make_device(rng, number) for _ in range(2 if has_account and draw() < 0.4 else 1)],
        user_id=user_id,
        traits={
            "email": f"{first}.{last}.{number}@mail.example".lower(),
            "firstName": first,
            "lastName": last,
            "createdAt": iso(first_seen_ms - int(draw() * 500) * DAY_MS),
        },
        company=_COMPANIES[int(draw() * len(_COMPANIES))] if draw() < 0.03 else "",
        signed_up=has_account and draw() < 0.45,
        mail_ok=draw() < 0.7,
    )
    if person.signed_up and draw() < 0.5:
        _own_something(rng, person, first_seen_ms, catalogue)
    return person


def _own_something(rng: Random, person: Person, first_seen_ms: int, catalogue: Catalogue) -> None:
    """A customer of old has consumables at home that run out about now."""
    for leaf in person.leaves:
        if catalogue.leaf_of[leaf].lasts_days:
            product = catalogue.by_taste[leaf, person.tier].at(rng.random())
            person.runs_out.append((first_seen_ms + int((rng.random() - 0.4) * 20 * DAY_MS), product))
            person.orders = 1
            return


def _make_device(rng: Random, number: int) -> Device:
    kind = _KIND.at(rng.random())
    consent = _CONSENT.at(rng.random())
    wrong = rng.random() < _WRONG_CLOCK_SHARE
    clock_off_ms = _WRONG_CLOCKS_MS[int(rng.random() * len(_WRONG_CLOCKS_MS))] if wrong else 0
    context: dict[str, Any] = {
        "library": LIBRARY,
        "userAgent": _AGENT[kind],
        "locale": "en-GB",
        "timezone": "Europe/Berlin",
        "ip": f"203.0.113.{number % 254 + 1}",  # TEST-NET-3: nobody's address
        "device": {"type": "mobile" if kind == "app" else kind},
        "consent": {"categoryPreferences": consent},
    }
    if kind == "app":
        context["app"] = {"name": "Tarn & Kettle (simulated)", "version": "4.2"}
        context["device"] = {"type": "android", "model": "Simulated"}
    return Device(
        f"{'app' if kind == 'app' else 'web'}-{rng.getrandbits(64):016x}", kind, context, clock_off_ms
    )
