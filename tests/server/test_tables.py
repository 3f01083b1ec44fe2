"""Answers as a terminal of 80 columns shows them."""

from __future__ import annotations

import io
from datetime import timedelta, timezone

import pytest
from rich.console import Console

from server.pb import headrace_pb2 as pb
from server.tables import account_lines, block_table, clock_time, print_accounts

UTC = timezone.utc
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


def test_a_price_that_is_lower_for_a_while_says_what_it_was() -> None:
    reduced = entry("P-1", "Tent", "popular", "popular in this shop")
    reduced.item.MergeFrom(pb.CatalogItem(price=5.5, full_price=6.87, currency="EUR"))
    assert any(line.endswith(" 5.50 EUR (was 6.87)") for line in printed(block(reduced)))


def test_how_many_are_left_is_said_where_the_placement_tells_it() -> None:
    scarce = entry("P-1", "Tent", "popular", "popular in this shop")
    scarce.urgency.stock = 2
    assert "only 2 left; popular in this shop" in printed(block(scarce))


def test_an_account_has_its_sources_below_it() -> None:
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
            ),
            pb.Account(item_id="P-2", text="Not shown: sold out."),
        ],
    )
    explained.block.model_version = "v1"
    lines = list(account_lines(explained, UTC))
    assert lines == [
        "home.hero: decision d-1, model v1",
        "  P-1  0.500  Place 1.",
        "     75% neighbours: others went on to this  [Product Viewed  P-9  11:59:59 UTC]",
        "     25% popular: popular here",
        "  P-2  Not shown: sold out.",
    ]
    assert list(account_lines(explained, UTC, ["P-2"])) == [lines[0], lines[-1]]
    explained.as_taken = False
    explained.model_version = "v2"
    changed, told = list(account_lines(explained, UTC))[:2]
    assert changed == lines[0], "the model that decided, not the one of now"
    assert "have changed since" in told
    assert told.endswith("what would be now, by model v2")


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
    explained = pb.ExplainResponse(block=block(), accounts=[account, account], as_taken=True)
    _, *lines = account_lines(explained, UTC)
    assert lines == [
        "  P-1  0.500  Place 2: others went on to this.",
        "    now: P-1  Not shown: it cannot be had: sold out.",
    ]


def test_of_several_sources_the_strongest_stands_first_though_the_sentence_has_its_words() -> None:
    account = pb.Account(
        item_id="P-1",
        place=1,
        score=0.5,
        text="Place 1: because you viewed Tent; named by item to item 60%, popular 40%.",
        sources=[
            pb.SourceShare(
                source="item_to_item", share=0.6, reason=pb.Reason(text="because you viewed Tent")
            ),
            pb.SourceShare(source="popular", share=0.4, reason=pb.Reason(text="popular here")),
        ],
    )
    lines = list(account_lines(pb.ExplainResponse(block=block(), accounts=[account], as_taken=True), UTC))
    assert lines[2:] == ["     60% item to item", "     40% popular: popular here"]


def test_on_a_terminal_an_account_is_broken_between_words_and_set_in() -> None:
    account = pb.Account(item_id="P-1", text="Not shown: " + "as many of its brand stand there " * 4)
    explained = pb.ExplainResponse(block=block(), accounts=[account], as_taken=True)
    screen = Console(width=60, file=io.StringIO(), force_terminal=True, color_system=None)
    print_accounts(screen, explained, UTC)
    _, first, *rest = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first == "  P-1  Not shown: as many of its brand stand there as many"
    assert rest
    assert all(line.startswith("      ") and len(line) <= 60 for line in rest)
    into_file = Console(width=60, file=io.StringIO())
    print_accounts(into_file, explained, UTC)
    assert len(into_file.file.getvalue().splitlines()) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("at_ms", "shown"), [(0, ""), (NOON_MS, "12:00:00 UTC"), (NOON_MS - DAY_MS, "2024-10-03 12:00:00 UTC")]
)
def test_the_date_is_told_where_it_is_another(at_ms: int, shown: str) -> None:
    assert clock_time(at_ms, NOON_MS, UTC) == shown


def test_evidence_is_told_by_the_clock_of_the_shop() -> None:
    berlin = timezone(timedelta(hours=2), "CEST")
    assert clock_time(NOON_MS, NOON_MS, berlin) == "14:00:00 CEST"


def test_what_a_visitor_named_steers_no_terminal() -> None:
    lines = printed(block(entry("P\u202e1", "\x1b[31mred", "trending", "1 view lately")))
    assert "\\x1b[31mred  P\\u202e1" in " ".join(lines)
    assert not any("\x1b" in line or "\u202e" in line for line in lines)
