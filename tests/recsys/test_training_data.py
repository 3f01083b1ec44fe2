from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.archive import SCHEMA, batch_of, open_path, parquet_path
from recsys.events import Action
from recsys.models.interactions import InteractionKind
from recsys.training_data import read_interactions
from tests.recsys.models.toys import CART, ORDER, VIEW

UNSET = {"string": "", "int64": 0, "int32": 0, "double": None, "binary": b"{}"}


def archived(rows):
    """A batch of rows of (at_ms, visitor, person, session_ms, action, items)."""
    names = ("at_ms", "visitor", "person", "session_ms", "action", "items")
    whole = []
    for row in rows:
        given = dict(zip(names, (*row[:4], int(row[4]), row[5]), strict=True))
        given["quantities"] = [1.0] * len(row[5])
        whole.append(tuple(given.get(field.name, UNSET.get(str(field.type))) for field in SCHEMA))
    return batch_of(list(zip(*whole, strict=True)))


def write(archive, day, rows, seq=0):
    path = parquet_path(archive, date.fromisoformat(day), 0, seq)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_batches([archived(rows)]), path)


def listed(interactions):
    return [
        (interactions.person_ids[p], interactions.item_ids[i], int(k))
        for p, i, k in zip(interactions.person, interactions.item, interactions.kind, strict=True)
    ]


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


def test_days_are_read_together_and_orders_have_a_row_an_item(archive):
    write(archive, "2024-05-02", [(90_000_000, "v", "a:v", 90_000_000, Action.ORDER, ["x", "y"])])
    write(
        archive,
        "2024-05-01",
        [(1000, "v", "a:v", 1000, Action.VIEW, ["x"]), (2000, "v", "a:v", 1000, Action.CART_ADD, ["x"])],
    )
    assert listed(read_interactions(archive)) == [
        ("a:v", "x", VIEW),
        ("a:v", "x", CART),
        ("a:v", "x", ORDER),
        ("a:v", "y", ORDER),
    ]


def test_what_is_no_interaction_is_left_out(archive):
    write(
        archive,
        "2024-05-01",
        [(1, "v", "a:v", 1, Action.IDENTIFY, []), (2, "v", "a:v", 1, Action.VIEW, ["x"])],
    )
    assert listed(read_interactions(archive)) == [("a:v", "x", VIEW)]


def test_anonymous_rows_count_for_the_one_customer_of_the_device(archive):
    rows = [
        (1, "phone", "a:phone", 1, Action.VIEW, ["x"]),
        (2, "phone", "u:7", 1, Action.IDENTIFY, []),
        (3, "shared", "a:shared", 3, Action.VIEW, ["y"]),
        (4, "shared", "u:7", 3, Action.VIEW, ["z"]),
        (5, "shared", "u:8", 3, Action.VIEW, ["z"]),
        (6, "stranger", "a:stranger", 6, Action.VIEW, ["x"]),
    ]
    write(archive, "2024-05-01", rows)
    assert sorted(listed(read_interactions(archive))) == [
        ("a:shared", "y", VIEW),
        ("a:stranger", "x", VIEW),
        ("u:7", "x", VIEW),
        ("u:7", "z", VIEW),
    ]


def test_since_leaves_out_what_is_older(archive):
    write(
        archive,
        "2024-05-01",
        [(1000, "v", "a:v", 1, Action.VIEW, ["x"]), (2000, "v", "a:v", 1, Action.VIEW, ["y"])],
    )
    assert listed(read_interactions(archive, since_ms=2000)) == [("a:v", "y", VIEW)]


def test_no_archive_yet_is_no_rows(archive):
    assert len(read_interactions(archive)) == 0
    archive.mkdir()
    assert len(read_interactions(archive)) == 0


def test_what_the_flow_is_still_writing_is_read_too(archive):
    write(archive, "2024-05-01", [(1000, "v", "a:v", 1, Action.VIEW, ["x"])])
    with open_path(archive, 0, 1).open("wb") as file:
        file.write(SCHEMA.serialize())
        file.write(archived([(2000, "v", "a:v", 1, Action.READ, ["article:1"])]).serialize())
    assert listed(read_interactions(archive)) == [
        ("a:v", "x", VIEW),
        ("a:v", "article:1", InteractionKind.READ),
    ]


def test_late_events_without_a_session_do_not_join_into_one(archive):
    late = [(n * 86_400_000, "v", "a:v", 0, Action.VIEW, ["x"]) for n in range(3)]
    write(archive, "2024-05-01", late)
    assert read_interactions(archive).n_sessions == 3


def test_what_an_action_teaches(archive):
    actions = [Action.VIEW, Action.CLICK, Action.CART_ADD, Action.ORDER, Action.READ, Action.SEARCH]
    rows = [(1000 * n, "v", "a:v", 0, action, [f"item {n}"]) for n, action in enumerate(actions)]
    write(archive, "2024-05-01", rows)
    taught = [InteractionKind(kind).name for _, _, kind in listed(read_interactions(archive))]
    assert taught == ["VIEW", "VIEW", "CART", "ORDER", "READ"]
