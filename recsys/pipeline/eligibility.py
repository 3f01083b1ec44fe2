"""Eligibility: what the law and the shop's own word keep from some people and places. Rules are filters
like those of callers and placements, so that they act inside every source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from recsys.markets import market_code
from recsys.pipeline.passing import Passing


class Rule(NamedTuple):
    """What Explain says of an item that a rule keeps out."""

    verdict: str
    detail: str


NO_RULES: Final[Mapping[str, Rule]] = {}


def rules_of(passing: Passing, market: str, age: int) -> Mapping[str, Rule]:
    """By its text in CEL each rule that some item of the catalogue could fail.

    `age`: years that the person is known to have at least. Somebody of no known age is shown nothing that
    asks for one; where no market is named, what is sold in some only is shown.
    """
    rules = {}
    if passing.asks_age:
        rules[f"min_age <= {max(age, 0)}.0"] = Rule(
            "age", f"the person is known to have {age} years at least" if age > 0 else "no age is known"
        )
    market = market_code(market)
    if market and passing.asks_market:
        named = json.dumps(market, ensure_ascii=False)
        text = f"(size(markets) == 0 || {named} in markets) && !({named} in not_markets)"
        rules[text] = Rule("market", market)
    return rules or NO_RULES
