"""What somebody can do in the shop during one visit; each act emits the events a real shop would emit."""

from __future__ import annotations

from random import Random
from typing import Any

from bench.shop.catalogue import Catalogue, Leaf, Product
from bench.shop.events import MINUTE_MS, Wire
from bench.shop.people import CartLine, Device, Person
from bench.shop.words import CURRENCY, SITE

MAX_CART_LINES = 12
_FREE_SHIPPING_FROM = 60.0


class Visit:
    """One person on one device from landing to leaving. `now_ms` is true time and only moves on."""

    def __init__(
        self,
        catalogue: Catalogue,
        person: Person,
        device: Device,
        wire: Wire,
        rng: Random,
        at_ms: int,
        channel: dict[str, Any],
    ) -> None:
        self.catalogue = catalogue
        self.person = person
        self.device = device
        self.wire = wire
        self.draw = rng.random
        self.now_ms = at_ms
        self.ordered: list[tuple[str, list[CartLine], float]] = []
        self._channel = channel
        self._landed = False
        self._page_url = channel["referrer"]

    def wait(self, least_s: float, most_s: float) -> None:
        """Let time pass; short waits are likelier than long ones."""
        u = self.draw()
        self.now_ms += int(1000 * (least_s + (most_s - least_s) * u * u))

    def page(self, path: str, title: str, category: str) -> None:
        """Open a page (in the app: a screen)."""
        campaign = None if self._landed else self._channel["campaign"]
        self.wire.open_page(path, title, self._page_url, campaign)
        self._landed = True
        self._page_url = SITE + path
        call = "screen" if self.device.kind == "app" else "page"
        properties = {"path": path, "title": title, "url": SITE + path}
        self.wire.send(call, self.now_ms, {"name": category, "properties": properties})
        self.now_ms += 60

    def home(self) -> None:
        """The home page with its promotion."""
        self.page("/", "Tarn & Kettle", "Home")
        if self.draw() < 0.4:
            promotion = {
                "promotion_id": "promo-week",
                "creative": "hero-1",
                "name": "Offer of the week",
                "position": "home_top",
            }
            self.wire.track("Promotion Viewed", self.now_ms, promotion)
            if self.draw() < 0.15:
                self.wait(2, 10)
                self.wire.track("Promotion Clicked", self.now_ms, promotion)
        self.wait(2, 25)

    def list_page(self, leaf: Leaf) -> None:
        """A category's list, sometimes narrowed."""
        self.page(f"/c/{leaf.slug}", leaf.path.rsplit(" > ", 1)[1], "Category")
        members = self.catalogue.by_leaf[leaf.slug]
        self.wire.track("Product List Viewed", self.now_ms, self.catalogue.encoded_list[leaf.slug])
        self.wait(4, 40)
        if self.draw() < 0.15:
            filters = [{"type": "price", "value": ("under-50", "50-150", "over-150")[self.person.tier]}]
            listed = [{"product_id": p.id} for p in members if p.tier == self.person.tier][:8]
            self.wire.track(
                "Product List Filtered",
                self.now_ms,
                {
                    "list_id": leaf.slug,
                    "category": leaf.path,
                    "filters": filters,
                    "products": listed,
                    "sorts": [{"type": "price", "value": "asc"}],
                },
            )
            self.wait(3, 20)

    def search(self, query: str) -> None:
        """A search and its result page."""
        self.page("/search", f"Search: {query}", "Search")
        self.wire.track("Products Searched", self.now_ms, {"query": query})
        self.wait(3, 25)

    def view(self, product: Product, list_id: str = "") -> None:
        """A product's page, reached from a list when `list_id` names one."""
        if list_id:
            position = 1 + int(self.draw() * 8)
            clicked = {**product.properties, "position": position, "list_id": list_id}
            self.wire.track("Product Clicked", self.now_ms, clicked)
            self.now_ms += 300
        self.page(f"/p/{product.id}", product.properties["name"], "Product")
        self.wire.track("Product Viewed", self.now_ms, self.catalogue.encoded[product.row])
        self.person.remember(product)
        self.wait(5, 110)
        if self.draw() < 0.006:
            self.wire.track("Product Shared", self.now_ms, {**product.properties, "share_via": "email"})

    def wish(self, product: Product) -> None:
        """On to the wish list, sometimes off again."""
        wishlist: dict[str, Any] = {**product.properties, "wishlist_id": f"wl-{self.person.number}"}
        self.wire.track("Product Added to Wishlist", self.now_ms, wishlist)
        self.wait(2, 10)
        if self.draw() < 0.12:
            self.wire.track("Product Removed from Wishlist", self.now_ms, wishlist)
            return
        self.person.wished = [*self.person.wished[-4:], product]

    def add(self, product: Product, quantity: int = 1) -> bool:
        """Into the cart; False when it is sold out or the cart is full."""
        cart = self.device.cart
        if not product.in_stock or len(cart) >= MAX_CART_LINES:
            return False
        if product in self.person.wished:
            self.person.wished.remove(product)
            self.wire.track(
                "Wishlist Product Added to Cart",
                self.now_ms,
                {
                    **product.properties,
                    "wishlist_id": f"wl-{self.person.number}",
                    "cart_id": self._cart_id(),
                },
            )
        added = {**product.properties, "quantity": quantity, "cart_id": self._cart_id()}
        self.wire.track("Product Added", self.now_ms, added)
        line = next((line for line in cart if line.product.row == product.row), None)
        if line:
            line.quantity = min(line.quantity + quantity, 9)
        else:
            cart.append(CartLine(product, quantity))
        self.wait(3, 25)
        return True

    def cart(self) -> None:
        """The cart page; now and then a line goes, or the cart is shared."""
        self.page("/cart", "Your cart", "Cart")
        products = cart_products(self.device.cart)
        self.wire.track("Cart Viewed", self.now_ms, {"cart_id": self._cart_id(), "products": products})
        self.wait(4, 40)
        if self.device.cart and self.draw() < 0.12:
            line = self.device.cart.pop(int(self.draw() * len(self.device.cart)))
            removed = {**line.product.properties, "quantity": line.quantity, "cart_id": self._cart_id()}
            self.wire.track("Product Removed", self.now_ms, removed)
            self.wait(2, 10)
        elif self.device.cart and self.draw() < 0.02:
            shared = {"share_via": "email", "cart_id": self._cart_id(), "products": products}
            self.wire.track("Cart Shared", self.now_ms, shared)

    def checkout(self, finish: float) -> bool:
        """Go to the till; `finish` is the chance to come out with an order. True when there is one."""
        if not self.device.cart:
            return False
        if self.person.user_id:
            self.log_in()
        token = f"{self.person.number}-{self.person.visits}-{len(self.ordered) + 1}"
        self.page("/checkout", "Checkout", "Checkout")
        lines = self.device.cart
        value = round(sum(line.product.price * line.quantity for line in lines), 2)
        order: dict[str, Any] = {"order_id": f"order-{token}", "currency": CURRENCY}
        started = {**order, "value": value, "revenue": value, "products": cart_products(lines)}
        self.wire.track("Checkout Started", self.now_ms, started)
        discount = self._coupon(order["order_id"], value) if self.draw() < 0.2 else 0.0
        for step, leave in ((1, 0.45), (2, 0.35), (3, 0.2)):
            about = {
                "checkout_id": f"checkout-{token}",
                "step": step,
                "shipping_method": "Parcel",
                "payment_method": "Card",
            }
            self.wire.track("Checkout Step Viewed", self.now_ms, about)
            self.wait(8, 70)
            if self.draw() > finish**leave:
                return False
            if step == 3:
                paid = {**about, "order_id": order["order_id"]}
                self.wire.track("Payment Info Entered", self.now_ms, paid)
                self.wait(1, 6)
            self.wire.track("Checkout Step Completed", self.now_ms, about)
            self.now_ms += 400
        self._complete(order, lines, value, discount, token)
        return True

    def _complete(
        self, order: dict[str, Any], lines: list[CartLine], value: float, discount: float, token: str
    ) -> None:
        shipping = 0.0 if value >= _FREE_SHIPPING_FROM else 4.9
        self.page("/thanks", "Thank you", "Order")
        total = round(value - discount + shipping, 2)
        completed = {
            **order,
            "checkout_id": f"checkout-{token}",
            "affiliation": "Web shop (simulated)",
            "total": total,
            "subtotal": value,
            "revenue": round(value - discount, 2),
            "shipping": shipping,
            "tax": round((value - discount) * 0.19 / 1.19, 2),
            "discount": discount,
            "products": cart_products(lines),
        }
        if discount:
            completed["coupon"] = "WELCOME10"
        self.wire.track("Order Completed", self.now_ms, completed)
        self.ordered.append((order["order_id"], list(lines), total))
        self.person.orders += 1
        lines.clear()
        self.wait(2, 15)

    def _coupon(self, order_id: str, value: float) -> float:
        """Try a coupon code; the discount it gives."""
        about: dict[str, Any] = {"order_id": order_id, "cart_id": self._cart_id(), "coupon_id": "WELCOME10"}
        self.wire.track("Coupon Entered", self.now_ms, about)
        self.now_ms += 500
        if self.draw() < 0.3:
            denied = {**about, "coupon_name": "Welcome", "reason": "Only for a first order"}
            self.wire.track("Coupon Denied", self.now_ms, denied)
            return 0.0
        discount = round(value * 0.1, 2)
        applied = {**about, "coupon_name": "Welcome", "discount": discount}
        self.wire.track("Coupon Applied", self.now_ms, applied)
        self.wait(1, 8)
        if self.draw() < 0.05:
            self.wire.track("Coupon Removed", self.now_ms, applied)
            return 0.0
        return discount

    def read(self, article: dict[str, Any]) -> None:
        """An article: opened, then, unless left at once, read for a while and down to some depth."""
        self.page(f"/read/{article['id'].removeprefix('article-')}", article["title"], "Article")
        about = {
            "content_id": article["id"],
            "title": article["title"],
            "category": article["category"],
            "tags": article["tags"],
            "author": article["author"],
        }
        self.wire.track("Article Viewed", self.now_ms, about)
        patience = self.draw()
        dwell_s = round(6 + 240 * patience * patience, 1)
        self.now_ms += int(dwell_s * 1000)
        if patience > 0.2:
            scroll = round(min(1.0, 0.15 + patience * (0.7 + 0.4 * self.draw())), 2)
            self.wire.track("Article Read", self.now_ms, {**about, "dwell_s": dwell_s, "scroll": scroll})

    def review(self, product: Product) -> None:
        """A review of something bought before."""
        rating = str(3 + int(self.draw() * 2.99))
        self.wire.track(
            "Product Reviewed",
            self.now_ms,
            {
                "product_id": product.id,
                "review_id": f"review-{self.person.number}-{self.person.visits}",
                "review_body": "Does what it should.",
                "rating": rating,
            },
        )

    def log_in(self) -> None:
        """Log in, or make the account first; the device's cart joins the account's."""
        person, device = self.person, self.device
        if not person.user_id or device.user_id:
            return
        if not self._landed:
            self.page("/login", "Log in", "Login")
            self.wait(3, 15)
        first_time = not person.signed_up
        person.signed_up = True
        device.user_id = self.wire.user_id = person.user_id
        if first_time and device.kind == "app":
            self.wire.send("alias", self.now_ms, {"previousId": device.anonymous_id})
        self.wire.send("identify", self.now_ms, {"traits": person.traits})
        if first_time:
            self.wire.track("Signed Up", self.now_ms, {"type": "customer"})
        else:
            self.wire.track("Signed In", self.now_ms, {"username": person.traits["email"]})
        if person.company:
            group = {"groupId": f"company-{person.number}", "traits": {"name": person.company}}
            self.wire.send("group", self.now_ms, group)
        known = {line.product.row for line in person.cart}
        fresh = [line for line in device.cart if line.product.row not in known]
        person.cart.extend(fresh[: MAX_CART_LINES - len(person.cart)])
        device.cart = person.cart
        self.wait(1, 8)

    def log_out(self) -> None:
        """Leave the account; the account keeps its cart, the device starts an empty one."""
        self.wire.track("Signed Out", self.now_ms, {"username": self.person.traits["email"]})
        self.device.user_id = self.wire.user_id = ""
        self.device.cart = []
        self.now_ms += int(0.2 * MINUTE_MS)

    def _cart_id(self) -> str:
        return f"cart-{self.device.user_id or self.device.anonymous_id}"


def cart_products(lines: list[CartLine]) -> list[dict[str, Any]]:
    """The `products` array of a cart or an order."""
    return [
        {**line.product.properties, "quantity": line.quantity, "position": place}
        for place, line in enumerate(lines, 1)
    ]
