"""One visitor, played step by step in front of the reader: what they do, and what that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console

from bench.demo.email import write_email
from bench.demo.home import DemoFailed
from bench.demo.screen import HERO_ITEMS, changes, marks_of, scene, shorter
from bench.shop import Shop
from bench.shop.catalogue import Product
from recsys.catalog import Item
from server.client import Client
from server.pb import headrace_pb2 as pb
from server.tables import block_table, state_line

HERO = pb.Slot(placement="home.hero", limit=HERO_ITEMS)
EMAIL = pb.Slot(placement="email.cart_recovery", limit=4)
VIEWS = 3
JUST_IN = "just in"
"""The tag of a product that comes into the catalogue while the demo runs."""
COLD_MS = 15_000
"""Without having shown it for so long it is not shown at all."""
POLL_S = 0.01
CHEAP = 60.0
"""EUR: what the filter of the feed lets pass."""


class Story:
    """`name` is a visitor nobody has seen before; `number`, from 1, varies what they look for. `publish`
    puts an item into the catalogue."""

    def __init__(
        self,
        client: Client,
        shop: Shop,
        name: str,
        number: int,
        console: Console,
        email: Path,
        publish: Callable[[Item], None],
    ) -> None:
        self.customer = f"{name}@mail.example"
        self.phone = shop.visitor(name, _now_ms())
        self.laptop = self.phone.on_another_device(_now_ms())
        self._client = client
        self._shop = shop
        self._number = number
        self._console = console
        self._email = email
        self._publish = publish

    def tell(self, since_start_s: Callable[[], float]) -> None:
        """Play it. Raises DemoFailed when a block does not do what it must."""
        before = self._open_shop()
        viewed = self._look_around(before, since_start_s)
        self._ask_why(viewed[-1])
        self._browse()
        self._bring_in(viewed[-1])
        self._fill_cart(viewed[-1])
        self._change_device()

    def not_seen_yet(self) -> str:
        """A product of another category than the one looked at, to go on with."""
        answer = self._client.blocks([HERO], anonymous_id=self.phone.anonymous_id)
        return self._interest({entry.item.id for entry in answer.blocks[0].items}, skip=1)[0].id

    def _open_shop(self) -> pb.Block:
        name = self.phone.name
        scene(self._console, f"{name} opens the shop, for the first time and as nobody in particular")
        answer, _ = self._do(self.phone.home(_now_ms()), HERO)
        self._show(answer)
        return answer.blocks[0]

    def _look_around(self, before: pb.Block, since_start_s: Callable[[], float]) -> list[Product]:
        """Three views; the block behind the last one must be another one."""
        products = self._interest({entry.item.id for entry in before.items})
        scene(self._console, f"{self.phone.name} looks at three of {products[0].leaf.path}")
        for product in products:
            self._console.print(f"  views {product.id}  {product.properties['name']}", highlight=False)
        for product in products[:-1]:
            self._client.track([self.phone.view(product.id, _now_ms())])
        answer, took_ms = self._do(self.phone.view(products[-1].id, _now_ms()), HERO)
        after = answer.blocks[0]
        if [entry.item.id for entry in after.items] == [entry.item.id for entry in before.items]:
            raise DemoFailed("Expected another home block after three views, got the same one")
        self._show(answer, took_ms, marks_of(before, after))
        self._console.print(f"changed: {changes(before, after)}", highlight=False)
        self._console.print(
            f"[bold]{took_ms:.0f} ms[/] from the third view to the changed block", highlight=False
        )
        self._console.print(f"first changed block {since_start_s():.1f} s after start", highlight=False)
        return products

    def _ask_why(self, viewed: Product) -> None:
        """Of the block that has just changed: one item that is there, and one that is not."""
        scene(self._console, "why that is so")
        block = self._client.blocks([HERO], anonymous_id=self.phone.anonymous_id).blocks[0]
        shown = set(_ids(block))
        other = next(p.id for p in self._shop.catalogue.by_leaf[viewed.leaf.slug] if p.id not in shown)
        explained = self._client.explain(block.decision_id, [other])
        for account in (explained.accounts[0], explained.accounts[-1]):
            self._console.print(f"{account.item_id}: {account.text}", highlight=False, markup=False)

    def _browse(self) -> None:
        """A feed with a filter, and its second page."""
        scene(self._console, f"{self.phone.name} scrolls on, below {CHEAP:g} EUR only: page 1 and page 2")
        slot = pb.Slot(placement="home.feed", limit=4, filter=f"price_now < {CHEAP:.1f}")
        first = self._client.blocks([slot], anonymous_id=self.phone.anonymous_id)
        slot.cursor = first.blocks[0].next_cursor
        second = self._client.blocks([slot], anonymous_id=self.phone.anonymous_id)
        self._show(first)
        self._show(second)
        if set(_ids(first.blocks[0])) & set(_ids(second.blocks[0])):
            raise DemoFailed("Expected a second page that repeats nothing of the first, got an item again")

    def _bring_in(self, like: Product) -> None:
        """A product that no model knows, and nobody has seen, shown as soon as the catalogue has it."""
        scene(self._console, "a product comes in that no model knows")
        item = Item(
            f"just-in-{self._number:03d}",
            title=f"{like.properties['name']} Mark II",
            category=tuple(like.leaf.path.split(" > ")),
            brand=like.brand,
            price=like.price,
            currency="EUR",
            tags=(JUST_IN,),
            fed=True,
        )
        slot = pb.Slot(placement="home.feed", limit=2, filter=f'"{JUST_IN}" in tags')
        began_s = time.perf_counter()
        self._publish(item)
        while True:
            answer = self._client.blocks([slot], anonymous_id=self.phone.anonymous_id)
            took_ms = (time.perf_counter() - began_s) * 1000
            if item.id in _ids(answer.blocks[0]):
                break
            if took_ms > COLD_MS:
                raise DemoFailed(f"Expected {item.id} to be shown in {COLD_MS / 1000:g} s, it was not")
            time.sleep(POLL_S)
        self._show(answer)
        self._console.print(
            f"[bold]{took_ms:.0f} ms[/] from the product's catalogue event to a block that shows it",
            highlight=False,
        )

    def _fill_cart(self, product: Product) -> None:
        scene(self._console, f"{self.phone.name} puts the last one into the cart, and leaves")
        answer, took_ms = self._do(self.phone.add_to_cart(product.id, at_ms=_now_ms()), EMAIL)
        self._console.print("what the email about the cart would show now:")
        self._show(answer, took_ms)
        write_email(self._email, answer.blocks[0])
        self._console.print(f"as it would arrive: {shorter(self._email)}", highlight=False, soft_wrap=True)

    def _change_device(self) -> None:
        """Log in here, log in there: one person, so one cart and one history."""
        scene(self._console, f"{self.phone.name} logs in, and later once more on another device")
        self._do(self.phone.identify(self.customer, _now_ms()), HERO)
        self._client.track([self.laptop.home(_now_ms())])
        login = self.laptop.identify(self.customer, _now_ms())
        there, took_ms = self._do(login, HERO, self.laptop.anonymous_id)
        self._show(there, took_ms)
        # Apart from the home block, as an email is: one request shows no item twice.
        email = self._client.blocks([EMAIL], anonymous_id=self.laptop.anonymous_id)
        self._show(email)
        cart = [entry.item.title for entry in email.blocks[0].items if entry.source == "cart"]
        if not cart:
            raise DemoFailed("Expected the cart on the second device, got none")
        self._console.print(f"the cart there as here: {', '.join(cart)}", highlight=False)
        here = self._client.blocks([HERO], anonymous_id=self.phone.anonymous_id)
        # Between two requests others' visits may move a place; the person is the same.
        shown, same = _ids(there.blocks[0]), set(_ids(there.blocks[0])) & set(_ids(here.blocks[0]))
        self._console.print(
            f"the home block there as here: {len(same)} of {len(shown)} items", highlight=False
        )

    def _do(self, event: bytes, slot: pb.Slot, anonymous_id: str = "") -> tuple[pb.GetBlocksResponse, float]:
        """Track one event and ask for a block that knows of it: the answer, and the milliseconds from
        the call of Track to the answer."""
        began_s = time.perf_counter()
        receipt = self._client.track([event]).receipts[0]
        answer = self._client.blocks(
            [slot], anonymous_id=anonymous_id or self.phone.anonymous_id, after=receipt.position
        )
        took_ms = (time.perf_counter() - began_s) * 1000
        if not answer.blocks[0].freshness.reached:
            raise DemoFailed(
                f"Expected a block that knows of the event at {receipt.position}, got an older one"
            )
        return answer, took_ms

    def _show(self, answer: pb.GetBlocksResponse, took_ms: float = 0.0, marks: Sequence[str] = ()) -> None:
        block = answer.blocks[0]
        caption = state_line(block, took_ms, answer.server_ms) if took_ms else ""
        self._console.print(block_table(block, marks=marks, caption=caption))

    def _interest(self, shown: set[str], skip: int = 0) -> list[Product]:
        """Three products of one category that the home page does not show, the best sellers first."""
        leaves = list(self._shop.catalogue.by_leaf.values())
        for turn in range(skip, len(leaves)):
            # 7 is prime to the number of leaves: visitors go round all of them, far apart.
            leaf = leaves[(self._number * 7 + turn) % len(leaves)]
            best = sorted(leaf, key=lambda product: -product.popularity)
            chosen = islice((p for p in best if p.in_stock and p.id not in shown), VIEWS)
            if len(products := list(chosen)) == VIEWS:
                return products
        raise DemoFailed("Expected a category with three products in stock, got none")


def _ids(block: pb.Block) -> list[str]:
    return [entry.item.id for entry in block.items]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
