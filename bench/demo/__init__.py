"""`headrace demo`: the main job on a made-up shop, from an empty folder to a block that a click changed.

Everything lies in a home of its own, so a demo never mixes with a real shop; a second run goes on
with what the first one built. On a terminal the shop then stays up until Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from bench.demo.home import DemoHome, Volume
from bench.demo.screen import farewell, welcome
from bench.demo.story import Story
from bench.demo.system import running_system
from bench.shop import Shop
from server.client import Client, address_of
from server.up import only_one

SEED = 7


def play(folder: Path, program: str, volume: Volume, began_s: float) -> int:
    """Build what is missing, start flow and server, and play one visitor in front of the reader.

    `program`: path of the command line; `began_s`: when it was started, on the monotonic clock.
    Raises AlreadyUp, DemoFailed, KeyboardInterrupt and what the parts raise; no process is left then.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # what Ctrl-C does: unwind, and stop the children
        signal.signal(number, signal.default_int_handler)
    console = Console()
    stays = sys.stdin.isatty() and sys.stdout.isatty()
    with only_one(folder / "demo.lock", "demo"):
        home = DemoHome(folder, program, volume)
        welcome(console, home)
        shop = Shop(SEED)
        home.build(shop, console)
        with running_system(home, console), Client(address_of(home.settings.server)) as client:
            story = Story(
                client,
                shop,
                home.next_visitor(),
                home.visitors,
                console,
                home.folder / "cart-email.html",
                home.publish,
            )
            story.tell(lambda: time.monotonic() - began_s)
            if stays:
                farewell(console, home, story)
                with suppress(KeyboardInterrupt):
                    signal.pause()
                console.print("stopping")
    if stays:
        console.print("stopped")
    return 0
