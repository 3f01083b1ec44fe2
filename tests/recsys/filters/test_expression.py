"""What filters say, and what is said about those that are wrong."""

from __future__ import annotations

import pytest

from recsys.catalog import Item
from recsys.filters import ATTRIBUTES, Attributes, FilterError, compile_filter
from recsys.filters.expression import MAX_COMPILED

TENT = Item("t", category=("Outdoor", "tents"), brand="Acme", price=49.0, attributes={"color": "red"})
SALE = Item("s", category=("Outdoor", "bags"), brand="Bolt", price=80.0, sale_price=40.0, tags=("new", "eco"))
GIFT = Item("article:g", "article", title="Gifts", published_ms=1_767_225_600_000)  # 2026-01-01


def passing(text: str, *items: Item) -> list[bool]:
    attributes = Attributes()
    for row, item in enumerate(items or (TENT, SALE, GIFT)):
        attributes.set(row, item)
    return compile_filter(text).rows(attributes).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('price < 50.0 && "tents" in category && brand != "Acme"', [False, False, False]),
        ('price < 50 && "tents" in category', [True, False, False]),
        ("price_now < 50", [True, True, False]),
        ("price != 49.0", [False, True, True]),
        ("!(price < 50.0)", [False, True, False]),
        ("price == null", [False, False, True]),
        ('price < 50.0 || item_type == "article"', [True, False, True]),
        ('attributes.color != "blue"', [True, False, False]),
        ('!has(attributes.color) || attributes.color != "blue"', [True, True, True]),
        ('category[1] == "bags"', [False, True, False]),
        ('brand in ["acme", "Bolt"] || id == "g"', [False, True, True]),
        ('brand.startsWith("A") && size(tags) == 0', [True, False, False]),
        ('"eco" in tags && "color" in attributes', [False, False, False]),
        ('published >= timestamp("2026-01-01T00:00:00Z")', [False, False, True]),
        ("(sale_price == null ? price : sale_price * 2.0) > 50.0", [False, True, False]),
        ("true", [True, True, True]),
    ],
)
def test_items_that_pass(text, expected):
    assert passing(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "price < 5.0 && colour == 1",
            f"Expected a known attribute ({', '.join(ATTRIBUTES)}), got `colour` - at 15",
        ),
        ('price < "a"', "Expected `int` or `double`, got `string` - at 8"),
        ("price", "Expected `bool`, got `double` - at 0"),
        ("brand == null", "Expected `string`, got `null` - at 9"),
        ("price * 2 > 1.0", "Expected `double`, got `int` - at 8"),
        ("category == tags", "Expected a value to compare, got `list` - at 0"),
        ("brand in [title]", "Expected a literal, got `string` - at 10"),
        ("title < brand", "Expected a literal string, got an expression - at 0"),
        ("has(price)", "Expected `has(attributes.name)`, got something else in it - at 4"),
        ('brand.matches("(a+)+$")', "Expected a known function or operator, got `matches` - at 6"),
        ("startsWith(brand)", "Expected a known function or operator, got `startsWith` - at 0"),
        ("size(tags, 1) > 0", "Expected 1 argument for `size`, got 2 - at 0"),
        ("[1] == [1]", "Expected a list of literals only after `in`, got one - at 0"),
        ('"a" in "ab"', "Expected `list` or `map`, got `string` - at 7"),
        ("price < ", "Expected a value, got the end - at 8"),
        ("", "Expected a value, got the end - at 0"),
        ("price < 5.0 available", "Expected an operator, got `available` - at 12"),
        ("price & 3", "Expected an operator, got `&` - at 6"),
        ("attributes.3", "Expected a name, got `3` - at 11"),
        ("attributes.", "Expected a name, got the end - at 11"),
        ('brand == "Ac', 'Expected a closing `"` on the same line - at 9'),
        (r'brand == "a\q"', r"Expected an escape that CEL knows, got `\q` - at 11"),
        (
            'published < timestamp("2026-13-01")',
            "Expected a time like `2026-01-31T12:00:00Z`, to the millisecond, got `2026-13-01` - at 22",
        ),
        ("9223372036854775808 > 1", "Expected a whole number of at most 64 bits, got a longer one - at 0"),
        (
            "size(tags) * 9223372036854775807 > 1",
            "Expected a result of at most 64 bits, got one that may be longer - at 11",
        ),
        ("!" * 40 + "true", "Expected at most 32 levels of nesting, got more - at 32"),
        ("x" * 2001, "Expected a filter of at most 2000 characters, got 2001 - at 2000"),
        (
            " || ".join(['title.contains("a")'] * 6),
            "Expected a filter that costs at most 2000, got a costlier one - at 98",
        ),
    ],
)
def test_a_wrong_filter_is_told_where_and_why(text, message):
    with pytest.raises(FilterError) as error:
        compile_filter(text)
    assert str(error.value) == message
    assert error.value.at == int(message.rsplit(" ", 1)[1])


@pytest.mark.parametrize(
    "text", ['"' + r"\a" * 990, "(" * 2000, "[" * 2000, "-" * 2000, "a." * 1000, "1?" * 999]
)
def test_hostile_texts_are_refused(text):
    """`"` and many `\\a` hang parsers whose string pattern backtracks."""
    with pytest.raises(FilterError):
        compile_filter(text)


def test_long_chains_are_no_nesting():
    text = " || ".join(f'brand == "{number}"' for number in range(100))
    assert passing(text) == [False, False, False]


def test_brackets_are_no_nesting():
    assert passing("(" * 900 + "available" + ")" * 900) == [True, True, True]


def test_a_filter_is_compiled_once():
    assert compile_filter("price < 1.0") is compile_filter("price < 1.0")


def test_compiled_filters_are_bounded():
    first = compile_filter("price < 0.5")
    for number in range(MAX_COMPILED):
        compile_filter(f"price < {number}.25")
    assert compile_filter("price < 0.5") is not first
