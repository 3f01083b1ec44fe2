"""Product feeds in every format: the same shop, told in different ways, is the same shop."""

from __future__ import annotations

import gzip
import json

import pytest

from flows.imports.feeds import read_feed
from flows.imports.source import RowProblem
from recsys.catalog import Item, encode_change
from recsys.decode import CATALOG_KEY, Decoder
from recsys.ports import Position, Record
from tests.flows.imports.feeds import FIELDS, TENT, XML_ITEM, escaped, read, rss


def table(delimiter, *rows):
    def cell(text):
        return f'"{text}"' if delimiter in text else text

    return "".join(delimiter.join(cell(text) for text in row) + "\n" for row in rows)


ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">'
    f'<title>Shop</title><entry><title>{FIELDS["title"]}</title><link href="{FIELDS["link"]}"/>'
    + "".join(
        f"<g:{name}>{escaped(text)}</g:{name}>"
        for name, text in FIELDS.items()
        if name not in ("title", "link")
    )
    + "</entry></feed>"
)
TOLD = {
    "tsv": table("\t", FIELDS, FIELDS.values()),
    "csv": table(",", FIELDS, FIELDS.values()),
    "semicolons": table(";", FIELDS, FIELDS.values()),
    "spreadsheet": table("\t", FIELDS, FIELDS.values()).encode("utf-16"),
    "marked": table(",", FIELDS, FIELDS.values()).encode("utf-8-sig"),
    "named as in a spreadsheet": table(
        "\t", (name.replace("_", " ").title() for name in FIELDS), FIELDS.values()
    ),
    "rss": rss(XML_ITEM),
    "rss mixed": rss(XML_ITEM.replace("g:title", "title").replace("g:link", "link")),
    "atom": ATOM,
    "jsonl": json.dumps(FIELDS) + "\n",
    "jsonl of numbers": json.dumps(
        {**FIELDS, "price": {"value": 249.5, "currency": "EUR"}, "sale_price": 199}
    ),
}


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("pack", [False, True])
def test_the_same_product_in_every_format(tmp_path, told, pack):
    content = TOLD[told] if isinstance(TOLD[told], bytes) else TOLD[told].encode()
    assert read(tmp_path, gzip.compress(content) if pack else content) == [TENT]


def test_a_row_that_is_no_utf_8_is_told_and_skipped(tmp_path):
    broken = {**FIELDS, "id": "rock", "title": "Grüne Röcke"}
    content = table("\t", FIELDS, broken.values()).encode("cp1252") + table("\t", FIELDS.values()).encode()
    problem, item = read(tmp_path, content)
    assert problem == RowProblem(2, "", "UTF-8, or UTF-16 with its mark", "byte 0xfc")
    assert item == TENT


def test_items_are_taken_by_the_decoder(tmp_path):
    [item] = read(tmp_path, TOLD["tsv"])
    value = encode_change("upsert", item.id, item)
    [change] = Decoder().decode(Record(Position(0, 0), CATALOG_KEY + item.id, value, 1), 1)
    assert (change.op, change.item_id) == ("upsert", "tent-2")


def test_lines_are_counted_over_cells_of_several_lines(tmp_path):
    found = read(tmp_path, 'id,title,price\na,"two\nlines",1 EUR\nb,B,x\nc,C\nd,D,1,2\n')
    assert [entry.line for entry in found if isinstance(entry, RowProblem)] == [4, 6]
    assert [entry.title for entry in found if isinstance(entry, Item)] == ["two lines", "C"]


def test_many_items_of_xml_stay_small(tmp_path):
    import tracemalloc

    path = tmp_path / "feed"
    path.write_text(rss(*(XML_ITEM for _ in range(4000))))
    tracemalloc.start()
    assert sum(isinstance(entry, Item) for entry in read_feed(path)) == 4000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < path.stat().st_size / 4
