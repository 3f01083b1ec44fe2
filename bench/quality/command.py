"""`headrace bench quality`: one table of contestants on one set of data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.quality.contestants import BASELINES, OURS, Ours, Row, baseline_row
from bench.quality.formats import READERS, WrongFile
from bench.quality.ga4 import Export, read_exports
from bench.quality.retail import read_retail
from bench.quality.through_server import compare
from bench.quality.trial import Trial
from bench.runner import present, report
from flows.catchup import stage_bar
from recsys.pipeline.replay import FEED
from recsys.ports import NewRecord
from recsys.settings import TrainSettings
from server.requests import MAX_EXCLUDED

PROTOCOL = (
    "each question ranks the whole catalogue; 95 % intervals by bootstrap over sessions; microseconds are"
    " of one thread's processor time"
)
SHOWN = (
    ("hr20", "HR@20", 3),
    ("mrr20", "MRR@20", 3),
    ("hr5", "HR@5", 3),
    ("ndcg20", "NDCG@20", 3),
    ("recall20", "Recall@20", 3),
    ("coverage", "coverage", 3),
    ("popularity", "popularity", 3),
    ("train_s", "train s", 1),
    ("bundle_mb", "MB", 1),
    ("us_per_decision", "us", 0),
)
ONE_FILE = ("ga4", "retail")
"""Formats of one file, whose last days may be the test."""
ASKED_AFTER = {
    "sessions": "a prefix with its target",
    "tsv": "a session of two clicks",
    "ga4": "a session that goes on to an item of the training",
    "topn": "a user with an item to be found",
    "retail": "an order of something new to its customer",
}
"""What a test must have for a question to be asked."""
TABLE_WIDTH = 140
MAX_SHOWN = 5


def parser_of() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="headrace bench quality", description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="what models learn from")
    parser.add_argument("--test", type=Path, metavar="FILE", help="what they are asked about")
    parser.add_argument("--format", choices=(*READERS, *ONE_FILE), required=True)
    parser.add_argument(
        "--test-days", type=int, metavar="N", help="ga4, retail: the last N days of --train as test"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this contestant; may be repeated")
    parser.add_argument("--ablate", action="store_true", help="without each source, each group of signals")
    parser.add_argument(
        "--through-server", action="store_true", help="compare with the answers of a server over gRPC instead"
    )
    parser.add_argument("--max-queries", type=int, metavar="N", help="a sample of whole sessions")
    parser.add_argument("--threads", type=int, default=TrainSettings().threads, help="of the training")
    parser.add_argument(
        "--text-model", default=TrainSettings().text_model, metavar="NAME",
        help="what texts are read by, as `train.text_model`",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=TrainSettings().seed)
    parser.add_argument("--json", action="store_true", help="one JSON object, last on standard output")
    return parser


def main(argv: list[str]) -> int:
    parser = parser_of()
    asked = parser.parse_args(argv)
    names = [contestant.name for contestant in BASELINES] + [OURS]
    for name in asked.only or ():
        if name not in names:
            parser.error(f"Expected one of {', '.join(names)}, got `{name}` - at `--only`")
    try:
        trial, records = given(asked, parser)
    except (WrongFile, OSError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    console = Console(stderr=True)
    if asked.through_server:
        return through_server(trial, records, asked, console)
    rows = list(rows_of(trial, asked, console))
    figures = {"data": about(trial), "rows": [{"name": row.name, **rounded(row.figures)} for row in rows]}
    wide = Console(stderr=asked.json)
    wide.width = max(wide.width, TABLE_WIDTH)
    wide.print(table_of(trial, rows))
    if asked.json:
        sizes = {"seed": asked.seed, "threads": asked.threads, "max_queries": asked.max_queries}
        present(report("quality", sizes, PROTOCOL, figures), as_json=True)
    return 0


def given(asked: argparse.Namespace, parser: argparse.ArgumentParser) -> Export:
    """The trial, and the records it was read from where there are any. Raises WrongFile and OSError."""
    found: Export
    if asked.format == "ga4":
        if (asked.test is None) == (asked.test_days is None):
            got = "none" if asked.test is None else "both"
            parser.error(f"Expected one of --test and --test-days, got {got}")
        found = read_exports(asked.train, asked.test, asked.test_days)
    elif asked.format == "retail":
        if asked.test is not None or asked.test_days is None:
            parser.error("Expected one file and a number of days - at `--test-days`")
        found = Export(read_retail(asked.train, asked.test_days), [])
    elif asked.test is None:
        parser.error("Expected a file, got none - at `--test`")
    else:
        found = Export(READERS[asked.format](asked.train, asked.test), [])
    if not len(found.trial.train):
        raise WrongFile(f"Expected something that people did with items, got nothing - in `{asked.train}`")
    if not len(found.trial.questions):
        raise WrongFile(f"Expected {ASKED_AFTER[asked.format]}, got none - in `{asked.test or asked.train}`")
    if asked.max_queries is None:
        return found
    questions = found.trial.questions.sampled(asked.max_queries, asked.seed)
    return found._replace(trial=replace(found.trial, questions=questions))


def through_server(
    trial: Trial, records: list[list[NewRecord]], asked: argparse.Namespace, console: Console
) -> int:
    """The exit code: 1 when any answer differs."""
    with (
        TemporaryDirectory(prefix="headrace-bench-") as home,
        stage_bar(console, "through the server", lines_every_s=10) as tell,
    ):
        models = Ours(trial, settings_of(asked), tell).models
        asked_both, not_asked, differences = compare(trial, models, Path(home), records, tell)
    for one in differences[:MAX_SHOWN]:
        print(f"question {one.number} of {one.visitor}: offline {one.offline}, online {one.online}")
    told = {"asked": asked_both, "not_asked": not_asked, "differ": len(differences)}
    found = {"data": about(trial), **told}
    if asked.json:
        present(report("quality", {"seed": asked.seed}, "over gRPC on 127.0.0.1", found), as_json=True)
    else:
        print(f"{asked_both:,} questions asked offline and over gRPC, {len(differences):,} answers differ")
        if not_asked:
            print(f"{not_asked:,} more bar over {MAX_EXCLUDED:,} items, which no request may: not asked")
    return 1 if differences else 0


def settings_of(asked: argparse.Namespace) -> TrainSettings:
    return msgspec.structs.replace(
        TrainSettings(), threads=asked.threads, seed=asked.seed, text_model=asked.text_model
    )


def rows_of(trial: Trial, asked: argparse.Namespace, console: Console) -> Iterator[Row]:
    settings = settings_of(asked)
    for contestant in BASELINES:
        if trial.kind in contestant.kinds and is_asked(contestant.name, asked):
            with stage_bar(console, contestant.name, lines_every_s=10) as tell:
                tell("trains and answers", 0, 1)
                yield baseline_row(contestant, trial, settings, asked.seed)
    if not is_asked(OURS, asked):
        return
    with stage_bar(console, OURS, lines_every_s=10) as tell:
        ours = Ours(trial, settings, tell)
        yield ours.row(OURS, FEED, asked.seed, tell)
        if asked.ablate:
            yield from ours.rows_without(asked.seed, tell)


def is_asked(name: str, asked: argparse.Namespace) -> bool:
    return not asked.only or name in asked.only


def about(trial: Trial) -> dict[str, Any]:
    """What the figures are of."""
    train, questions = trial.train, trial.questions
    return {
        "format": trial.kind,
        "train_interactions": len(train),
        "train_sessions": train.n_sessions,
        "train_persons": train.n_persons,
        "items": train.n_items,
        "queries": len(questions),
        "test_sessions": questions.n_sessions,
    }


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in figures.items()}


def table_of(trial: Trial, rows: Sequence[Row]) -> Table:
    sizes = about(trial)
    table = Table(
        title=(
            f"{trial.kind}: {sizes['train_interactions']:,} interactions, {sizes['items']:,} items,"
            f" {sizes['queries']:,} queries of {sizes['test_sessions']:,} sessions"
        )
    )
    table.add_column("")
    is_topn = trial.bars_history
    columns = [column for column in SHOWN if is_topn or column[0] != "recall20"]
    main_figure = "recall20" if is_topn else "hr20"
    for name, title, _ in columns:
        table.add_column(title, justify="right")
        if name == main_figure:
            table.add_column("95 %", justify="right")
    for row in rows:
        cells = []
        for name, _, digits in columns:
            cells.append(f"{row.figures[name]:,.{digits}f}")
            if name == main_figure:
                low, high = row.figures[f"{name}_low"], row.figures[f"{name}_high"]
                cells.append(f"{low:.3f} {high:.3f}")
        table.add_row(row.name, *cells)
    return table
