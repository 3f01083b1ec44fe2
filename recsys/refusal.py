"""Why an event cannot be taken: kind, JSON path, what was expected and what came."""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec


class Refused(Exception):
    """An event that cannot be taken. `kind` is one of `DeadLetter.kind`."""

    def __init__(self, kind: str, path: str, expected: str, got: str) -> None:
        super().__init__(kind)
        self.kind, self.path, self.expected, self.got = kind, path, expected, got

    @property
    def told(self) -> tuple[str, str, str, str]:
        """As it was made."""
        return self.kind, self.path, self.expected, self.got


def refuse(kind: str, path: str, expected: str, got: str) -> NoReturn:
    """Raise `Refused`: for whoever must not go on."""
    raise Refused(kind, path, expected, got)


_EXPECTED = re.compile(
    r"^Expected (?P<expected>.+?)(?:, got (?P<got>.+?))?(?: - at `(?P<path>.+)`)?$", re.DOTALL
)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.+?)`")


def refusal_of(error: Exception, root: str) -> Refused:
    """msgspec's own message, taken apart. `root` replaces its `$`."""
    if isinstance(error, RecursionError):
        return Refused("too_large", root, "some hundred levels of nesting at most", "more")
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Refused("invalid_json", root, "JSON in UTF-8", text)
    found = _EXPECTED.match(text)
    if found is None:
        where = re.search(r" - at `(.+)`$", text)
        path = root + where[1][1:] if where else root
        missing = _MISSING.match(text)
        if missing is not None:
            return Refused("missing_field", f"{path}.{missing['name']}", "a value", "nothing")
        return Refused("wrong_type", path, "a valid value", text.split(" - at `", maxsplit=1)[0])
    path = (found["path"] or "$").replace("$", root, 1)
    return Refused("wrong_type", path, found["expected"], found["got"] or "something else")
