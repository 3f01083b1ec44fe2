"""What the demo shows besides blocks."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.rule import Rule

from server.client import address_of
from server.pb import headrace_pb2 as pb

if TYPE_CHECKING:
    from bench.demo.home import DemoHome
    from bench.demo.story import Story


HERO_ITEMS = 5
"""Of the home block in the demo, and in what it proposes to type."""
RULE_CHARS = 4
"""What a rule takes beside its title; a longer title would be cut."""


def welcome(console: Console, home: DemoHome) -> None:
    console.print("[bold]Headrace demo[/]: a click changes the next block", highlight=False)
    console.print("The shop is simulated: its products, visitors and events are made up.", highlight=False)
    state = "built now, used again by later runs" if home.is_new else "built before"
    console.print(
        f"home: {shorter(home.folder)} ({state}); logs: {shorter(home.logs)}", highlight=False, soft_wrap=True
    )


def scene(console: Console, title: str) -> None:
    console.print()
    if len(title) > console.width - RULE_CHARS:
        console.print(title, highlight=False, markup=False)
        title = ""
    console.print(Rule(title, align="left", style="dim"))


def marks_of(before: pb.Block, after: pb.Block) -> list[str]:
    """For each item of `after`: `new`, `+2` for two places up, `-1` for one down, `=`."""
    places = {entry.item.id: place for place, entry in enumerate(before.items)}
    marks = []
    for place, entry in enumerate(after.items):
        moved = places[entry.item.id] - place if entry.item.id in places else None
        marks.append("new" if moved is None else f"{moved:+d}" if moved else "=")
    return marks


def changes(before: pb.Block, after: pb.Block) -> str:
    """`4 new, 1 moved`."""
    marks = marks_of(before, after)
    new, same = marks.count("new"), marks.count("=")
    return f"{new} new, {len(marks) - new - same} moved, {same} where they were"


def farewell(console: Console, home: DemoHome, story: Story) -> None:
    """What to type next, in another terminal."""
    headrace = f"{command_name()} --home {shorter(home.folder)}"
    address, device = address_of(home.settings.server), story.phone.anonymous_id
    body = f'{{"anonymous_id": "{device}", "slots": [{{"placement": "home.hero", "limit": {HERO_ITEMS}}}]}}'
    lines = [
        "The shop stays up. In another terminal, change the block yourself:",
        f"  {headrace} track view {story.not_seen_yet()} --as {device}",
        f"  {headrace} ask home.hero --limit {HERO_ITEMS} --as {device} --why",
        f"  {headrace} catalog list",
        "With grpcurl, if you have it:",
        f"  grpcurl -plaintext {address} describe headrace.v1.Headrace",
        f"  grpcurl -plaintext -d '{body}' {address} headrace.v1.Headrace/GetBlocks",
        f"Metrics: http://127.0.0.1:{home.settings.server.metrics_port}/metrics",
        "Ctrl-C stops everything.",
    ]
    console.print()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def command_name() -> str:
    """How the reader calls `headrace`: by name, or by the path in the environment that runs it."""
    installed = Path(sys.executable).with_name("headrace")
    if shutil.which("headrace") or not installed.exists():
        return "headrace"
    return shorter(installed)


def shorter(path: Path) -> str:
    """Relative to the present folder, where that says it."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)
