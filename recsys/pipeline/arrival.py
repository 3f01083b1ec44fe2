"""Arrival: what somebody who has looked at no item came for, by the addresses that brought them here, by
lists and by searches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from recsys.fold import leaf_of

MAX_PHRASES: Final = 200
"""Of an address that are looked for among the categories; addresses have 500 bytes at most."""
LONGEST_NAME: Final = 5
"""Words of the longest category that is found inside other words."""
TELLING_CHARS: Final = 4
"""Shorter words of a search (a, the, red) say nothing by themselves, unless all are as short; none of them
has a plural."""

_WORD: Final = re.compile(r"[^\W_]+")
_PLURAL: Final = re.compile(r"(?<=[sxz])es$|(?<=[cs]h)es$|(?<=[^us])s$")


class _Named(NamedTuple):
    """A category that has a word in its name."""

    code: int
    words: frozenset[str]
    """All of its name's."""


class CategoryNames:
    """The categories of a catalogue by the words of their names. One thread adds, many ask: what is there is
    never changed, only replaced. Where two names have the same words, the first has them."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._by_word: dict[str, tuple[_Named, ...]] = {}
        self._known: set[int] = set()

    def add(self, code: int, name: str) -> None:
        """Name the category of a code."""
        if code in self._known:
            return
        self._known.add(code)
        words = _words(name)
        if not words or "-".join(words) in self._codes:
            return
        self._codes["-".join(words)] = code
        named = _Named(code, frozenset(words))
        for word in named.words:
            self._by_word[word] = (*self._by_word.get(word, ()), named)

    def called(self, phrases: Sequence[str]) -> int:
        """The code of the first of these slugs that names one; -1 for none."""
        codes = self._codes
        return next((codes[phrase] for phrase in phrases if phrase in codes), -1)

    def searched(self, query: str) -> tuple[int, bool]:
        """The code of the category that a search means, -1 for none; and whether it says more than that.

        One whose name it has whole, in any order: the longest such name, else the one that it names first.
        Else the one whose name has all that tells something in the search, where one has more of it, or
        little else."""
        words = search_words(query)
        hits = dict.fromkeys(named for word in words for named in self._by_word.get(word, ()))
        whole = [named for named in hits if named.words.issubset(words)]
        if whole:
            longest = max(whole, key=_length)
            return longest.code, not longest.words.issuperset(telling(words))
        around = [named for named in hits if named.words.issuperset(telling(words))]
        fits = [(len(named.words.intersection(words)), -len(named.words)) for named in around]
        if fits and fits.count(max(fits)) == 1:
            return around[fits.index(max(fits))].code, False
        return -1, True


def slug(name: str) -> str:
    """ "Camping stoves" -> "camping-stove"."""
    return "-".join(_words(name))


def came_for(addresses: Sequence[str], names: CategoryNames) -> int:
    """The code of the category that an address names, in a part of its path or a value of its query
    (`/outdoor/tents/`, `utm_campaign=spring-camping-stoves`, `q=gas+stoves`); -1 for none. The first address
    that names one has the say, and in it the longest name."""
    for address in addresses:
        code = names.called(_phrases(address))
        if code >= 0:
            return code
    return -1


def looked_for(category: str, queries: Sequence[str], names: CategoryNames) -> tuple[int, tuple[str, ...]]:
    """The code of the category that a session tells without any item: that of the list it looked at last,
    else that of the newest search that means one; -1 for none. And, the newest first, the searches since that
    one, which mean none, with that one itself where it says more than a category."""
    listed = names.called((slug(leaf_of(category)),)) if category else -1
    if listed >= 0:
        return listed, ()
    newer: list[str] = []
    for query in reversed(queries):
        code, says_more = names.searched(query)
        if says_more:
            newer.append(query)
        if code >= 0:
            return code, tuple(newer)
    return -1, tuple(newer)


@lru_cache(maxsize=4096)
def search_words(text: str) -> tuple[str, ...]:
    """Its words without number, each once: "a stove for tents" -> ("a", "stove", "for", "tent")."""
    return tuple(dict.fromkeys(_words(text)))


@lru_cache(maxsize=4096)
def telling(words: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a search that tell something: ("a", "stove", "for", "tent") -> ("stove", "tent")."""
    return tuple([word for word in words if len(word) >= TELLING_CHARS]) or words


@lru_cache(maxsize=65_536)
def singular(word: str) -> str:
    """A word in lower case without the ending of its plural, as English has it (the s-stemmer of Harman, "How
    effective is suffixing?", 1991). Names and searches are cut alike, so a word that is cut wrongly is still
    found by itself."""
    if len(word) < TELLING_CHARS:
        return word
    if word.endswith(("ies", "ie")) and len(word) > 4:  # batteries, cookies and a cookie, not ties
        return word[: word.rindex("ie")] + "y"
    return _PLURAL.sub("", word)


def _words(text: str) -> list[str]:
    return [singular(word) for word in _WORD.findall(text.lower())]


def _length(named: _Named) -> int:
    return len(named.words)


@lru_cache(maxsize=4096)
def _phrases(address: str) -> tuple[str, ...]:
    """Slugs of runs of words in the path and in the values of the query, the longest first."""
    try:
        parts = urlsplit(address)
        values = [value for _, value in parse_qsl(parts.query, max_num_fields=50)]
    except ValueError:  # no address
        return ()
    return _runs((*reversed(parts.path.split("/")), *values))


def _runs(texts: Sequence[str]) -> tuple[str, ...]:
    """Slugs of runs of words, the longest first."""
    found: list[tuple[int, str]] = []
    for text in texts:
        words = _words(text.replace("%20", " ").replace("+", " "))
        for size in range(min(LONGEST_NAME, len(words)), 0, -1):
            runs = ("-".join(words[start : start + size]) for start in range(len(words) - size + 1))
            found += [(size, run) for run in runs]
    found.sort(key=lambda one: -one[0])
    return tuple(dict.fromkeys(run for _, run in found))[:MAX_PHRASES]
