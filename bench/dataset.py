"""The serving benchmark's shop: models, catalogue and profiles, as `bench.shop.Scale` makes them.

What is made lies in one folder: `bundles` as training publishes them, and `state` as the flow would
leave it. Behaviour follows from the seed; times end at the day on which it is made.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from bench.ids import user_id, visitor_id
from bench.runner import ROOT, Ticker, say, timed
from bench.shop import Interactions as Columns
from bench.shop import Scale
from bench.shop.scale import CART, ORDER
from flows.memory import peak_mb
from recsys.catalog import Item, encode_item, split_category
from recsys.counters import ItemCounters, encode_counters
from recsys.events import Action
from recsys.keys import counter_key, item_key, person_key, visitor_key
from recsys.models.bundle import TrainingRange
from recsys.models.interactions import Interactions
from recsys.models.publish import Draft
from recsys.open import open_store
from recsys.ports import ProfileStore
from recsys.profile import (
    Affinity,
    CartLine,
    Order,
    PersonRecord,
    Profile,
    Session,
    Standing,
    Touch,
    VisitorLink,
    encode_record,
)
from recsys.settings import TrainSettings
from recsys.train import fit_models

DAY_S = 86_400
HISTORY_DAYS = 90
BATCH = 5000
ACTIONS = (int(Action.VIEW), int(Action.CART_ADD), int(Action.ORDER))
"""By kind of Scale's interactions."""
MADE_OF = {
    "bundles": (
        "recsys/models",
        "recsys/fitting.py",
        "recsys/train.py",
        "recsys/pipeline/shelf.py",
        "bench/shop/scale.py",
        "bench/dataset.py",
    ),
    "state": (
        "recsys/profile.py",
        "recsys/catalog.py",
        "recsys/counters.py",
        "bench/shop/scale.py",
        "bench/ids.py",
        "bench/dataset.py",
    ),
}
"""The code that each part of the data depends on, from the root of the tree."""
FACTS = "facts.json"
COMPLETE = "complete.json"
"""Names the code by which each part was made, and the day."""


class Sizes(NamedTuple):
    items: int = 50_000
    sessions: int = 500_000
    profiles: int = 1_000_000
    seed: int = 7


class Facts(msgspec.Struct, frozen=True):
    """What making the shop cost: the training alone, and what lies on disk."""

    interactions: int
    train_s: float
    train_peak_mb: float
    """The most memory the process held until the bundle was published, its input included."""
    bundle_mb: float
    state_mb: float


class _Complete(msgspec.Struct):
    """What there is of a made shop."""

    end_s: int
    """Midnight at which its times end."""
    parts: dict[str, str] = {}
    """Digests of the code by which each part was made."""


