"""The demo shop's front door: its catalogue, its stream of events, its scripted visitors."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.shop.catalogue import Catalogue
from bench.shop.events import Faults, SimEvent
from bench.shop.people import make_person
from bench.shop.scripted import ScriptedVisitor
from bench.shop.stream import OnVisit, Stream

_USUAL = Faults()


class PersonTruth(msgspec.Struct, frozen=True):
    """Who somebody really is. `tier` of price: 0..2; `leaves`: favourite categories, the dearest first."""

    number: int
    taste: str
    tier: int
    leaves: list[str]
    devices: list[str]
    user_id: str


class Truth:
    """What the simulator knows and a model has to find out."""

    def __init__(self, catalogue: Catalogue, seed: int) -> None:
        self._catalogue = catalogue
        self._seed = seed

    @property
    def complements(self) -> dict[str, list[str]]:
        """product id -> ids of what goes with it, those of the strongest kind first."""
        picks = self._catalogue.complements
        return {
            product.id: [other.id for other in pick.items]
            for product in self._catalogue.products
            if (pick := picks[product.row]) is not None
        }

    def person(self, number: int) -> PersonTruth:
        """Person `number`, counted in the order in which people first come."""
        person = make_person(self._seed, number, 0, self._catalogue)
        return PersonTruth(
            number,
            person.taste,
            person.tier,
            person.leaves,
            [d.anonymous_id for d in person.devices],
            person.user_id,
        )


class Shop:
    """A simulated shop, the same for the same (seed, products, articles).

    `products`: rows of a Google Merchant product feed. `articles`: id, title, summary, url, published,
    category, tags (slugs of product categories), author. ValueError for sizes out of range.
    """

    def __init__(self, seed: int = 7, products: int = 800, articles: int = 60) -> None:
        self.seed = seed
        self.catalogue = Catalogue(seed, products, articles)
        self.products: list[dict[str, str]] = [product.feed for product in self.catalogue.products]
        self.articles: list[dict[str, Any]] = self.catalogue.articles
        self.truth = Truth(self.catalogue, seed)

    def events(
        self,
        start_ms: int,
        days: int,
        visitors_per_day: int,
        *,
        broken: float = _USUAL.broken,
        late: float = _USUAL.late,
        duplicates: float = _USUAL.duplicates,
        on_visit: OnVisit | None = None,
    ) -> Iterator[SimEvent]:
        """Events of `days` whole days from `start_ms` (epoch ms, midnight UTC for daylight to fit), in
        order of `received_ms`, about `visitors_per_day` visits a day; shares as in `Faults`.

        Fewer days give a prefix of more days. `on_visit` gets the truth of each visit as it is made.
        """
        if days < 1 or visitors_per_day < 1:
            raise ValueError(
                f"Expected at least 1 day and 1 visitor a day, got `{days}` and `{visitors_per_day}`"
            )
        faults = Faults(late=late, duplicates=duplicates, broken=broken)
        return iter(Stream(self.catalogue, self.seed, start_ms, days, visitors_per_day, faults, on_visit))

    def visitor(self, name: str, at_ms: int) -> ScriptedVisitor:
        """Somebody whose every step is told, for demos: the same name is the same device."""
        return ScriptedVisitor(self.catalogue, name, at_ms)

    def write_feed(self, path: Path) -> None:
        """The product feed as tab-separated values with a header row."""
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, list(self.products[0]), delimiter="\t", lineterminator="\n")
            rows.writeheader()
            rows.writerows(self.products)

    def write_articles(self, path: Path) -> None:
        """The articles as JSON lines."""
        with path.open("wb") as file:
            for article in self.articles:
                file.write(msgspec.json.encode(article) + b"\n")


def truth_as_json(truth: Truth, people: Mapping[int, PersonTruth], intents: Mapping[str, int]) -> bytes:
    """What `python -m bench.shop` writes beside the events."""
    return msgspec.json.encode(
        {
            "simulated": True,
            "complements": truth.complements,
            "intents": intents,
            "people": list(people.values()),
        }
    )
