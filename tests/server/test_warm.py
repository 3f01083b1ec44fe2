"""Before anybody asks, every placement has been decided once."""

from __future__ import annotations

from recsys.filters.syntax import FilterError
from recsys.placement import Placement
from recsys.settings import SessionSettings
from server import warm as warm_module
from server.warm import warm
from tests.recsys.pipeline.shops import NOW_MS, shelf

PLACEMENTS = {
    "home.cheap": Placement(sources={"popular": 1.0}, filter="price_now < 50.0"),
    "home.hero": Placement(sources={"popular": 1.0}),
}


def test_a_configured_filter_has_been_looked_at(monkeypatch) -> None:
    read = shelf()
    warm(read, PLACEMENTS, {}, SessionSettings().rules, NOW_MS)
    asked = []
    monkeypatch.setattr("recsys.pipeline.passing.compile_filter", asked.append)
    read.passing.rows("price_now < 50.0", read.columns.capacity)
    assert asked == [], "its rows are known"


def test_what_goes_wrong_keeps_no_server_from_starting(monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise FilterError("no")

    monkeypatch.setattr(warm_module, "decide", broken)
    warm(shelf(), PLACEMENTS, {}, SessionSettings().rules, NOW_MS)
