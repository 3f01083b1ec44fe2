"""bench growth: a row a shop, and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import growth
from bench.dataset import Sizes


def test_one_axis_grows_at_a_time() -> None:
    assert growth.shop_of("items", 200_000, 3) == growth.BASE._replace(items=200_000, seed=3)
    assert growth.shop_of("clicks", 500_000, 3) == growth.BASE._replace(sessions=100_000, seed=3)


@pytest.mark.parametrize("values", [[287.5, 288.3], [1.0, 400.0], [7.0]])
def test_what_hardly_grows_is_drawn_as_that(values: list[float]) -> None:
    low, high = growth.decades(values)
    assert low < min(values) <= max(values) < high
    assert high / low >= 10


@pytest.mark.slow
def test_figures_and_a_picture(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(growth, "BASE", Sizes(items=200, sessions=400, profiles=50))
    monkeypatch.setattr(growth, "AXES", {"items": (100, 200, 300), "clicks": (1000,)})
    monkeypatch.setattr(growth, "QUICK", {"items": 200, "clicks": 1000})
    picture = tmp_path / "growth.png"
    assert growth.main(["--png", str(picture), "--requests", "5", "--cache", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["axis"], row["size"], row["items"]) for row in report["rows"]] == [
        ("items", 100, 100), ("items", 200, 200), ("clicks", 1000, 200),
    ]  # fmt: skip
    for row in report["rows"]:
        assert min(row[name] for name in growth.MEASURES) > 0
    assert picture.read_bytes().startswith(b"\x89PNG")
