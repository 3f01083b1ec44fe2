"""Account: why an item stands in a block, or why it does not, computed only when somebody asks.

The slot is decided again on the way, so an account can never tell another story than the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import numpy as np

from recsys.banner import BANNER_PREFIX, Banner
from recsys.block import Lineup, Reason
from recsys.catalog import Item
from recsys.models.signal_arrays import FEATURES
from recsys.models.signals import Features
from recsys.pipeline.blend import blend
from recsys.pipeline.eligibility import Rule
from recsys.pipeline.filter import (
    ALL_BARS,
    BOUGHT,
    COOLING,
    IN_CART,
    IN_SESSION,
    STRICT,
    SUBSTITUTE,
    VARIANT,
    Bars,
    standing,
)
from recsys.pipeline.learned import Learned
from recsys.pipeline.mix import NEW, Choice, mix
from recsys.pipeline.pipeline import pool_of
from recsys.pipeline.query import Query
from recsys.pipeline.rank import UNLIMITED, caps_of, ordered
from recsys.pipeline.reasons import evidence, reasons
from recsys.pipeline.score import Scored, score
from recsys.placement import SourceName

MAX_EFFECTS: Final = 6
"""Features that are told of an item: those that moved its score most."""

SHOWN: Final = "shown"


class Share(msgspec.Struct, frozen=True):
    """What one source says for an item: its share, 0 to 1, of what all of them say by the placement's
    weights, and the evidence it goes by."""

    source: str
    share: float
    reason: Reason


class Effect(msgspec.Struct, frozen=True):
    """How much a feature of the ranker moved the score against the mean of the candidates: `points`,
    in the score's own unit. See `Trees.effects`."""

    feature: str
    value: float
    points: float


class Account(msgspec.Struct, frozen=True):
    """`place`: from 1; 0 for an item that is not shown. `rank`: from 1, of `n_candidates` that may be
    shown, by `score`; 0 for no candidate. `last_score`: of the last ranked item that is shown."""

    item: str
    verdict: str
    """shown, or what keeps it out: unknown, unavailable, other_type, filtered, age, market, page_item,
    excluded, shown_before, beside, cooling, bought, in_cart, in_session, substitute, barred, banner_rules,
    banner_priority, last_seen, not_named, brand_cap, category_cap, variant, too_alike, gave_way, beaten."""
    detail: str = ""
    """What of: the filter's text, the brand, the slot, the items that took its place."""
    place: int = 0
    source: str = ""
    reason: Reason | None = None
    score: float = 0.0
    rank: int = 0
    n_candidates: int = 0
    last_score: float = 0.0
    propensity: float = 1.0
    shares: tuple[Share, ...] = ()
    effects: tuple[Effect, ...] = ()


def accounts_of(query: Query, beside: Mapping[int, str]) -> Accounts | MixedAccounts:
    """A slot decided as `recsys.pipeline.pipeline.choose` decides it; `beside` as `Accounts` has it."""
    is_mixed = query.placement.shares and not query.types
    return MixedAccounts(query, beside) if is_mixed else Accounts(query, beside)


def account_of_banner(
    item: str,
    banners: Mapping[str, Banner],
    shown: Lineup,
    beside: Mapping[str, str],
    query: Query,
    rule: Callable[[str], str],
) -> Account:
    """Of a banner, by the name that blocks have for it; `shown`: what stands in the block; `rule`: which of
    the rules of the banner of this name keeps it out, "" for none."""
    for place, one in enumerate(shown, 1):
        if one.item == item:
            return Account(item, SHOWN, place=place, source=one.reason.source, reason=one.reason)
    name = item.removeprefix(BANNER_PREFIX)
    if name not in banners:
        return Account(item, "unknown")
    if item in beside:
        return Account(item, "beside", beside[item])
    if item in query.exclude:
        return Account(item, "excluded")
    if item in query.cooling:
        return Account(item, "cooling")
    if not (broken := rule(name)):
        return Account(item, "banner_priority")
    return Account(item, "banner_rules", f"{broken} = {_told(getattr(banners[name], broken))}")


def _told(setting: object) -> str:
    """A banner's setting as a merchandiser reads it."""
    if isinstance(setting, datetime):
        return setting.isoformat()
    return ", ".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)


def _why_not_offered(item: Item) -> str:
    if item.removed:
        return "taken out of the catalogue"
    return "no feed has told of it, nor any event its title" if item.can_be_had else "sold out"


