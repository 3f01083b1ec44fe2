"""Google's own CEL (cel-cpp), item by item, against filters, all rows at once."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from recsys.filters import ATTRIBUTES, Attributes, FilterError, compile_filter
from tests.recsys.filters.expressions import as_cel, filters, items

cel = pytest.importorskip("cel_expr_python.cel", reason="it has no wheel for Python 3.10")

_TYPES = {
    "bool": cel.Type.BOOL,
    "string": cel.Type.STRING,
    "list": cel.Type.List(cel.Type.STRING),
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    # May be null, which their own types here may not: checked as they run.
    "double": cel.Type.DYN,
    "timestamp": cel.Type.DYN,
}
ENVIRONMENT = cel.NewEnv(variables={name: _TYPES[type_] for name, type_ in ATTRIBUTES.items()})


def passes(expression, item) -> bool:
    return expression.eval(data=as_cel(item)).plain_value() is True


@settings(max_examples=400, deadline=None)
@given(filters(), st.lists(items, min_size=1, max_size=8))
def test_a_filter_passes_what_cel_says_is_true(text, of_items):
    # By C's strtod Google's double("0x1") is 1.0 and double("nan") no error; a filter takes decimals only.
    assume("double(" not in text or not re.search("0x|nan|inf", repr((text, of_items)).lower()))
    attributes = Attributes()
    for row, item in enumerate(of_items):
        attributes.set(row, item)
    expression = ENVIRONMENT.compile(text)

    assert compile_filter(text).rows(attributes).tolist() == [passes(expression, item) for item in of_items]


@settings(max_examples=500, deadline=None)
@given(st.text("()[]!-+*/<>=&|?:.,\"'\\ae1x _\n", max_size=14))
@example("1.5.e")
@example("r'\\'")
@example("'\\'")
@example("- -1 == 1")
@example("a&&b||c?d:e")
@example("1 == 1 // a")
def test_what_filters_take_is_cel(text):
    """Never the other way round: a filter that means something only here."""
    try:
        compile_filter(text)
    except FilterError:
        return
    ENVIRONMENT.compile(text)
