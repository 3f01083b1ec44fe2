"""The email about a left cart as it would arrive: a page of HTML in a file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from server.pb import headrace_pb2 as pb

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif; max-width: 36em; margin: 2em auto">
<h1>{title}</h1>
{items}
<p style="color: #666">Decision {decision}; links carry it, so that a click tells which block it was.</p>
</body></html>
"""
_ITEM = """\
<p><a href="{url}">{title}</a> {price}<br><small>{why}</small></p>"""


def _price(item: pb.CatalogItem) -> str:
    """Nothing for an article, or a product of no known price."""
    return f"{item.price:.2f} {item.currency}" if item.HasField("price") else ""


def _link(url: str, decision_id: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}decision={decision_id}"


def write_email(path: Path, block: pb.Block) -> None:
    """One paragraph an item, with why it is there."""
    items = [
        _ITEM.format(
            url=escape(_link(entry.item.url, block.decision_id)),
            title=escape(entry.item.title),
            price=escape(_price(entry.item)),
            why=escape(entry.reason.text),
        )
        for entry in block.items
    ]
    page = _PAGE.format(title=escape(block.title), items="\n".join(items), decision=block.decision_id)
    path.write_text(page, "utf-8")
