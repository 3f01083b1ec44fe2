"""What a placement prefers for the person's intent: by tags, so that the shop's own words decide."""

from __future__ import annotations

import msgspec

from recsys.pipeline.passing import Mask
from recsys.pipeline.query import Query


def preferred_rows(query: Query) -> Mask | None:
    """bool[c]: the rows with a tag that the placement prefers for the person's tier of intent; None
    where it prefers nothing, or nobody can tell."""
    visit = query.visit
    tags = query.placement.prefer_tags.get(visit.person.tier, ())
    if not tags or visit.passing is None:
        return None
    # A text of JSON is one of CEL: it has no escape that CEL would read otherwise.
    asked = " || ".join(f"{msgspec.json.encode(tag).decode()} in tags" for tag in tags)
    return visit.passing.rows(asked, len(visit.columns.offer))
