"""Readers of the formats `sessions`, `tsv` and `topn`, plain or gzip. Real people's clicks, and what
came next; a wrong line ends the reading, with file, line, what was expected and what came."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import pyarrow as pa

from bench.quality.columns import Clicks, read_clicks
from bench.quality.trial import Integers, PlainEvents, Questions, Trial, counters_of, plain_catalogue
from flows.imports.source import RowProblem, read_lines
from recsys.models.arrays import Rows
from recsys.models.interactions import Interactions

PLAIN_END_MS: Final = 1_700_000_000_000
"""When a training without times ends."""
PLAIN_SPAN_MS: Final = 90 * 86_400_000
"""Sessions without times are spread over a quarter of a year, in their order."""
STEP_MS: Final = 30_000
"""From one click to the next where nobody knows."""
_NEVER_S: Final = 1e9


class WrongFile(ValueError):
    """A file that is not of the format it is said to be."""


def wrong(path: Path, line: int, expected: str, got: str) -> NoReturn:
    raise WrongFile(f"Expected {expected}, got {got} - in `{path}` line {line}")


def read_sessions(train: Path, test: Path) -> Trial:
    """`train`: one session a line, item ids in the order of time; `test`: `prefix<TAB>target`."""
    items, lengths = array("q"), array("q")
    codes: dict[str, int] = {}
    for _, text in _lines(train):
        ids = text.split()
        items.extend([codes.setdefault(item, len(codes)) for item in ids])
        lengths.append(len(ids))
    if not lengths:
        wrong(train, 1, "a session of item ids", "nothing")
    item, length = np.array(items, np.int64), np.array(lengths, np.int64)
    apart_ms = max(PLAIN_SPAN_MS // len(length), 1)
    step = np.arange(len(item)) - np.repeat(np.cumsum(length) - length, length)
    began_ms = PLAIN_END_MS - apart_ms * np.arange(len(length), 0, -1)
    session = np.repeat(np.arange(len(length)), length)
    at_ms = np.repeat(began_ms, length) + STEP_MS * step
    interactions = interactions_of(session, item, list(codes), at_ms)
    walks, places = _test_walks(test)
    begins_ms = int(at_ms.max()) + apart_ms * np.arange(1, len(walks) + 1)
    clicks = Clicks(
        [str(number) for number in range(len(walks))],
        np.repeat(np.arange(len(walks)), [len(walk) for walk in walks]),
        [item for walk in walks for item in walk],
        np.concatenate([[0], *(begin + STEP_MS * np.arange(len(walk)) for begin, walk in zip(
            begins_ms.tolist(), walks, strict=True))])[1:].astype(np.int64),
    )  # fmt: skip
    starts = np.cumsum([0, *map(len, walks)])
    asked = [int(starts[number]) + place for number, of in enumerate(places) for place in sorted(of)]
    return next_item_trial("sessions", interactions, clicks, np.array(asked, np.int64))


def _test_walks(path: Path) -> tuple[list[list[str]], list[set[int]]]:
    """The sessions behind the prefixes, which stand below each other, and the places asked about:
    place p asks for item p + 1 of its session."""
    walks: list[list[str]] = []
    places: list[set[int]] = []
    for number, text in _lines(path):
        prefix, tab, target = text.partition("\t")
        ids, after = prefix.split(), target.split()
        if not tab or not ids or len(after) != 1:
            wrong(path, number, "`prefix<TAB>target`", f"`{text[:80]}`")
        walk, place = ids + after, len(ids) - 1
        known = walks[-1] if walks else []
        shared = min(len(known), len(walk))
        if known and known[:shared] == walk[:shared] and place not in places[-1]:
            walks[-1] = max(known, walk, key=len)
            places[-1].add(place)
        else:
            walks.append(walk)
            places.append({place})
    if not walks:
        wrong(path, 1, "`prefix<TAB>target`", "nothing")
    return walks, places


def read_tsv(train: Path, test: Path) -> Trial:
    """SessionId, ItemId and Time (epoch seconds, or milliseconds) in both files. Each place of each
    test session asks for the next."""
    learned, tested = read_clicks(train, wrong).sorted(), read_clicks(test, wrong).sorted()
    item_codes, item_ids = _encoded(learned.items)
    interactions = interactions_of(learned.session, item_codes, item_ids, learned.at_ms)
    follows = np.append(tested.session[1:] == tested.session[:-1], False)
    return next_item_trial("tsv", interactions, tested, np.flatnonzero(follows))


def read_topn(train: Path, test: Path) -> Trial:
    """`user item item ...` in both: what each user has, and what is to be found besides."""
    had, wanted = _baskets(train), _baskets(test)
    if not had:
        wrong(train, 1, "`user item item ...`", "nothing")
    lengths = np.array([len(items) for items in had.values()], np.int64)
    user = np.repeat(np.arange(len(had)), lengths)
    codes, item_ids = _encoded([item for items in had.values() for item in items])
    # Nobody knows the order of people, nor of what they did: all of it has one time.
    at_ms = np.full(len(codes), PLAIN_END_MS, np.int64)
    interactions = interactions_of(user, codes, item_ids, at_ms, persons=list(had))
    asked = [name for name, items in wanted.items() if items]
    visitors = [visitor_of(name) for name in asked]
    row_of = {item: row for row, item in enumerate(item_ids)}
    histories = [had.get(name, []) for name in asked]
    walk = np.array([row_of[item] for items in histories for item in items], np.int32)
    targets = np.array([row_of.get(item, -1) for name in asked for item in wanted[name]], np.int32)
    had_lengths = np.array([len(items) for items in histories], np.int64)
    stops = np.cumsum(had_lengths)
    questions = Questions(
        walk=walk,
        start=stops - had_lengths,
        stop=stops,
        targets=targets,
        target_starts=np.cumsum([0, *(len(wanted[name]) for name in asked)]).astype(np.int64),
        taken=np.zeros(len(asked), np.int64),
        at_ms=np.full(len(asked), PLAIN_END_MS, np.int64),
        owner=np.arange(len(asked)),
        persons=visitors,
    )
    # A profile keeps the last of a long history: which these are is drawn, as the order of a file may
    # tell more than anybody knew.
    random = np.random.default_rng(0)
    drawn = [[items[place] for place in random.permutation(len(items)).tolist()] for items in histories]
    earlier = PlainEvents(
        [visitor for visitor, items in zip(visitors, drawn, strict=True) for _ in items],
        [item for items in drawn for item in items],
        np.full(len(walk), PLAIN_END_MS, np.int64),
    )
    return Trial(
        kind="topn",
        train=interactions,
        catalogue=plain_catalogue(item_ids),
        counters=counters_of(interactions),
        earlier=earlier,
        events=PlainEvents([], [], np.empty(0, np.int64)),
        questions=questions,
        bars_history=True,
    )


def visitor_of(name: str) -> str:
    """An id that names somebody whatever the file calls them: "0" or "null" would name nobody."""
    return f"visitor-{name}"


def _baskets(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, text in _lines(path):
        user, *items = text.split()
        if user in found:
            wrong(path, number, "each user once", f"`{user}` again")
        found[user] = items
    return found


def interactions_of(
    session: Integers, item: Integers, item_ids: Sequence[str], at_ms: Integers, persons: Sequence[str] = ()
) -> Interactions:
    """Views, of which each session is a person's of its own unless `persons` names them. Sessions are
    as they were given, repeats included: the targets have them too."""
    names = persons or [str(number) for number in range(int(session.max()) + 1)]
    visitors = pa.DictionaryArray.from_arrays(session.astype(np.int32), pa.array(names, pa.string()))
    return Interactions.from_columns(
        visitors,
        visitors,
        pa.DictionaryArray.from_arrays(item.astype(np.int32), pa.array(item_ids, pa.string())),
        np.zeros(len(item), np.uint8),
        at_ms,
        session_gap_s=_NEVER_S,
        session_cap_s=_NEVER_S,
        collapse_repeats=False,
    )


def next_item_trial(kind: str, train: Interactions, test: Clicks, asked: Integers) -> Trial:
    """`test`: clicks sorted by session, then time; `asked`: the places in it whose next item is asked
    for, which belong to the same session."""
    row_of = {item: row for row, item in enumerate(train.item_ids)}
    walk = np.fromiter((row_of.get(item, -1) for item in test.items), np.int32, len(test.items))
    began = np.flatnonzero(np.diff(test.session, prepend=-1))
    start = began[np.searchsorted(began, asked, side="right") - 1]
    by_time = np.argsort(test.at_ms, kind="stable")
    taken = np.empty(len(by_time), np.int64)
    taken[by_time] = np.arange(1, len(by_time) + 1)
    order = np.argsort(taken[asked], kind="stable")
    asked, start = asked[order], start[order]
    names = [visitor_of(name) for name in test.names]
    session = test.session.tolist()
    visitors = [names[session[place]] for place in by_time.tolist()]
    return Trial(
        kind=kind,
        train=train,
        catalogue=plain_catalogue(train.item_ids),
        counters=counters_of(train),
        earlier=PlainEvents([], [], np.empty(0, np.int64)),
        events=PlainEvents(visitors, [test.items[place] for place in by_time.tolist()], test.at_ms[by_time]),
        questions=Questions(
            walk=walk,
            start=start.astype(np.int64),
            stop=asked + 1,
            targets=walk[asked + 1],
            target_starts=np.arange(len(asked) + 1, dtype=np.int64),
            taken=taken[asked],
            at_ms=test.at_ms[asked],
            owner=test.session[asked].astype(np.int64),
            persons=[names[session[place]] for place in asked.tolist()],
        ),
        live=walk[by_time],
    )


def _encoded(items: Sequence[str]) -> tuple[Rows, list[str]]:
    encoded: Any = pa.array(items, pa.string()).dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines; blank ones are left out."""
    for number, line in read_lines(path):
        if isinstance(line, RowProblem):
            wrong(path, number, line.expected, line.got)
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            wrong(path, number, "UTF-8", str(error))


Reader = Callable[[Path, Path], Trial]
READERS: Final[dict[str, Reader]] = {"sessions": read_sessions, "tsv": read_tsv, "topn": read_topn}
