"""How long each stage of an answer takes: the pipeline run in-process, with a clock around its stages.

The pipeline is one sentence (`recsys.pipeline.pipeline`); here each of the names it calls is replaced by
itself with a clock around it. So what is timed is what serves, with about a microsecond added for each call.
The clock is the thread's own processor time, so that whatever else the core does is left out.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from bench.ids import user_id, visitor_id
from bench.runner import percentiles
from recsys import decide as deciding
from recsys.block import Freshness, Slot
from recsys.catalog import Item
from recsys.decide import View, decide
from recsys.models.als import Als
from recsys.models.ranker import Ranker
from recsys.open import open_store
from recsys.pipeline import mix as mixing
from recsys.pipeline import pipeline
from recsys.pipeline.learned import Learned
from recsys.pipeline.shelf import Shelf
from recsys.ports import ProfileStore
from recsys.settings import Settings, load_settings
from server.live import BundleWatch, Catalogue
from server.metrics import Metrics
from server.people import People
from server.requests import Asker
from server.shelf_facts import message_of
from server.wire import item_field, response_message

STAGES: dict[tuple[Any, str], str] = {
    (deciding, "_visit"): "person",
    (Als, "fold_in"): "taste",
    (Ranker, "gather"): "ranker.gather",
    (pipeline, "answers_of"): "candidates",
    (pipeline, "found"): "candidates",
    (Learned, "totals"): "ranker.weigh",
    (pipeline, "score"): "score",
    (mixing, "best"): "rank",
    (mixing, "explored"): "explore",
    (pipeline, "mix"): "mix",
    (deciding, "said_of"): "reasons",
    (deciding, "in_words"): "reasons",
}
"""Where each is called from. `candidates` are answered by sources, and found and filtered by one kernel, with
`ranker.gather`; `mix` includes `rank` and `explore`."""
WARM_UP = 200


class Clocks:
    """Microseconds of processor time by stage, one entry a request."""

    def __init__(self) -> None:
        self._of_requests: list[dict[str, float]] = []
        self._now: dict[str, float] = defaultdict(float)

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*arguments: Any) -> Any:
            began_ns = time.thread_time_ns()
            try:
                return function(*arguments)
            finally:
                self._now[name] += (time.thread_time_ns() - began_ns) / 1000

        return clocked

    def next_request(self) -> None:
        self._of_requests.append(dict(self._now))
        self._now.clear()

    def clear(self) -> None:
        self._of_requests.clear()

    def figures(self) -> dict[str, dict[str, float]]:
        names = dict.fromkeys(name for one in self._of_requests for name in one)
        found = {}
        for name in names:
            p50, p99 = percentiles([one.get(name, 0.0) for one in self._of_requests], 0.5, 0.99, digits=1)
            found[name] = {"p50": p50, "p99": p99}
        return found


@contextmanager
def clocked_pipeline(clocks: Clocks) -> Iterator[None]:
    with ExitStack() as patches:
        for (owner, name), stage in STAGES.items():
            patches.enter_context(patch.object(owner, name, clocks.around(stage, getattr(owner, name))))
        yield


def stages(argument: dict[str, Any]) -> dict[str, dict[str, float]]:
    """p50 and p99 of each stage over `requests` people of the data set, in microseconds: `read` the
    person from the state, `decide` (of which candidates, score, rank, mix, reasons are parts),
    `serialise` the answer."""
    settings = load_settings(Path(argument["home"]))
    store = open_store(settings.state)
    shelf, people, clocks = _shelf(store, settings), People(store), Clocks()
    placements = settings.all_placements()
    slots = [Slot(**slot) for slot in argument["slots"]]
    read = clocks.around("read", people.find)
    decided = clocks.around("decide", decide)

    def serialised(blocks: Any) -> bytes:
        return response_message(
            [message_of(block, shelf, placements, {}) for block in blocks], b"", 0.0, "", ""
        )

    serialise = clocks.around("serialise", serialised)
    random = Random(argument["seed"])
    with clocked_pipeline(clocks):
        for count in range(WARM_UP + argument["requests"]):
            if count == WARM_UP:
                clocks.clear()
            number = random.randrange(argument["profiles"])
            found = read(Asker(visitor_id(number), user_id(number)))
            profile = found.record.profile if found.record is not None else None
            now_ms = found.record.event_ms if found.record is not None else 0
            freshness = Freshness(now_ms, 0, 0, reached=True)
            view = View(shelf, found.person, profile, now_ms, settings.session.rules, freshness)
            serialise(decided(view, slots, placements))
            clocks.next_request()
    store.close()
    return clocks.figures()


def _shelf(store: ProfileStore, settings: Settings) -> Shelf:
    """As a server builds it."""
    items, counters = {}, {}
    for change in Catalogue(store).read_all():
        if isinstance(change, Item):
            items[change.id] = change
        else:
            counters[change[0]] = change[1]
    bundle = BundleWatch(Path(settings.bundles), Metrics()).look(time.monotonic())
    return Shelf.build(items.values(), bundle, counters, int(time.time()), item_field)
