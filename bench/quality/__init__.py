"""How good the recommendations are: training and pipeline as they serve, on data of the past, beside
the usual baselines. `python -m bench.quality --help` shows what can be asked."""

from __future__ import annotations


def main(argv: list[str]) -> int:
    """The command; see `bench.quality.command`."""
    from bench.quality.command import main as run  # noqa: PLC0415 - `import bench.quality.score` stays light

    return run(argv)
