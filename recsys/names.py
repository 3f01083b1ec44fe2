"""Several user ids of one customer: an alias renames one to another, and readers join what is known of each.

Each id keeps a record of its own: what is known of one is never mixed into another's, so an event that
still names the old id is no trouble, an alias told twice changes nothing, and one taken back (an alias of
an id to itself) leaves both as if it had never been. A record says what it was renamed to and what was
renamed to it. Every id of a customer leads to the same name, and that one to the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from recsys.merge import absorb, with_device
from recsys.profile import PersonRecord, Standing

MAX_NAMES = 12
"""Ids joined of one customer, the first that were renamed to its name."""

Fetch = Callable[[Sequence[str]], Sequence["PersonRecord | None"]]
"""The records of some user ids, in their order; None where nothing is known."""


def has_names(record: PersonRecord) -> bool:
    """Whether there is anything to join."""
    return bool(record.profile.renamed or record.profile.former)


def joined(record: PersonRecord, fetch: Fetch) -> PersonRecord:
    """All that is known of a customer, under the id that counts. `record`: that of any of the ids."""
    known = {record.person.removeprefix("u:"): record}
    name = _name(next(iter(known)), known, fetch)
    ids = _ids(name, known, fetch)
    whole = known[name]
    profile = whole.profile
    for user_id in ids[1:]:
        other = known[user_id].profile
        visitors = profile.visitors
        for device in other.visitors:
            visitors = with_device(visitors, device)
        profile = replace(absorb(profile, other), visitors=visitors)
    offsets: dict[int, int] = {}
    for user_id in ids:
        for partition, offset in known[user_id].standing.partitions:
            offsets[partition] = max(offsets.get(partition, -1), offset)
    return PersonRecord(
        f"u:{name}",
        replace(profile, renamed="", former=tuple(ids[1:])),
        Standing.of(offsets),
        max(known[user_id].event_ms for user_id in ids),
    )


def _name(user_id: str, known: dict[str, PersonRecord], fetch: Fetch) -> str:
    """The id at the end of all renaming. Where it goes round in a circle, the newest word counts."""
    way = [user_id]
    while (to := known[way[-1]].profile.renamed) and len(way) <= MAX_NAMES:
        if to in way:
            circle = way[way.index(to) :]
            newest = max(circle, key=lambda name: (known[name].profile.renamed_ms, name))
            return known[newest].profile.renamed
        _fetch_into(known, [to], fetch)
        if to not in known:
            break  # nothing has been written of it yet
        way.append(to)
    return way[-1]


def _ids(name: str, known: dict[str, PersonRecord], fetch: Fetch) -> list[str]:
    """The name, and the ids that lead to it."""
    found = [name]
    at = 0
    while at < len(found):
        parent = found[at]
        at += 1
        former = [each for each in known[parent].profile.former if each not in found]
        _fetch_into(known, former, fetch)
        found += [each for each in former if each in known and known[each].profile.renamed == parent]
        del found[MAX_NAMES:]
    return found


def _fetch_into(known: dict[str, PersonRecord], user_ids: Sequence[str], fetch: Fetch) -> None:
    wanted = [user_id for user_id in user_ids if user_id not in known]
    if wanted:
        found = zip(wanted, fetch(wanted), strict=True)
        known.update({user_id: record for user_id, record in found if record is not None})
