"""growth: what a decision, its memory and a training cost as the shop grows; figures and a picture.

One axis grows at a time, from a shop of medium size: items, people known, clicks learned from. Each
shop is made, trained and asked in processes of its own, so that memory is that shop's alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.dataset import Sizes, facts_of, prepared
from bench.runner import cores, present, report, run_alone, say

CLICKS_A_SESSION = 5
"""Of `bench.shop.Scale`, on average."""
BASE = Sizes(items=50_000, sessions=500_000, profiles=100_000)
AXES: dict[str, tuple[int, ...]] = {
    "items": (10_000, 50_000, 200_000, 1_000_000),
    "profiles": (10_000, 100_000, 1_000_000, 10_000_000),
    "clicks": (100_000, 500_000, 2_500_000, 25_000_000),
}
QUICK = {"items": 200_000, "profiles": 1_000_000, "clicks": 2_500_000}
"""How far each axis goes unless all of it is asked for."""
MEASURES = {
    "decide_p99_us": "one decision, p99, \N{MICRO SIGN}s",
    "serving_mb": "memory of a serving process, MB",
    "train_s": "training, s",
    "train_peak_mb": "peak memory of training, MB",
}
SLOTS = [{"name": "feed", "placement": "home.feed", "limit": 20}]


def shop_of(axis: str, size: int, seed: int) -> Sizes:
    """The base, grown along one axis."""
    field, value = ("sessions", size // CLICKS_A_SESSION) if axis == "clicks" else (axis, size)
    return BASE._replace(**{field: value, "seed": seed})


def make(argument: dict[str, Any]) -> str:
    """Make the shop of `sizes` under `folder`, in this process; where it lies."""
    return str(prepared(Path(argument["folder"]), Sizes(*argument["sizes"])))


def row_of(axis: str, size: int, folder: Path, requests: int, seed: int) -> dict[str, Any]:
    """One shop: what it costs. `folder` keeps what was made."""
    sizes, (core, _) = shop_of(axis, size, seed), cores()
    home = run_alone("bench.growth:make", {"folder": str(folder), "sizes": list(sizes)}).answer
    asked = {"home": home, "slots": SLOTS, "profiles": sizes.profiles, "seed": seed, "requests": requests}
    served = run_alone("bench.stages:stages", asked, core)
    facts = facts_of(Path(home))
    return {
        "axis": axis,
        "size": size,
        "items": sizes.items,
        "profiles": sizes.profiles,
        "clicks": facts.interactions,
        "decide_p50_us": served.answer["decide"]["p50"],
        "decide_p99_us": served.answer["decide"]["p99"],
        "serving_mb": served.peak_mb,
        "train_s": facts.train_s,
        "train_peak_mb": facts.train_peak_mb,
        "bundle_mb": facts.bundle_mb,
        "state_mb": facts.state_mb,
    }


def decades(values: list[float]) -> tuple[float, float]:
    """The limits of a scale that shows at least a factor of ten, so that what hardly grows looks like it."""
    low, high = min(values) / 1.3, max(values) * 1.3
    missing = max(10.0 / (high / low), 1.0) ** 0.5
    return low / missing, high * missing


def draw(rows: list[dict[str, Any]], picture: Path) -> None:
    """A PNG: a row of charts for each axis, a chart for each measure, both scales logarithmic."""
    # Imported here: only who asks for the picture needs matplotlib, and it takes a second.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    in_full = EngFormatter(sep="")
    axes = [axis for axis in AXES if any(row["axis"] == axis for row in rows)]
    figure, charts = plt.subplots(
        len(axes), len(MEASURES), figsize=(4 * len(MEASURES), 3 * len(axes)), squeeze=False
    )
    for line, axis in enumerate(axes):
        of_axis = [row for row in rows if row["axis"] == axis]
        sizes = [row["size"] for row in of_axis]
        for chart, (measure, title) in zip(charts[line], MEASURES.items(), strict=True):
            values = [row[measure] for row in of_axis]
            chart.loglog(sizes, values, marker="o")
            chart.set_ylim(*decades(values))
            chart.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            for scale in (chart.xaxis, chart.yaxis):
                scale.set_major_formatter(in_full)
                scale.set_minor_formatter(NullFormatter())
            chart.set_xticks(sizes)
            chart.set_xlabel(axis)
            chart.set_title(title, fontsize=10)
            chart.grid(visible=True, which="both", alpha=0.3)
    figure.suptitle(
        f"Headrace as a shop grows; beside the axis {BASE.items:,} items, {BASE.profiles:,} people,"
        f" {BASE.sessions * CLICKS_A_SESSION:,} clicks"
    )
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="headrace bench growth", description=__doc__.splitlines()[0])
    parser.add_argument("--axis", choices=list(AXES), action="append", help="only this one; repeatable")
    parser.add_argument(
        "--full", action="store_true", help="the largest sizes too: a million items, ten million people"
    )
    parser.add_argument("--requests", type=int, default=3000, help="decisions a shop")
    parser.add_argument("--png", type=Path, default=Path("growth.png"), help="where the picture goes")
    parser.add_argument("--cache", type=Path, help="keep the made shops here, and use them again")
    parser.add_argument("--seed", type=int, default=BASE.seed)
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    asked = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        folder = asked.cache if asked.cache is not None else Path(scratch)
        for axis in asked.axis or AXES:
            for size in AXES[axis]:
                if not asked.full and size > QUICK[axis]:
                    continue
                say(f"{size:,} {axis}")
                rows.append(row_of(axis, size, folder, asked.requests, asked.seed))
    draw(rows, asked.png)
    load = f"{asked.requests} decisions of one slot of 20 items in one process on one core"
    found = {"rows": rows, "picture": str(asked.png)}
    present(report("growth", BASE._asdict(), load, found), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