class MixedAccounts:
    """A mixed block decided, each kind as a slot of its own: an item's rank and scores are those among its
    kind."""

    def __init__(self, query: Query, beside: Mapping[int, str]) -> None:
        self._query = query
        self._beside = beside
        self._of_types: dict[int, Accounts] = {}
        self.choice: Choice = blend(query, list(beside), self._decided)

    def of(self, item: str) -> Account:
        """As `Accounts.of`; the place is that among its kind."""
        columns = self._query.visit.columns
        row = columns.row(item)
        offer = int(columns.offer[row]) if row >= 0 else 0
        of_kind = [accounts for types, accounts in self._of_types.items() if types & offer]
        return (of_kind or list(self._of_types.values()))[-1].of(item)

    def _decided(self, query: Query, _: Sequence[int]) -> Choice:
        self._of_types[query.types] = accounts = Accounts(query, self._beside)
        return accounts.choice


class Accounts:
    """One slot decided, and what can be told of it.

    `beside`: for each row that another slot of the request shows the name of that slot.
    """

    def __init__(self, query: Query, beside: Mapping[int, str]) -> None:
        self._query = query
        self._beside = beside
        self._pool = pool_of(query)
        self._scored: Scored = score(self._pool, query)
        with Bars(query, list(beside)) as bars:
            # Before the mix: it marks what it has chosen.
            self._marks = bars.marks.copy()
            self._order: list[int] = ordered(self._scored, query, bars, len(self._pool.rows)).tolist()
            """Places in the pool of all candidates that the slot may show, the best first."""
            self.choice: Choice = mix(self._scored, query, bars)
        self._features, self._effects = self._of_ranker()

    def of(self, item: str) -> Account:
        """Of an item, by its id."""
        columns = self._query.visit.columns
        row = columns.row(item)
        if row in self.choice.rows:
            return self._shown(item, row)
        verdict, detail = self._verdict(item, row)
        place = self._place_of(row)
        if place < 0:
            return Account(item, verdict, detail, n_candidates=len(self._order))
        shares = self._shares(row, place)
        main = shares[0] if shares else None
        return Account(
            item,
            verdict,
            detail,
            source=main.source if main is not None else "",
            reason=main.reason if main is not None else None,
            score=float(self._scored.totals[place]),
            rank=self._rank(place),
            n_candidates=len(self._order),
            last_score=self._last_score(),
            shares=shares,
            effects=self._moved(place),
        )

    def _shown(self, item: str, row: int) -> Account:
        choice, place = self.choice, self._place_of(row)
        at = choice.rows.index(row)
        return Account(
            item,
            SHOWN,
            place=at + 1,
            source=choice.sources[at],
            reason=reasons(choice, self._query).of(at),
            score=choice.scores[at],
            rank=self._rank(place),
            n_candidates=len(self._order),
            last_score=self._last_score(),
            propensity=choice.propensities[at],
            shares=self._shares(row, place),
            effects=self._moved(place),
        )

    def _verdict(self, item: str, row: int) -> tuple[str, str]:
        """Why an item is not shown: the first rule on its way that keeps it out."""
        query, columns = self._query, self._query.visit.columns
        about = columns.items[row] if row >= 0 else None
        if about is None:
            return "unknown", ""
        if not columns.offer[row]:
            return "unavailable", _why_not_offered(about)
        if not columns.offer[row] & query.item_types:
            return "other_type", about.type
        passing = query.visit.passing
        for text in query.filters if passing is not None else ():
            assert passing is not None
            if not passing.rows(text, len(columns.offer))[row]:
                return query.rules.get(text, Rule("filtered", text))
        return self._barred(item, row) or self._outranked(row)

    def _barred(self, item: str, row: int) -> tuple[str, str] | None:
        query, marks = self._query, int(self._marks[row])
        if not marks & ALL_BARS:
            return None
        if marks & STRICT:
            if row == query.page_row:
                return "page_item", ""
            if row in self._beside:
                return "beside", self._beside[row]
            if item in query.exclude:
                return "excluded", ""
        named = (
            (COOLING, "cooling"),
            (BOUGHT, "bought"),
            (IN_CART, "in_cart"),
            (IN_SESSION, "in_session"),
            (SUBSTITUTE, "substitute"),
        )
        for bar, verdict in named:
            if marks & bar:
                return verdict, self._bought_instead(item) if bar == BOUGHT else ""
        if marks & VARIANT:
            return "variant", self._there_instead(row)
        return "barred", ""

    def _there_instead(self, row: int) -> str:
        """The variants of it for which it has no place."""
        there = set(standing(self._query, list(self._beside)))
        variants = self._query.visit.columns.with_variants([row])[1:]
        return self._ids([other for other in variants if other in there])

    def _bought_instead(self, item: str) -> str:
        """The variant of it that the person has ordered; "" for the item itself."""
        query, columns = self._query, self._query.visit.columns
        bought = query.visit.person.ordered_since(query.placement.bought_within_days)
        variants = [columns.ids[row] for row in columns.with_variants([columns.row(item)])]
        return next((one for one in variants if one in bought and item not in bought), "")

    def _outranked(self, row: int) -> tuple[str, str]:
        place = self._place_of(row)
        rank = self._rank(place)
        if not rank and self._is_newest(row):
            return "last_seen", ""
        if not rank:
            return "not_named", ", ".join(self._query.sources)
        sources, leads = self.choice.sources, self._query.placement.lead_with_cart
        ranks = [
            self._rank(self._place_of(shown))
            for shown, source in zip(self.choice.rows, sources, strict=True)
            if not (leads and source == "cart")
        ]
        # A block that is short, or has what no source ranked, would have taken it but for a rule.
        is_full = len(sources) == self._query.limit and 0 not in ranks
        if is_full and rank > max(ranks, default=0):
            return "beaten", ""
        capped = self._capped(row)
        if capped is not None:
            return capped
        if self._query.placement.diversity > 0:
            return "too_alike", ""
        drawn = [row for row, source in zip(self.choice.rows, sources, strict=True) if source == NEW]
        return ("gave_way", self._ids(drawn)) if drawn else ("beaten", "")

    def _capped(self, row: int) -> tuple[str, str] | None:
        """The cap that those above it in the block have filled."""
        group, brand, leaf, per_brand, per_category = caps_of(self._query)
        for verdict, column, most in (
            ("variant", group, 1),
            ("brand_cap", brand, per_brand),
            ("category_cap", leaf, per_category),
        ):
            same = [other for other in self.choice.rows if column[other] == column[row] >= 0]
            if most < UNLIMITED and len(same) >= most:
                return verdict, self._ids(same)
        return None

    def _is_newest(self, row: int) -> bool:
        """Whether it is what the person looked at last: no source names that."""
        done = self._query.visit.person.done
        return bool(done.rows) and done.rows[-1] == row

    def _ids(self, rows: Sequence[int]) -> str:
        items = self._query.visit.columns.items
        return ", ".join(item.id for row in rows if (item := items[row]) is not None)

    def _place_of(self, row: int) -> int:
        """In the pool; -1 for no candidate."""
        places = np.flatnonzero(self._pool.rows == row)
        return int(places[0]) if row >= 0 and len(places) else -1

    def _rank(self, place: int) -> int:
        return self._order.index(place) + 1 if place in self._order else 0

    def _last_score(self) -> float:
        scores = [
            self._scored.totals[place] for row in self.choice.rows if (place := self._place_of(row)) >= 0
        ]
        return float(min(scores, default=0.0))

    def _shares(self, row: int, place: int) -> tuple[Share, ...]:
        """What each source says for a candidate, the one that says most first."""
        if place < 0:
            return ()
        pool, weights = self._pool, self._query.placement.sources
        said: dict[SourceName, float] = {
            source: weights[source] * float(pool.scores[index, place] / pool.best[index])
            for index, source in enumerate(pool.sources)
            if source is not None and pool.scores[index, place] > 0
        }
        whole = sum(said.values())
        return tuple(
            Share(source, points / whole, self._reason(row, source))
            for source, points in sorted(said.items(), key=lambda one: -one[1])
        )

    def _reason(self, row: int, source: str) -> Reason:
        alone = Choice([row], [0.0], [source], [1.0], personal=False, contextual=False)
        return evidence(alone, self._query).of(0)

    def _of_ranker(self) -> tuple[Features, Features]:
        """float32[F, c] each: the features of the pool, and what each of them moved; of no features
        without a ranker."""
        return Learned(self._query.context).effects(self._pool.rows)

    def _moved(self, place: int) -> tuple[Effect, ...]:
        """The features that moved a candidate's score most."""
        if place < 0 or not self._effects.size:
            return ()
        points = self._effects[:, place]
        most = np.argsort(-np.abs(points), kind="stable")[:MAX_EFFECTS].tolist()
        return tuple(
            Effect(FEATURES[feature], float(self._features[feature, place]), float(points[feature]))
            for feature in most
            if points[feature]
        )
