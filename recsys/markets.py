"""Markets by their code: feeds name countries as ISO 3166 does ("US"), analytics by "United States"."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

MAX_MARKET_CHARS: Final = 64
"""Of what a caller calls a market; what is longer names none that a feed could."""

# As Google's analytics and Unicode's CLDR call them, where tzdata's table has another name.
_ALSO: Final = {
    "american samoa": "AS",
    "british virgin islands": "VG",
    "cabo verde": "CV",
    "caribbean netherlands": "BQ",
    "central african republic": "CF",
    "congo brazzaville": "CG",
    "congo kinshasa": "CD",
    "czechia": "CZ",
    "eswatini": "SZ",
    "falkland islands islas malvinas": "FK",
    "french southern territories": "TF",
    "great britain": "GB",
    "heard and mcdonald islands": "HM",
    "kosovo": "XK",
    "macao": "MO",
    "macedonia fyrom": "MK",
    "north korea": "KP",
    "palestinian territories": "PS",
    "pitcairn islands": "PN",
    "samoa": "WS",
    "sint maarten": "SX",
    "south georgia and south sandwich islands": "GS",
    "south korea": "KR",
    "st martin": "MF",
    "st vincent and grenadines": "VC",
    "swaziland": "SZ",
    "timor leste": "TL",
    "turkiye": "TR",
    "turks and caicos islands": "TC",
    "uk": "GB",
    "united kingdom": "GB",
    "united states of america": "US",
    "us outlying islands": "UM",
    "us virgin islands": "VI",
    "usa": "US",
}


_NOT_KNOWN: Final = frozenset(("(not set)", "(other)"))


@lru_cache(maxsize=1024)
def market_code(market: str) -> str:
    """The code of a country that is named in English; of anything else its capitals, as it may be a code
    already or a market of the shop's own, in at most MAX_MARKET_CHARS; "" for analytics' word for none."""
    market = market.strip()[:MAX_MARKET_CHARS]
    if market in _NOT_KNOWN:
        return ""
    return _codes().get(_plain(market)) or market.upper()


def is_country(code: str) -> bool:
    """Whether a code of `market_code` is a country's; else it is a market of the shop's own, or a slip."""
    return code in _countries()


@cache
def _countries() -> frozenset[str]:
    return frozenset(_codes().values())


@cache
def _codes() -> dict[str, str]:
    """By the plain words of each country's name its ISO 3166 code, from the table that tzdata ships."""
    table = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text("utf-8")
    rows = [line.split("\t") for line in table.splitlines() if line and not line.startswith("#")]
    return {_plain(name): code for code, name in rows} | _ALSO


def _plain(name: str) -> str:
    """ "Saint-Barthélemy" -> "saint barthelemy", "Antigua & Barbuda" and "The Bahamas" likewise."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("&", " and ").replace("-", " "))
    words = re.sub(r"[^\w\s]|[\u0300-\u036f]", "", letters).split()
    return " ".join(words[1:] if words[:1] == ["the"] else words)
