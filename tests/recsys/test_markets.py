"""Markets are one thing, by whatever word they are called."""

from __future__ import annotations

import pytest

from recsys.markets import MAX_MARKET_CHARS, is_country, market_code


@pytest.mark.parametrize(
    ("market", "code"),
    [
        ("United States", "US"),
        ("United Kingdom", "GB"),
        ("Germany", "DE"),
        ("South Korea", "KR"),
        ("Czechia", "CZ"),
        ("Türkiye", "TR"),
        ("Turkey", "TR"),
        ("Côte d\u2019Ivoire", "CI"),
        ("Cote d'Ivoire", "CI"),
        ("Bosnia & Herzegovina", "BA"),
        ("Trinidad and Tobago", "TT"),
        ("The Bahamas", "BS"),
        ("St. Lucia", "LC"),
        ("Hong Kong", "HK"),
        ("Congo - Kinshasa", "CD"),
        (" de ", "DE"),
        ("DE", "DE"),
        ("Nordics", "NORDICS"),  # a market of the shop's own
        ("(not set)", ""),
        ("UK", "GB"),
        ("USA", "US"),
        ("U.S. Outlying Islands", "UM"),
        ("St. Vincent & Grenadines", "VC"),
        ("Macedonia (FYROM)", "MK"),
        ("", ""),
    ],
)
def test_a_country_is_known_by_its_code_and_by_its_name(market: str, code: str) -> None:
    assert market_code(market) == code


def test_what_is_too_long_is_cut() -> None:
    assert market_code("x" * 1000) == "X" * MAX_MARKET_CHARS


@pytest.mark.parametrize(
    ("market", "known"), [("DE", True), ("Germany", True), ("uk", True), ("Germoney", False), ("", False)]
)
def test_what_is_no_country_is_told_apart(market: str, known: bool) -> None:
    assert is_country(market_code(market)) == known
