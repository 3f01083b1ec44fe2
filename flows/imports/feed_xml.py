"""RSS 2.0 and Atom, item by item: neither the file nor its tree is ever held as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from flows.imports.source import BROKEN_ARCHIVE, RowProblem, cut_off, open_rows

MAX_ITEM_BYTES = 4 * 1024 * 1024
"""Most XML between two items: the tree of one item is what is in memory."""
_ITEMS = frozenset(("item", "entry"))


class _Bounded:
    """Passes a stream on until `MAX_ITEM_BYTES` went by without the end of an item."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.since_item = 0

    def read(self, size: int = -1) -> bytes:
        part = self._stream.read(size)
        self.since_item += len(part)
        if self.since_item > MAX_ITEM_BYTES:
            raise _TooLong
        return part


class _TooLong(Exception):
    pass


def read_xml(path: Path) -> Iterator[tuple[int, dict[str, list[str]] | RowProblem]]:
    """The how-manieth item, and its fields by local name in lower case. Broken XML, a DTD or
    entities of its own end the feed with a problem: what follows cannot be known."""
    number = 0
    with open_rows(path) as stream:
        source = _Bounded(stream)
        try:
            open_elements: list[Element] = []
            # Entities are how a small file fills a memory; feeds need none of their own.
            for event, element in iterparse(source, events=("start", "end"), forbid_dtd=True):
                if event == "start":
                    open_elements.append(element)
                    continue
                open_elements.pop()
                if _local(element.tag) in _ITEMS and len(open_elements) <= 2:
                    number += 1
                    source.since_item = 0
                    yield number, _fields(element)
                    for parent in open_elements[-1:]:
                        parent.clear()
        except _TooLong:
            got = f"more than {MAX_ITEM_BYTES} bytes"
            yield number + 1, RowProblem(number + 1, "", f"an item of at most {MAX_ITEM_BYTES} bytes", got)
        except ParseError as error:
            yield number + 1, RowProblem(number + 1, "", "well-formed XML", str(error))
        except DefusedXmlException as error:
            yield number + 1, RowProblem(number + 1, "", "XML without a DTD", type(error).__name__)
        except BROKEN_ARCHIVE as error:
            yield number + 1, cut_off(number + 1, error)


def _local(tag: Any) -> str:
    # Comments and processing instructions have a function for a tag.
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _fields(item: Element) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for child in item:
        name = _local(child.tag)
        if name == "link" and "href" in child.attrib:
            if child.get("rel", "alternate") == "alternate":
                fields.setdefault("link", []).append(child.attrib["href"])
            continue
        if name in ("thumbnail", "enclosure") and child.get("type", "image/").startswith("image/"):
            fields.setdefault("image_link", []).append(child.get("url", ""))
            continue
        if name == "shipping":  # <g:shipping><g:country>DE</g:country><g:price>4.95 EUR</g:price>...
            countries = [part.text or "" for part in child if _local(part.tag) == "country"]
            fields.setdefault(name, []).extend(countries)
            continue
        # Atom: <category term="x"/>, <author><name>x</name></author>, <content type="xhtml"><div>...
        text = child.get("term") or " ".join(part.strip() for part in child.itertext() if part.strip())
        if name and text:
            fields.setdefault(name, []).append(text)
    return fields
