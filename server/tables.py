"""Answers as tables for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.placement import Placement
from recsys.printable import printable
from server.pb import headrace_pb2 as pb


def block_table(block: pb.Block, *, marks: Sequence[str] = (), caption: str = "") -> Table:
    """The items of a block, best first, each with where it comes from and why. `marks`: what to say
    in front of each item, if anything."""
    table = Table(
        title=Text.assemble((block.slot, "bold"), f"  {block.title}" if block.title else ""),
        title_justify="left",
        caption=caption or None,
        caption_justify="left",
        box=box.HORIZONTALS,
        show_header=False,
        expand=True,
        pad_edge=False,
    )
    table.add_column(no_wrap=True, style="bold green")
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    for place, entry in enumerate(block.items):
        title, source, why = entry.item.title, entry.source.replace("_", " "), entry.reason.text
        named = title if title == entry.item.id else f"{title or '(no title)'}  {entry.item.id}"
        said = why if why.startswith(source) else f"{source}: {why}"
        left = f"only {entry.urgency.stock} left; " if entry.urgency.HasField("stock") else ""
        shown = Text.assemble(f"{printable(named)}\n", (printable(left + said), "dim"))
        table.add_row(marks[place] if marks else str(place + 1), shown, price_of(entry.item))
    if not block.items:
        table.add_row("", "nothing", "")
    return table


def price_of(item: pb.CatalogItem) -> Text:
    """What it costs, and what before the sale; in words, for a file cannot strike out."""
    if not item.HasField("price"):
        return Text("")
    now = printable(f"{item.price:,.2f} {item.currency}".strip())
    if not item.HasField("full_price"):
        return Text(now)
    return Text.assemble(now, (f" (was {item.full_price:,.2f})", "dim"))


def state_line(block: pb.Block, call_ms: float, server_ms: float) -> str:
    """How long a block took and how fresh it is; which model decided."""
    fresh = block.freshness
    said = [f"{call_ms:.1f} ms ({server_ms:.1f} in the server)"]
    if fresh.event_at_ms:
        said.append(f"newest event {duration(fresh.age_ms)} old")
    said.append(f"flow {duration(fresh.flow_lag_ms)} behind" if fresh.flow_lag_ms >= 0 else "no flow runs")
    if not fresh.reached:
        said.append("NOT as fresh as asked for")
    if block.fallback:
        said.append(f"fallback: {block.fallback}")
    return f"{'; '.join(said)}\nmodel {block.model_version or 'none'}"


def print_blocks(console: Console, answer: pb.GetBlocksResponse, call_ms: float) -> None:
    """An answer to GetBlocks; `call_ms` is how long it took the caller."""
    for block in answer.blocks:
        console.print(block_table(block, caption=state_line(block, call_ms, answer.server_ms)))
        if block.next_cursor:
            console.print(f"next page: --cursor {block.next_cursor}", style="dim", soft_wrap=True)


def print_accounts(
    console: Console, explained: pb.ExplainResponse, zone: tzinfo, only: Collection[str] = ()
) -> None:
    """Why each item is there, or not; see `account_lines`."""
    _print_lines(console, account_lines(explained, zone, only))


def print_person(console: Console, person: pb.Person) -> None:
    _print_lines(console, person_lines(person))


def print_explanation(console: Console, answer: pb.ExplainResponse, zone: tzinfo) -> None:
    """An answer to Explain; `zone`: whose clock times are told in."""
    block = answer.block
    named = answer.user_id or answer.anonymous_id or "nobody named"
    told = f"served {clock_time(block.at_ms, 0, zone)} to {named}, known as {answer.person or 'nobody'}"
    told += "".join(
        f", {name} {text}" for name in ("request_id", "render_id") if (text := getattr(answer, name))
    )
    console.print(block_table(block, caption=told))
    print_accounts(console, answer, zone)


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    """On a terminal broken between words, further in than they begin; whole into a file."""
    for line in lines:
        for part in wrapped(line, console.width) if console.is_terminal else [printable(line)]:
            console.print(part, markup=False, highlight=False, soft_wrap=True)


def wrapped(line: str, width: int) -> list[str]:
    """A line in parts of at most `width` columns, but for words that are longer."""
    inset = " " * (len(line) - len(line.lstrip()))
    parts = textwrap.wrap(
        printable(line.strip()),
        width,
        initial_indent=inset,
        subsequent_indent=f"{inset}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return parts or [""]


def person_lines(person: pb.Person) -> list[str]:
    """What the state makes of a person."""
    named = person.person or "nobody named"
    if not person.known:
        return [f"person {named}: not known"]
    intent = f"{person.intent_tier or 'no session'} ({person.intent_score:.2f})"
    points = [f"  {reason.points:+.2f} {reason.text}" for reason in person.intent_reasons]
    return [f"person {named}: {intent}, {person.stage or 'no stage'}", *points]


LEAST_SHARE = 0.01
"""A source that says less than this of all that is said for an item is not worth a line."""


def account_lines(explained: pb.ExplainResponse, zone: tzinfo, only: Collection[str] = ()) -> Iterator[str]:
    """Each account in a sentence; below it what each of several sources goes by, and what would be now.
    Features are for programs: the sentence tells those that matter. `only`: of these items, where any are
    named."""
    block = explained.block
    yield f"{block.slot}: decision {block.decision_id}, model {block.model_version or 'none'}"
    if not explained.as_taken:
        other = explained.model_version != block.model_version
        by = f", by model {explained.model_version or 'none'}" if other else ""
        yield f"  state, catalogue or model have changed since: what was kept, and what would be now{by}"
    told = set()
    for account in explained.accounts:
        if account.item_id in told or (only and account.item_id not in only):
            continue
        told.add(account.item_id)
        yield from _account_lines(account, block.at_ms, zone)
        if account.HasField("now"):
            now, *more = _account_lines(account.now, block.at_ms, zone)
            yield f"    now: {now.strip()}"
            yield from (f"  {line}" for line in more)


def _account_lines(account: pb.Account, at_ms: int, zone: tzinfo) -> Iterator[str]:
    score = f"  {account.score:.3f}" if account.place or account.rank else ""
    yield f"  {account.item_id}{score}  {account.text}"
    shares = [share for share in account.sources if share.share >= LEAST_SHARE]
    if len(shares) > 1 or any(share.reason.text not in account.text for share in shares):
        yield from (f"    {_share_line(share, account.text, at_ms, zone)}" for share in shares)


def _share_line(share: pb.SourceShare, told: str, now_ms: int, zone: tzinfo) -> str:
    """`told`: the sentence above it; what it says is not said again."""
    reason = share.reason
    said = f"{share.share:4.0%} {share.source.replace('_', ' ')}"
    if reason.text not in told:
        said += f": {reason.text}"
    named = (reason.event, reason.evidence_item_id, clock_time(reason.at_ms, now_ms, zone))
    evidence = "  ".join(part for part in named if part)
    return f"{said}  [{evidence}]" if evidence else said


def receipt_lines(answer: pb.TrackResponse) -> list[str]:
    """A line for each event: its position, or what is wrong with it."""
    lines = []
    for receipt in answer.receipts:
        line = f"{receipt.position}  {receipt.message_id}".rstrip()
        if receipt.HasField("problem"):
            problem = receipt.problem
            line += f"  {problem.kind}: Expected {problem.expected}, got {problem.got} - at `{problem.path}`"
        lines.append(line)
    return lines


def slots_of(
    names: Sequence[str], placements: Mapping[str, Placement], item: str, limit: int
) -> list[pb.Slot]:
    """The slots to ask for; `item` goes to those that need one, or to all if none does."""
    needing = [name for name in names if name in placements and placements[name].needs_item] or list(names)
    return [pb.Slot(placement=name, item_id=item if name in needing else "", limit=limit) for name in names]


def clock_time(at_ms: int, now_ms: int, zone: tzinfo) -> str:
    """`23:56:41 CET`, with the date in front where it is not that of `now_ms`; "" for none."""
    if not at_ms:
        return ""
    at, now = (datetime.fromtimestamp(ms // 1000, zone) for ms in (at_ms, now_ms))
    date = "" if at.date() == now.date() else f"{at:%Y-%m-%d} "
    return f"{date}{at:%H:%M:%S} {at.tzname()}"


def duration(span_ms: float) -> str:
    """A span of time in the unit that suits it."""
    if span_ms < 1000:
        return f"{span_ms:.0f} ms"
    for name, unit_ms in (("days", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if span_ms >= 2 * unit_ms:
            return f"{span_ms / unit_ms:.0f} {name}"
    return f"{span_ms / 1000:.0f} s"
