"""A visitor whose every step is told: what the demo and end-to-end tests play."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from bench.shop.articles import slug
from bench.shop.catalogue import Catalogue, Product
from bench.shop.events import LIBRARY, Wire
from bench.shop.people import CartLine
from bench.shop.visit import cart_products
from bench.shop.words import CURRENCY, SITE

_STEP_MS = 5_000


class ScriptedVisitor:
    """One device. Each method returns the bytes of one event, as a browser would send it.

    `at_ms` (epoch ms) is when it happens; without it, five seconds after the step before. A product or
    an article is given as its id or its row of `Shop.products` or `Shop.articles`; KeyError for others.
    """

    def __init__(self, catalogue: Catalogue, name: str, at_ms: int) -> None:
        self.name = name
        self.anonymous_id = f"web-{slug(name)}"
        self.now_ms = at_ms
        self.cart: list[CartLine] = []
        self._catalogue = catalogue
        self._articles = {article["id"]: article for article in catalogue.articles}
        self._orders = 0
        token = sha256(f"{name}/{at_ms}".encode()).hexdigest()[:16]
        context = {
            "library": LIBRARY,
            "userAgent": "simulated-browser/1",
            "device": {"type": "desktop"},
            "locale": "en-GB",
            "consent": {
                "categoryPreferences": {"analytics": True, "advertising": True, "personalization": True}
            },
        }
        self._wire = Wire(self.anonymous_id, context, token, instant=True)
        self._token = token
        self._page_url = ""

    @property
    def user_id(self) -> str:
        """The customer logged in on this device, or ""."""
        return self._wire.user_id

    def home(self, at_ms: int | None = None) -> bytes:
        """Open the home page."""
        self._open("/", "Tarn & Kettle")
        return self._send(
            "page", at_ms, {"name": "Home", "properties": {"path": "/", "title": "Tarn & Kettle"}}
        )

    def view(self, product: str | Mapping[str, Any], at_ms: int | None = None) -> bytes:
        """Look at a product."""
        found = self._product(product)
        self._open(f"/p/{found.id}", found.properties["name"])
        return self._track("Product Viewed", at_ms, found.properties)

    def add_to_cart(
        self, product: str | Mapping[str, Any], quantity: int = 1, at_ms: int | None = None
    ) -> bytes:
        """Put a product into the cart."""
        found = self._product(product)
        line = next((line for line in self.cart if line.product.row == found.row), None)
        if line:
            line.quantity += quantity
        else:
            self.cart.append(CartLine(found, quantity))
        return self._track(
            "Product Added", at_ms, {**found.properties, "quantity": quantity, "cart_id": self._cart_id()}
        )

    def read(
        self,
        article: str | Mapping[str, Any],
        dwell_s: float = 90.0,
        scroll: float = 0.9,
        at_ms: int | None = None,
    ) -> bytes:
        """Read an article for `dwell_s` seconds, down to `scroll` (0..1) of it."""
        found = self._articles[article if isinstance(article, str) else article["id"]]
        self._open(f"/read/{found['id'].removeprefix('article-')}", found["title"])
        return self._track(
            "Article Read",
            at_ms,
            {
                "content_id": found["id"],
                "title": found["title"],
                "category": found["category"],
                "tags": found["tags"],
                "dwell_s": dwell_s,
                "scroll": scroll,
            },
        )

    def search(self, query: str, at_ms: int | None = None) -> bytes:
        """Search the shop."""
        self._open("/search", f"Search: {query}")
        return self._track("Products Searched", at_ms, {"query": query})

    def identify(self, user_id: str, at_ms: int | None = None) -> bytes:
        """Log in; every later event carries the userId."""
        self._wire.user_id = user_id
        traits = {"email": f"{slug(user_id)}@mail.example", "firstName": self.name}
        return self._send("identify", at_ms, {"traits": traits})

    def log_out(self, at_ms: int | None = None) -> bytes:
        """Log out; the event itself still carries the userId."""
        raw = self._track("Signed Out", at_ms, {"username": self.user_id})
        self._wire.user_id = ""
        return raw

    def order(self, at_ms: int | None = None) -> bytes:
        """Buy what is in the cart; ValueError when it is empty."""
        if not self.cart:
            raise ValueError(f"Expected something in the cart of `{self.name}`, got an empty cart")
        self._orders += 1
        total = round(sum(line.product.price * line.quantity for line in self.cart), 2)
        order = {
            "order_id": f"order-{self._token}-{self._orders}",
            "currency": CURRENCY,
            "total": total,
            "revenue": total,
            "products": cart_products(self.cart),
        }
        self.cart = []
        self._open("/thanks", "Thank you")
        return self._track("Order Completed", at_ms, order)

    def on_another_device(self, at_ms: int) -> ScriptedVisitor:
        """The same human on a second device: another anonymousId, nobody logged in."""
        return ScriptedVisitor(self._catalogue, f"{self.name} second device", at_ms)

    def _product(self, product: str | Mapping[str, Any]) -> Product:
        return self._catalogue.by_id[product if isinstance(product, str) else product["id"]]

    def _cart_id(self) -> str:
        return f"cart-{self.user_id or self.anonymous_id}"

    def _open(self, path: str, title: str) -> None:
        self._wire.open_page(path, title, self._page_url)
        self._page_url = SITE + path

    def _track(self, event: str, at_ms: int | None, properties: Mapping[str, Any]) -> bytes:
        return self._send("track", at_ms, {"event": event, "properties": properties})

    def _send(self, kind: str, at_ms: int | None, body: Mapping[str, Any]) -> bytes:
        self.now_ms = self.now_ms + _STEP_MS if at_ms is None else at_ms
        self._wire.send(kind, self.now_ms, body)
        return self._wire.out.pop().raw
