"""Answers as a terminal of 80 columns shows them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from server.pb import headrace_pb2 as pb
from server.tables import account_lines, block_table, utc_time

DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2


def entry(item: str, title: str, source: str, text: str, **evidence: object) -> pb.BlockItem:
    return pb.BlockItem(
        item=pb.CatalogItem(id=item, title=title),
        score=0.5,
        source=source,
        reason=pb.Reason(text=text, **evidence),
    )


def block(*entries: pb.BlockItem) -> pb.Block:
    return pb.Block(decision_id="d-1", slot="home.hero", at_ms=NOON_MS, items=entries)


def printed(shown: pb.Block) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(block_table(shown))
    return [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_nothing_is_said_twice() -> None:
    lines = printed(
        block(
            entry("P-1", "Tent", "popular", "popular in this shop"),
            entry("P-2", "P-2", "item_to_item", "because you viewed Tent"),
            entry("P-3", "", "popular", "popular in this shop"),
        )
    )
    assert [line.split(maxsplit=1)[1] for line in lines if line[:1] in "123" and line] == [
        "Tent  P-1",
        "P-2",
        "(no title)  P-3",
    ]
    assert lines.count("popular in this shop") == 2
    assert "item to item: because you viewed Tent" in lines


def test_an_account_has_its_sources_and_features_below_it() -> None:
    viewed = pb.Reason(
        text="others went on to this", event="Product Viewed", evidence_item_id="P-9", at_ms=NOON_MS - 1000
    )
    explained = pb.ExplainResponse(
        block=block(entry("P-1", "Tent", "neighbours", "")),
        as_taken=True,
        model_version="v1",
        accounts=[
            pb.Account(
                item_id="P-1",
                place=1,
                score=0.5,
                text="Place 1.",
                sources=[
                    pb.SourceShare(source="neighbours", share=0.75, reason=viewed),
                    pb.SourceShare(source="popular", share=0.25, reason=pb.Reason(text="popular here")),
                ],
                features=[pb.FeatureEffect(feature="surge", value=12.5, points=0.4)],
            ),
            pb.Account(item_id="P-2", text="Not shown: sold out."),
        ],
    )
    lines = account_lines(explained)
    assert lines == [
        "home.hero: decision d-1, model v1",
        "  P-1  0.500  Place 1.",
        "     75% neighbours: others went on to this  [Product Viewed  P-9  11:59:59 UTC]",
        "     25% popular: popular here",
        "    surge = 12.5 (+0.40)",
        "  P-2  Not shown: sold out.",
    ]
    assert account_lines(explained, ["P-2"]) == [lines[0], lines[-1]]
    explained.as_taken = False
    assert "have changed since" in account_lines(explained)[1]


def test_an_account_tells_nothing_twice_and_what_would_be_now() -> None:
    said = pb.Reason(text="others went on to this")
    account = pb.Account(
        item_id="P-1",
        place=2,
        score=0.5,
        text="Place 2: others went on to this.",
        sources=[
            pb.SourceShare(source="neighbours", share=0.99, reason=said),
            pb.SourceShare(source="surging", share=0.004, reason=pb.Reason(text="looked at")),
        ],
        now=pb.Account(item_id="P-1", text="Not shown: it cannot be had: sold out."),
    )
    lines = account_lines(pb.ExplainResponse(block=block(), accounts=[account, account], as_taken=True))
    assert lines[1:] == [
        "  P-1  0.500  Place 2: others went on to this.",
        "    now: P-1  Not shown: it cannot be had: sold out.",
    ]


@pytest.mark.parametrize(
    ("at_ms", "shown"), [(0, ""), (NOON_MS, "12:00:00 UTC"), (NOON_MS - DAY_MS, "2024-10-03 12:00:00 UTC")]
)
def test_the_date_is_told_where_it_is_another(at_ms: int, shown: str) -> None:
    assert utc_time(at_ms, NOON_MS) == shown


def test_what_a_visitor_named_steers_no_terminal() -> None:
    lines = printed(block(entry("P\u202e1", "\x1b[31mred", "trending", "1 view lately")))
    assert "\\x1b[31mred  P\\u202e1" in " ".join(lines)
    assert not any("\x1b" in line or "\u202e" in line for line in lines)
