"""Filter: complements against substitutes."""

from __future__ import annotations

import pytest

from tests.recsys.pipeline.shops import PRODUCTS, ask, bare_shelf, shelf, shown, slot, visitor


def families(items: list[str]) -> set[str]:
    return {item[0] for item in items}


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_complements_are_of_other_categories(build) -> None:
    on = build()
    (similar,) = ask(on, visitor("t1"), slot("product.similar", 5, "t2"))
    (complements,) = ask(on, visitor("t1"), slot("product.complements", 12, "t2"))
    assert "t" in families(shown(similar))
    assert families(shown(complements)) == {"s", "m"}
    assert len(complements.items) == 12


def test_cross_selling_brings_no_substitute_of_what_is_in_the_cart() -> None:
    (block,) = ask(shelf(), visitor("t1", "s2", cart=("t1", "s2")), slot("cart.cross_sell", 6))
    assert families(shown(block)) == {"m"}


def test_more_of_the_same_is_better_than_nothing() -> None:
    on = bare_shelf([item for item in PRODUCTS if item.id[0] == "t"])
    (block,) = ask(on, None, slot("product.complements", 3, "t2"))
    assert len(block.items) == 3
    assert "t2" not in shown(block)


def test_the_next_slot_is_not_kept_from_them() -> None:
    on = shelf()
    blocks = ask(on, None, slot("product.complements", 3, "t2"), slot("product.similar", 3, "t2"))
    assert "t" in families(shown(blocks[1]))
