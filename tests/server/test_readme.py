"""The README's Python examples, as they stand there, against a running server."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.profile import CartLine
from server.client import Client
from tests.server.shop import Shop, put_customer, put_visitor, viewed

README = (Path(__file__).parents[2] / "README.md").read_text()


def example(defining: str) -> dict[str, Any]:
    """The names that the example which defines a function leaves behind."""
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if defining in code]
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.fixture
def client(shop: Shop) -> Iterator[Client]:
    with Client(f"127.0.0.1:{shop.port}") as client:
        yield client


def test_a_page_of_four_slots(shop: Shop, client: Client) -> None:
    put_visitor(shop.store, "v1", viewed("p3", at_ms=int(time.time() * 1000)))
    page_blocks = example("def page_blocks")["page_blocks"]
    # On a busy machine a call may take longer than the page waits, which is then shown without blocks.
    pages = (page_blocks(client, "v1", "p3", "DE", f"page-{number}") for number in range(50))
    blocks = next(filter(None, pages), {})
    assert list(blocks) == ["product.similar", "product.complements", "article.next", "home.feed"]
    shown = [entry.item.id for block in blocks.values() for entry in block.items]
    assert shown
    assert len(shown) == len(set(shown))


def test_a_page_without_a_server_is_shown_all_the_same() -> None:
    with Client("127.0.0.1:1") as nobody:
        assert example("def page_blocks")["page_blocks"](nobody, "v1", "p3", "DE", "page-1") == {}


def test_what_is_posted_over_http_is_passed_on(shop: Shop, client: Client) -> None:
    names = example("def forward")
    names["headrace"].close()
    names["headrace"] = client
    said: list[str] = []

    def post(path: str, body: bytes, method: str = "POST") -> str:
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        names["forward"](environ, lambda status, _: said.append(status[:3]))
        return said[-1]

    viewed = b'{"event": "Product Viewed", "anonymousId": "v1", "properties": {"product_id": "p3"}}'
    assert post("/v1/track", viewed) == "200"
    assert post("/v1/batch", b'{"batch": [%b, {"type": "page", "anonymousId": "v2"}]}' % viewed) == "200"
    assert post("/v1/track", b"", "OPTIONS") == "204", "a browser asks first"
    calls = [json.loads(record.value) for record in shop.log.records]
    assert [call.get("type") for call in calls] == ["track", None, "page"]
    assert [call["anonymousId"] for call in calls] == ["v1", "v1", "v2"]
    assert [post("/v1/track", body) for body in (b"{", b"[]")] == ["400", "400"]
    names["headrace"] = Client("127.0.0.1:1", deadline_s=0.2)
    assert post("/v1/track", viewed) == "503"


def test_an_email_rendered_twice_is_one_decision(shop: Shop, client: Client) -> None:
    now_s = int(time.time())
    cart = (CartLine("p5", 1.0, None, now_s - 60), CartLine("p4", 1.0, None, now_s))
    left = viewed("p3", "p4", at_ms=now_s * 1000, cart=cart)
    put_customer(shop.store, "anna", left)
    names = example("def cart_email")
    cart_email = names["cart_email"]
    html = cart_email(client, "anna", "left")
    assert html.index("Trail Tent 4</a>") < html.index("</li>"), "what was left comes first"
    assert "in your cart since" in html
    assert cart_email(client, "anna", "left") == html
    plain = cart_email(client, "anna", "left", names["TEXT"])
    links = re.findall(r'href="(.*?)">(.*?)</a>', html)
    assert len(links) > 1
    assert re.findall(r"\n\n(.*)\n.*\n  (.*)", plain) == [(title, link) for link, title in links]
    assert "<" not in plain
    assert cart_email(client, "nobody-here", "left") is None
