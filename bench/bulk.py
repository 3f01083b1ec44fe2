"""bulk: how many personal emails a minute, and whether a kill on the way loses or repeats anybody.

A shop as for `bench serving`; one email of three slots for each of `--people` people, asked for by
`headrace mailing` of a server with a process for each core. First a small mailing is killed with SIGKILL
on the way and gone on with: nobody may be missing or there twice. Then the large one is timed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.dataset import Sizes, prepared
from bench.ids import user_id, visitor_id
from bench.runner import BenchFailed, present, report, running, say
from bench.serving import settings_of
from bench.system import HOST, argument_of
from recsys.settings import Settings
from server.mailing import answers_in, cut_back
from server.pb import headrace_pb2 as pb

SLOTS = ("email.cart_recovery", "email.digest", "home.hero")
KILLED_PEOPLE = 3000
"""Of the mailing that is killed."""
LOOK_S = 0.5
SAY_S = 10.0
ROOT = Path(__file__).parents[1]


def write_people(path: Path, count: int, profiles: int) -> None:
    """A line a person, as `headrace mailing` reads them."""
    with path.open("w") as file:
        for number in range(count):
            user = user_id(number % profiles)
            file.write(f"u:{user}\n" if user is not None else f"a:{visitor_id(number % profiles)}\n")


@contextmanager
def mailing(
    home: Path, address: str, people: Path, out: Path, campaign: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`headrace mailing` as a process; whatever happens it does not outlive the block."""
    slots = [word for name in SLOTS for word in ("--slot", name)]
    command = [
        sys.executable, str(ROOT / "headrace.py"), "--home", str(home), "mailing", str(people), str(out),
        *slots, "--campaign", campaign, "--server", address,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def finished(process: subprocess.Popen[bytes]) -> None:
    if (code := process.wait()) != 0:
        raise BenchFailed(f"Expected a mailing that ends well, got exit code {code}")


def killed_and_resumed(home: Path, address: str, folder: Path, profiles: int) -> dict[str, int]:
    """Kill a mailing on the way and go on with it: how many people it had by then, and how many are
    missing, twice or without items in the end."""
    people, out = folder / "few.txt", folder / "few.pb"
    write_people(people, KILLED_PEOPLE, profiles)
    with mailing(home, address, people, out, "killed") as process:
        while process.poll() is None and not (out.exists() and out.stat().st_size):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    had = cut_back(out)
    with mailing(home, address, people, out, "killed") as process:
        finished(process)
    wanted = [f"killed:{line}" for line in people.read_text().splitlines()]
    with out.open("rb") as file:
        answers = [pb.GetBlocksResponse.FromString(answer) for answer, _ in answers_in(file)]
    got = [answer.render_id for answer in answers]
    return {
        "killed_after": had,
        "missing": len(set(wanted) - set(got)),
        "twice": len(got) - len(set(got)),
        "out_of_place": sum(1 for one, other in zip(wanted, got, strict=False) if one != other),
        "without_items": sum(1 for answer in answers if not any(block.items for block in answer.blocks)),
    }


def memory_mb(pid: int) -> float:
    """What a process and its children hold of their own: mapped files (bundle, state) are the system's to
    keep or to drop. 0 where nobody says."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        rollups = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in (pid, *children)]
    except OSError:
        return 0.0
    lines = [line for rollup in rollups for line in rollup.splitlines() if line.startswith("Anonymous:")]
    return sum(int(line.split()[1]) for line in lines) / 1024


def timed_mailing(
    home: Path, address: str, server_pid: int, folder: Path, asked: argparse.Namespace
) -> dict[str, Any]:
    """The large mailing: its rate, and the memory of server and client on the way."""
    people, out = folder / "people.txt", folder / "out.pb"
    write_people(people, asked.people, asked.profiles)
    held_mb: list[float] = []
    began_s = said_s = time.monotonic()
    with mailing(home, address, people, out, f"bench-{os.getpid()}") as process:
        while process.poll() is None:
            held_mb.append(memory_mb(server_pid) + memory_mb(process.pid))
            now_s = time.monotonic()
            if now_s - said_s >= SAY_S:
                said_s = now_s
                say(f"{now_s - began_s:.0f} s: {out.stat().st_size / 1e6:,.0f} MB of answers")
            time.sleep(LOOK_S)
        seconds = time.monotonic() - began_s
        finished(process)
    if (done := cut_back(out)) != asked.people:
        raise BenchFailed(f"Expected {asked.people} answers, got {done}")
    return {
        "messages_per_s": round(asked.people / seconds, 1),
        "blocks_per_s": round(asked.people * len(SLOTS) / seconds, 1),
        "seconds": round(seconds, 1),
        "peak_mb": round(max(held_mb)),
        "quarter_mb": round(held_mb[len(held_mb) // 4]),
        "end_mb": round(held_mb[-1]),
        "answers_mb": round(out.stat().st_size / 1e6),
    }


def measured(asked: argparse.Namespace, data: Path, folder: Path) -> dict[str, Any]:
    home = folder / "home"
    home.mkdir()
    settings = _with_processes(settings_of(data, home), asked.processes)
    with running("bench.system:server", argument_of(settings, home)) as told:
        address = f"{HOST}:{told['port']}"
        say("a mailing that is killed on the way")
        resumed = killed_and_resumed(home, address, folder, asked.profiles)
        say(f"{asked.people:,} emails of {len(SLOTS)} slots")
        return {**timed_mailing(home, address, told["pid"], folder, asked), "resumed": resumed}


def _with_processes(settings: Settings, processes: int) -> Settings:
    server = msgspec.structs.replace(settings.server, processes=processes)
    return msgspec.structs.replace(settings, server=server)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="headrace bench bulk", description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=20_000, help="emails that are timed")
    parser.add_argument("--items", type=int, default=Sizes().items)
    parser.add_argument("--sessions", type=int, default=Sizes().sessions)
    parser.add_argument("--profiles", type=int, default=Sizes().profiles)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of the server")
    parser.add_argument("--cache", type=Path, help="keep the made shop here, and use it again")
    parser.add_argument("--seed", type=int, default=Sizes().seed)
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    asked = parser.parse_args(argv)
    sizes = Sizes(asked.items, asked.sessions, asked.profiles, asked.seed)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        data = prepared(asked.cache if asked.cache is not None else Path(scratch), sizes)
        found = measured(asked, data, Path(scratch))
    load = f"`headrace mailing`, slots {', '.join(SLOTS)}; {asked.processes} server process(es), all cores"
    size = {**sizes._asdict(), "people": asked.people, "processes": asked.processes}
    present(report("bulk", size, load, found), asked.json)
    resumed = found["resumed"]
    return 1 if resumed["missing"] or resumed["twice"] or resumed["out_of_place"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