def prepared(folder: Path, sizes: Sizes) -> Path:
    """Where the shop of these sizes lies under `folder`. Each part is made now, unless an earlier run
    of the same code has: models that change do not cost new profiles."""
    home = folder / "scale-{}-{}-{}-{}".format(*sizes)
    home.mkdir(parents=True, exist_ok=True)
    marker = home / COMPLETE
    if marker.exists():
        complete = msgspec.json.decode(marker.read_bytes(), type=_Complete)
    else:
        complete = _Complete(int(time.time()) // DAY_S * DAY_S)
    digests = {part: _digest(names) for part, names in MADE_OF.items()}
    missing = [part for part, digest in digests.items() if complete.parts.get(part) != digest]
    if not missing:
        say(f"data: as made before, in {home.name}")
        return home
    scale = Scale(sizes.seed, sizes.items, sizes.sessions, sizes.profiles)
    items = [_item(scale, row) for row in range(scale.items)]
    made = scale.interactions(complete.end_s - HISTORY_DAYS * DAY_S, HISTORY_DAYS)
    for part in missing:
        complete.parts.pop(part, None)
        marker.write_bytes(msgspec.json.encode(complete))  # before: what is half made is not there
        shutil.rmtree(home / part, ignore_errors=True)
        if part == "bundles":
            training = timed(lambda: _publish(home / "bundles", made, items))
            facts = Facts(
                len(made.item),
                round(training.seconds, 1),
                peak_mb(),
                _size_mb(home / part),
                _size_mb(home / "state"),
            )
        else:
            _fill(home / part, scale, made, items, complete.end_s)
            facts = msgspec.structs.replace(facts_of(home), state_mb=_size_mb(home / part))
        (home / FACTS).write_bytes(msgspec.json.encode(facts))
        complete.parts[part] = digests[part]
        marker.write_bytes(msgspec.json.encode(complete))
    return home


def facts_of(home: Path) -> Facts:
    """What making the shop in `home` cost."""
    return msgspec.json.decode((home / FACTS).read_bytes(), type=Facts)


def _size_mb(folder: Path) -> float:
    """MB of 10^6 bytes that the files take on disk; LMDB's holes take none."""
    return round(sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 1e6, 1)


def _fill(state: Path, scale: Scale, made: Columns, items: list[Item], end_s: int) -> None:
    store = open_store(f"lmdb:///{state.absolute()}")
    try:
        _store_items(store, items, made, end_s)
        _store_profiles(store, scale, items, end_s)
        store.sync()
    finally:
        store.close()


def _digest(names: Sequence[str]) -> str:
    """Changes with the code in these files and folders."""
    digest = blake2b(digest_size=4)
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _item(scale: Scale, row: int) -> Item:
    made = scale.item(row)
    return Item(
        made["id"],
        title=made["title"],
        link=made["link"],
        image_link=f"{made['link']}.jpg",
        category=split_category(made["category"]),
        brand=made["title"].split()[0],
        price=made["price"],
        currency="EUR",
        fed=True,
    )


def _publish(bundles: Path, made: Columns, items: list[Item]) -> None:
    """Every model, with its defaults, published without an evaluation: random people teach nothing
    that could be judged."""
    ticker = Ticker("training, per cent of a model")

    def told(_: str, done: int, total: int) -> None:
        ticker(round(100 * done / max(total, 1)))

    ids = [item.id for item in items]
    people = pa.array([f"a:{visitor_id(number)}" for number in range(int(made.person.max()) + 1)])
    persons = pa.DictionaryArray.from_arrays(made.person, people)
    interactions = Interactions.from_columns(
        persons,
        persons,
        pa.DictionaryArray.from_arrays(made.item, pa.array(ids)),
        made.kind,
        np.round(made.at_s * 1000).astype(np.int64),
        session_marks=made.session,
        session_gap_s=DAY_S,
    )
    say(f"training on {len(interactions):,} interactions of {interactions.n_sessions:,} sessions")
    models = fit_models(interactions, items, TrainSettings(threads=2), told)
    training = TrainingRange(
        from_s=float(made.at_s.min()),
        to_s=float(made.at_s.max()),
        interactions=len(interactions),
        sessions=interactions.n_sessions,
        persons=interactions.n_persons,
    )
    with Draft(bundles) as draft:
        draft.write(
            models, headrace="bench", created_at_ms=int(time.time() * 1000), training=training, evaluation={}
        )
        draft.publish()


def _store_items(store: ProfileStore, items: list[Item], made: Columns, end_s: int) -> None:
    """The catalogue, and the demand for each item as the training's events left it."""
    counts = [np.bincount(made.item[made.kind == kind], minlength=len(items)) for kind in range(len(ACTIONS))]
    records: dict[str, bytes] = {}
    for row, item in enumerate(items):
        views, carts, orders = (float(count[row]) for count in counts)
        records[item_key(item.id)] = encode_item(item)
        records[counter_key(item.id)] = encode_counters(ItemCounters(views, carts, orders, end_s))
        if len(records) >= BATCH:
            store.put_many(records)
            records = {}
    store.put_many(records)


def _store_profiles(store: ProfileStore, scale: Scale, items: list[Item], end_s: int) -> None:
    ticker, done = Ticker("profiles", scale.profiles), 0
    for block in scale.histories(end_s):
        records: dict[str, bytes] = {}
        for number, profile in _profiles(block, items):
            user = user_id(number)
            person = f"a:{visitor_id(number)}" if user is None else f"u:{user}"
            record = PersonRecord(person, profile, Standing(((0, number),)), profile.last_ms)
            link = VisitorLink(visitor_id(number), user, record if user is None else None)
            records[visitor_key(link.visitor)] = encode_record(link)
            if user is not None:
                records[person_key(user)] = encode_record(record)
            done += 1
        store.put_many(records)
        ticker(done)
    ticker.done(done)


def _profiles(block: Columns, items: list[Item]) -> Iterator[tuple[int, Profile]]:
    """Each person of a block with what the flow would know of them after their session."""
    rows, kinds, at_s = block.item.tolist(), block.kind.tolist(), block.at_s.astype(np.int64).tolist()
    starts = np.flatnonzero(np.diff(block.person, prepend=-1)).tolist()
    persons = block.person[starts].tolist()
    for number, start, stop in zip(persons, starts, [*starts[1:], len(rows)], strict=True):
        yield number, _profile(items, rows[start:stop], kinds[start:stop], at_s[start:stop])


def _profile(items: list[Item], rows: list[int], kinds: list[int], at_s: list[int]) -> Profile:
    did = [(items[row], kind, s) for row, kind, s in zip(rows, kinds, at_s, strict=True)]
    cart = tuple(CartLine(item.id, 1.0, item.price, s) for item, kind, s in did if kind == CART)
    orders = tuple(
        Order(f"order-{item.id}-{s}", s, item.price or 0.0, (item.id,))
        for item, kind, s in did
        if kind == ORDER
    )
    leaves = dict.fromkeys(item.category[-1] for item, _, _ in did)
    session = Session(
        at_s[0] * 1000,
        at_s[-1] * 1000,
        events=2 * len(did),
        views=len(did) - len(cart) - len(orders),
        cart_adds=len(cart),
        orders=len(orders),
        device="mobile",
        category=" > ".join(did[-1][0].category),
    )
    return Profile(
        first_ms=at_s[0] * 1000,
        last_ms=at_s[-1] * 1000,
        session=session,
        touches=tuple(Touch(item.id, ACTIONS[kind], s) for item, kind, s in did),
        cart=cart,
        cart_ms=at_s[-1] * 1000 if cart else 0,
        orders=orders,
        categories=tuple(Affinity(leaf, 1.0, at_s[-1]) for leaf in list(leaves)[:12]),
        channels=(Affinity("web", 1.0, at_s[-1]),),
        sessions=1,
        events=2 * len(did),
        order_count=len(orders),
        order_value=sum(order.value for order in orders),
    )
