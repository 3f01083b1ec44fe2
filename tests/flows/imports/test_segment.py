from __future__ import annotations

import gzip
import json

import pytest

from flows.imports.segment import read_segment
from flows.imports.source import MAX_LINE_BYTES, RowProblem
from recsys.decode import Decoder
from recsys.events import DeadLetter
from recsys.ports import Position, Record

NOW_MS = 1_800_000_000_000
VIEW = {"type": "track", "event": "Product Viewed", "anonymousId": "a1", "messageId": "m1"}


def read(path, *lines, pack=False):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if pack else text.encode())
    return list(read_segment(path, NOW_MS))


@pytest.mark.parametrize("pack", [False, True])
def test_calls_keep_their_bytes_and_order(tmp_path, pack):
    calls = [{**VIEW, "timestamp": f"2026-03-01T10:00:0{second}Z"} for second in (5, 1, 3)]
    found = read(tmp_path / "calls", *calls, pack=pack)
    assert [json.loads(record.value) for record in found] == calls
    assert {record.key for record in found} == {"a1"}
    assert [record.received_ms - found[1].received_ms for record in found] == [4000, 0, 2000]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"receivedAt": "1970-01-01T00:00:03Z", "sentAt": "1970-01-01T00:00:02Z"}, 3000),
        ({"sentAt": "1970-01-01T00:00:02.5Z", "timestamp": "1970-01-01T00:00:01Z"}, 2500),
        ({"timestamp": "1970-01-01T00:00:01"}, 1000),
        ({"timestamp": 1_700_000_000_123}, 1_700_000_000_123),
        ({"originalTimestamp": 1_700_000_000}, 1_700_000_000_000),
    ],
)
def test_when_a_call_was_received(tmp_path, times, expected):
    [record] = read(tmp_path / "calls", {**VIEW, **times})
    assert record.received_ms == expected


def test_a_batch_call_comes_one_by_one(tmp_path):
    batch = {
        "sentAt": 1_700_000_000_000,
        "context": {"device": {"type": "tv"}},
        "batch": [VIEW, {**VIEW, "anonymousId": "a2"}],
    }
    found = read(tmp_path / "calls", batch)
    assert [(record.key, record.received_ms) for record in found] == [
        ("a1", 1_700_000_000_000),
        ("a2", 1_700_000_000_000),
    ]
    assert json.loads(found[1].value)["context"] == batch["context"]


def test_what_cannot_be_read_becomes_a_dead_letter_and_is_not_lost(tmp_path):
    timed = {**VIEW, "timestamp": 1_700_000_000_000}
    found = read(tmp_path / "calls", "first", timed, "{broken", {**VIEW, "timestamp": "yesterday"}, "[]")
    assert [record.value[:7] for record in found] == [b"first", b'{"type"', b"{broken", b'{"type"', b"[]"]
    assert {record.received_ms for record in found} == {1_700_000_000_000}
    answers = [
        Decoder().decode(Record(Position(0, offset), *record), 0)[0] for offset, record in enumerate(found)
    ]
    assert [type(answer) is DeadLetter for answer in answers] == [True, False, True, False, True]


def test_json_that_is_nested_too_deeply_goes_on(tmp_path):
    deep = '{"type": "track", "properties": ' + "[" * 100_000 + "]" * 100_000 + "}"
    found = read(tmp_path / "calls", {**VIEW, "timestamp": 1_700_000_000}, deep)
    assert [(record.key, record.received_ms) for record in found] == [
        ("a1", 1_700_000_000_000),
        ("", 1_700_000_000_000),
    ]


def test_a_call_without_any_time_has_that_of_the_line_before_or_of_the_first_that_has_one(tmp_path):
    first, second = ({**VIEW, "timestamp": at_s} for at_s in (1_700_000_000, 1_700_000_009))
    found = read(tmp_path / "calls", VIEW, first, VIEW, second, VIEW)
    assert [record.received_ms - 1_700_000_000_000 for record in found] == [0, 0, 0, 9000, 9000]
    assert {record.key for record in found} == {"a1"}


def test_a_file_without_any_time_tells_every_line(tmp_path):
    assert [entry.line for entry in read(tmp_path / "calls", "one", "", "three")] == [1, 3]


def test_a_line_without_end_is_skipped_in_bounded_pieces(tmp_path):
    long = "x" * (MAX_LINE_BYTES + 5)
    problem, record = read(tmp_path / "calls", long, {**VIEW, "timestamp": 1_700_000_000})
    assert isinstance(problem, RowProblem)
    assert str(problem) == f"line 1: Expected at most {MAX_LINE_BYTES} bytes, got {len(long) + 1} bytes"
    assert record.key == "a1"


def test_a_time_of_the_far_future_is_none_and_makes_nothing_late(tmp_path):
    times = ("2026-03-01T10:00:00Z", "2099-01-01T00:00:00Z", "2026-03-01T10:00:05Z")
    found = read(tmp_path / "calls", *({**VIEW, "timestamp": time} for time in times))
    assert [record.received_ms - found[0].received_ms for record in found] == [0, 0, 5000]
