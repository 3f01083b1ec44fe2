"""The caller's filter: an expression over item attributes, checked once and answered for all rows at once."""

from recsys.filters.attributes import ATTRIBUTES, Attributes
from recsys.filters.expression import Filter, compile_filter
from recsys.filters.syntax import FilterError

__all__ = ["ATTRIBUTES", "Attributes", "Filter", "FilterError", "compile_filter"]
