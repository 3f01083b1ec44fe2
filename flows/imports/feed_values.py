"""The values of catalogue feeds: prices, times, availability, texts. ValueError says what was expected."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from recsys.events import MAX_ID_BYTES
from recsys.item_limits import MAX_AGE, MAX_LINK_CHARS, MAX_MARKETS, MAX_PRICE, MAX_STOCK
from recsys.mend import number_in

_SIGNS = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "₽": "RUB", "₩": "KRW", "₫": "VND", "₪": "ILS",
    "₴": "UAH", "฿": "THB", "₦": "NGN", "$": "", "¥": "",
}  # fmt: skip
"""Currencies by their signs; "" for one that several countries write."""
_CURRENCY = rf"[A-Za-z]{{3}}|[{''.join(_SIGNS)}]"
_AMOUNT = r"\d[\d., '\u2019\u00a0\u202f]{0,19}"
_PRICE = re.compile(rf"(?P<before>{_CURRENCY})?\s*(?P<amount>{_AMOUNT})\s*(?P<after>{_CURRENCY})?")
_THOUSANDS = re.compile(r"\d{1,3}\.\d{3}")
"""As people write it beside a sign: no currency that has one here has three decimals. Beside an ISO code, as
programs write it, the point is that of decimals."""
_EXPECTED_PRICE = "a price like `24.50 EUR`"
_OFFSET = re.compile(r"([+-]\d{2})(\d{2})$")
_COUNTRY = re.compile(r"[A-Z]{2}")
_TAG = re.compile(r"<[^<>]*>")
_MAX_DIGITS = 10

_AVAILABLE = frozenset(
    (
        "in_stock", "instock", "available", "preorder", "pre_order", "backorder", "limited_availability",
        "true", "yes",
    )
)  # fmt: skip
_UNAVAILABLE = frozenset(
    ("out_of_stock", "outofstock", "unavailable", "discontinued", "sold_out", "false", "no")
)


def read_price(text: str) -> tuple[float, str]:
    """ "24.50 EUR" or "24,50 €" -> (24.5, "EUR"); the currency may come first, be missing, or stand as a sign
    that several countries write (""). Of amounts as `number_in` reads them."""
    found = _PRICE.fullmatch(text.strip())
    amount = _amount_in(found) if found is not None else None
    if found is None or amount is None or not 0 <= amount <= MAX_PRICE:
        raise ValueError(_EXPECTED_PRICE)
    told = [word for word in (found["before"], found["after"]) if word is not None]
    currencies = {_SIGNS.get(word, word.upper()) for word in told} - {""}
    if len(currencies) > 1:
        raise ValueError(_EXPECTED_PRICE)
    return amount, "".join(currencies)


def _amount_in(price: re.Match[str]) -> float | None:
    amount, words = price["amount"].strip(), (price["before"], price["after"])
    if _THOUSANDS.fullmatch(amount) and not _SIGNS.keys().isdisjoint(words):
        amount = amount.replace(".", "")
    return number_in(amount)


def read_ms(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 time ("2026-03-01T13:00-0800", a date alone is midnight
    UTC), of an RFC 822 one (RSS), or of a number of seconds or milliseconds."""
    text = text.strip()
    try:
        if re.fullmatch(r"\d{9,14}(\.\d+)?", text):
            number = float(text)
            return int(number * 1000 if number < 1e11 else number)
        if re.match(r"\d{4}-", text):
            iso = _OFFSET.sub(r"\1:\2", re.sub(r"[zZ]$", "+00:00", text))
            iso = re.sub(r"\.(\d{1,6})\d*", lambda part: "." + part[1].ljust(6, "0"), iso)
            return _utc_ms(datetime.fromisoformat(iso))
        return _utc_ms(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        raise ValueError("a time like `2026-03-01T13:00:00Z`") from None


def _utc_ms(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return int(aware.timestamp() * 1000)


def read_period(text: str) -> tuple[int, int]:
    """Start and end of "2026-03-01T00:00+0100/2026-03-08T23:59+0100" in epoch milliseconds."""
    start, slash, end = text.partition("/")
    if not slash:
        raise ValueError("two times with a `/` between them")
    return read_ms(start), read_ms(end)


def read_availability(text: str) -> bool:
    """Whether it can be ordered now: preorders and backorders can."""
    word = text.strip().lower().rpartition("/")[2].replace(" ", "_").replace("-", "_")
    if word in _AVAILABLE:
        return True
    if word in _UNAVAILABLE:
        return False
    raise ValueError("one of in_stock, out_of_stock, preorder, backorder")


def read_stock(text: str) -> int:
    """How many are left."""
    return _whole(text, MAX_STOCK, "a whole number")


def read_age(text: str) -> int:
    """Years."""
    return _whole(text, MAX_AGE, "a number of years")


def _whole(text: str, most: int, expected: str) -> int:
    digits = text.strip()
    is_whole = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    if not is_whole or (number := int(digits)) > most:
        raise ValueError(expected)
    return number


def read_adult(text: str) -> bool:
    """Whether it is for grown-up people only."""
    word = text.strip().lower()
    if word not in ("yes", "no", "true", "false"):
        raise ValueError("yes or no")
    return word in ("yes", "true")


def markets_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The countries that values of `shipping` ("US:CA:Standard:6.49 USD,CA:::9 USD") or lists ("AT, CH")
    name, in capitals and each once, at most MAX_MARKETS."""
    heads = (group.partition(":")[0].strip().upper() for text in texts for group in text.split(","))
    return tuple(dict.fromkeys(head for head in heads if _COUNTRY.fullmatch(head)))[:MAX_MARKETS]


def read_link(text: str) -> str:
    """An address that a page can link to: blocks are shown in pages, so `javascript:` is none."""
    text = text.strip()
    if not text.startswith(("https://", "http://", "/")):
        raise ValueError("an address with `https://` or `http://`")
    if len(text) > MAX_LINK_CHARS:
        raise ValueError(f"at most {MAX_LINK_CHARS} characters")
    return text


def read_id(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("an id")
    if len(text.encode()) > MAX_ID_BYTES:
        raise ValueError(f"an id of at most {MAX_ID_BYTES} bytes")
    return text


def plain_text(text: str, max_chars: int) -> str:
    """Without markup, entities and doubled blanks, cut."""
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = _TAG.sub(" ", html.unescape(text))
    return " ".join(text.split())[:max_chars]
