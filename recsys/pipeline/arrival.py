"""Arrival: what somebody who has looked at no item came for, by the addresses that brought them here, by
lists and by searches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from recsys.fold import leaf_of

MAX_PHRASES: Final = 200
"""Of an address that are looked for among the categories; addresses have 500 bytes at most."""
LONGEST_NAME: Final = 5
"""Words of the longest category that is found inside other words."""

_WORD: Final = re.compile(r"[^\W_]+")


def slug(name: str) -> str:
    """ "Camping stoves" -> "camping-stoves"."""
    return "-".join(_WORD.findall(name.lower()))


def came_for(addresses: Sequence[str], codes: Mapping[str, int]) -> int:
    """The code of the category that an address names, in a part of its path or a value of its query
    (`/outdoor/tents/`, `utm_campaign=spring-camping-stoves`, `q=gas+stoves`); -1 for none. The first address
    that names one has the say, and in it the longest name. `codes`: by the slug of each category."""
    for address in addresses:
        for phrase in _phrases(address):
            code = codes.get(phrase)
            if code is not None:
                return code
    return -1


def looked_for(category: str, queries: Sequence[str], codes: Mapping[str, int]) -> int:
    """The code of the category that a session tells without any item: that of the list it looked at last,
    else what its newest search names; -1 for none. `codes`: by the slug of each category."""
    listed = codes.get(slug(leaf_of(category)), -1) if category else -1
    if listed >= 0:
        return listed
    for query in reversed(queries):
        for phrase in _searched(query):
            if phrase in codes:
                return codes[phrase]
    return -1


@lru_cache(maxsize=4096)
def _phrases(address: str) -> tuple[str, ...]:
    """Slugs of runs of words in the path and in the values of the query, the longest first."""
    try:
        parts = urlsplit(address)
        values = [value for _, value in parse_qsl(parts.query, max_num_fields=50)]
    except ValueError:  # no address
        return ()
    return _runs((*reversed(parts.path.split("/")), *values))


@lru_cache(maxsize=4096)
def _searched(query: str) -> tuple[str, ...]:
    return _runs((query,))


def _runs(texts: Sequence[str]) -> tuple[str, ...]:
    """Slugs of runs of words, the longest first."""
    found: list[tuple[int, str]] = []
    for text in texts:
        words = _WORD.findall(text.lower().replace("%20", " ").replace("+", " "))
        for size in range(min(LONGEST_NAME, len(words)), 0, -1):
            runs = ("-".join(words[start : start + size]) for start in range(len(words) - size + 1))
            found += [(size, run) for run in runs]
    found.sort(key=lambda one: -one[0])
    return tuple(dict.fromkeys(run for _, run in found))[:MAX_PHRASES]
