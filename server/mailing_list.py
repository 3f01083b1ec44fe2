"""Whom a mailing goes to: the lines of a file, each person of it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Annotated, Final, NamedTuple

import msgspec
import numpy as np

from recsys.events import MAX_ID_BYTES
from server.pb import headrace_pb2 as pb
from server.requests import MAX_AGE, Asker, asker_of

MAX_MARKET_CHARS: Final = 100


class WrongPerson(ValueError):
    """A line of the people's file that names nobody whom a server would take; says which."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    anonymous_id: str = ""
    user_id: str = ""
    market: Annotated[str, msgspec.Meta(max_length=MAX_MARKET_CHARS)] = ""
    age: Annotated[int, msgspec.Meta(ge=0, le=MAX_AGE)] = 0


_line = msgspec.json.Decoder(_Line)


def people_of(
    lines: Iterable[str],
    campaign: str,
    skip: Callable[[WrongPerson], None] | None = None,
    context: pb.Context | None = None,
) -> Iterator[pb.BulkPerson]:
    """One a line: `u:<user id>`, `a:<anonymous id>`, or JSON with `anonymous_id`, `user_id`, `market` and
    `age`. Empty lines are left out. Raises WrongPerson; with `skip` the line is left out and told there.
    `context`: of the request, which has what a line does not say. Bytes that are no UTF-8 are expected as
    `surrogateescape` reads them."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            said = _read(text)
            asker = _named_by(said, text)
        except ValueError as error:
            wrong = WrongPerson(f"{error} - in line {number}")
            if skip is None:
                raise wrong from None
            skip(wrong)
            continue
        user, visitor = asker.user_id or "", asker.visitor or ""
        whom = f"{campaign}:u:{user}" if user else f"{campaign}:a:{visitor}"
        person = pb.BulkPerson(anonymous_id=visitor, user_id=user, render_id=_short(whom))
        if said.market or said.age:
            if context is not None:
                person.context.CopyFrom(context)
            person.context.MergeFrom(pb.Context(market=said.market, age=said.age))
        yield person


def _read(text: str) -> _Line:
    """Raises ValueError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"Expected UTF-8, got `{ascii(text[:60])[1:-1]}`") from None
    if text.startswith("{"):
        return _line.decode(text)
    if text.startswith("u:"):
        return _Line(user_id=text[2:])
    return _Line(anonymous_id=text[2:] if text.startswith("a:") else "")


def _named_by(ids: _Line, text: str) -> Asker:
    """Checked as the server does, so that nobody stops a mailing half way. Raises ValueError."""
    if not ids.user_id and not ids.anonymous_id:
        expected = "`u:<user id>`, `a:<anonymous id>` or JSON with one of them"
        raise ValueError(f"Expected {expected}, got `{text[:60]}`")
    asker = asker_of(ids.anonymous_id, ids.user_id)
    if asker.user_id is None and asker.visitor is None:
        # Such ids come from templates that had nothing to fill in: they name everybody at once.
        raise ValueError(f"Expected an id that names somebody, got `{text[:60]}`")
    return asker


def _short(render_id: str) -> str:
    """Of what would be too long the end is a hash of the whole."""
    whole = render_id.encode()
    if len(whole) <= MAX_ID_BYTES:
        return render_id
    end = "~" + blake2b(whole, digest_size=16).hexdigest()
    return whole[: MAX_ID_BYTES - len(end)].decode(errors="ignore") + end


class Listed(NamedTuple):
    """What a list has. Memory: 40 bytes a line while it is counted."""

    n_lines: int
    n_people: int
    twice: frozenset[int]
    """Hashes of the render ids that stand there more than once, and with luck of no others."""


def listed(people: Iterable[pb.BulkPerson]) -> Listed:
    """Look through a list for `each_once`."""
    hashes = np.fromiter((hash(person.render_id) for person in people), np.int64)
    different, counts = np.unique(hashes, return_counts=True)
    return Listed(len(hashes), len(different), frozenset(different[counts > 1].tolist()))


def each_once(people: Iterable[pb.BulkPerson], twice: frozenset[int]) -> Iterator[pb.BulkPerson]:
    """The people of the list that `twice` was found in, each where they stand first."""
    had: set[str] = set()
    for person in people:
        if hash(person.render_id) in twice:
            if person.render_id in had:
                continue
            had.add(person.render_id)
        yield person
