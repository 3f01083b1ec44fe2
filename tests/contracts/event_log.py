"""What every EventLog promises."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from recsys.open import open_log
from recsys.ports import LogUnavailable, NewRecord, Position, partition_of
from tests.contracts.processes import running

AT_MS = 1_700_000_000_000
PATIENCE_S = 60


def new(key, value=b"{}", received_ms=AT_MS):
    return NewRecord(key, value, received_ms)


def read(reader, count):
    """The next `count` records, which must come, and no more."""
    records = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count and time.monotonic() < deadline:
        records += reader.read(1000) or time.sleep(0.002) or []
    assert [*records, *reader.read(1000)] == records
    assert len(records) == count
    return records


class EventLogContract:
    """Subclasses give `url`, of a new log with 4 partitions, and `unavailable_url`."""

    @pytest.fixture
    def log(self, url):
        log = open_log(url)
        yield log
        log.close()

    @pytest.fixture
    def reader_of(self):
        """Opens readers that are closed at the end."""
        readers = []

        def reader_of(log, after=None):
            readers.append(log.reader(after))
            return readers[-1]

        yield reader_of
        for reader in readers:
            reader.close()

    def test_empty(self, log, reader_of):
        assert log.partitions == 4
        assert log.end() == {}
        assert list(reader_of(log).read(10)) == []
        assert log.append([]) == []

    def test_reads_back_what_was_appended(self, log, reader_of):
        records = [
            new("anna", b'{"a":1}', AT_MS),
            new("ben", b"", AT_MS + 1),
            new("", b"\x00\xff", AT_MS + 2),
        ]
        positions = log.append(records)
        got = read(reader_of(log), 3)
        assert {tuple(each) for each in got} == {
            (position, *record) for position, record in zip(positions, records, strict=True)
        }

    def test_the_key_picks_the_partition(self, log):
        keys = [f"visitor-{number}" for number in range(50)]
        positions = log.append([new(key) for key in keys])
        assert [position.partition for position in positions] == [partition_of(key, 4) for key in keys]
        assert {position.partition for position in positions} == {0, 1, 2, 3}

    def test_offsets_are_contiguous_and_end_is_the_last(self, log):
        positions = [
            position
            for batch in range(5)
            for position in log.append([new(f"visitor-{batch * 20 + number}") for number in range(20)])
        ]
        offsets = offsets_by_partition(positions)
        assert offsets == {partition: list(range(len(found))) for partition, found in offsets.items()}
        assert log.end() == {partition: found[-1] for partition, found in offsets.items()}

    def test_order_within_a_partition_is_that_of_appending(self, log, reader_of):
        for number in range(60):
            # Time runs backwards: only the offset may order a partition.
            log.append([new(f"visitor-{number % 9}", str(number).encode(), AT_MS - number)])
        numbers = defaultdict(list)
        for record in read(reader_of(log), 60):
            numbers[record.position.partition].append(int(record.value))
        assert all(found == sorted(found) for found in numbers.values())

    def test_between_partitions_time_orders_what_was_appended_in_time(self, log, reader_of):
        log.append([new(f"visitor-{number}", b"", AT_MS + number) for number in range(500)])
        times = [record.received_ms for record in read(reader_of(log), 500)]
        assert times == sorted(times)

    def test_a_reader_follows(self, log, reader_of):
        reader = reader_of(log)
        for number in range(20):
            value = str(number).encode()
            log.append([new(f"visitor-{number}", value)])
            assert [record.value for record in read(reader, 1)] == [value]

    def test_a_limit_is_kept_and_nothing_is_skipped(self, log, reader_of):
        log.append([new(f"visitor-{number}") for number in range(100)])
        reader = reader_of(log)
        seen = set()
        deadline = time.monotonic() + PATIENCE_S
        while len(seen) < 100 and time.monotonic() < deadline:
            records = reader.read(7)
            assert len(records) <= 7
            seen.update(record.position for record in records)
            # Nothing is passed that has not been given yet.
            assert all(Position(*place) in seen for place in reader.passed().items())
        assert len(seen) == 100

    def test_a_reader_resumes_behind_given_offsets(self, log, reader_of):
        log.append([new(f"visitor-{number}", str(number).encode()) for number in range(200)])
        everything = read(reader_of(log), 200)
        seen = {record.position.partition: record.position.offset for record in everything[:120]}
        rest = read(reader_of(log, seen), 80)
        assert {record.position for record in rest} == {record.position for record in everything[120:]}
        assert read(reader_of(log, log.end()), 0) == []

    def test_a_partition_without_an_offset_is_read_from_its_beginning(self, log, reader_of):
        log.append([new(f"visitor-{number}") for number in range(40)])
        after = {0: log.end()[0], 2: log.end()[2]}
        wanted = [record for record in read(reader_of(log), 40) if record.position.partition in (1, 3)]
        assert read(reader_of(log, after), len(wanted)) == wanted

    def test_offsets_beyond_the_end_are_refused(self, log):
        log.append([new("anna")])
        partition = partition_of("anna", 4)
        with pytest.raises(LogUnavailable, match=f"partition {partition}: wanted offset 9, available 0 to 0"):
            log.reader({partition: 8})
        with pytest.raises(ValueError, match="Expected a partition from 0 to 3, got 4"):
            log.reader({4: 0})

    def test_unicode_keys(self, log, reader_of):
        keys = ["Jürgen", "訪問者-1", "🦊", "a b/c?d=e&f", "x" * 400]
        log.append([new(key) for key in keys])
        assert {record.key for record in read(reader_of(log), 5)} == set(keys)

    def test_large_values(self, log, reader_of):
        values = [bytes([number]) * 1_000_000 for number in range(3)]
        log.append([new(f"visitor-{number}", value) for number, value in enumerate(values)])
        assert {record.value for record in read(reader_of(log), 3)} == set(values)

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            (new("x" * 401), r"Expected a key of at most 400 bytes of UTF-8, got 401 - at `\[1\]\.key`"),
            (new("ü" * 201), r"Expected a key of at most 400 bytes of UTF-8, got 402 - at `\[1\]\.key`"),
            (new("\ud800"), r"Expected a key of valid Unicode, got '\\ud800'"),
            (
                new("x", b"x" * 8_388_609),
                r"Expected a value of at most 8388608 bytes, got 8388609 - at `\[1\]\.value`",
            ),
            (new("x", b"", -1), r"Expected epoch milliseconds, got -1 - at `\[1\]\.received_ms`"),
        ],
    )
    def test_a_refused_record_leaves_nothing_behind(self, log, record, message):
        with pytest.raises(ValueError, match=message):
            log.append([new("fine"), record])
        assert log.end() == {}

    def test_threads_append_at_the_same_time(self, log, reader_of):
        def append(thread):
            return [
                (
                    log.append([new(f"{thread}-{number % 3}", f"{thread}:{number}".encode())])[0],
                    f"{thread}:{number}",
                )
                for number in range(50)
            ]

        with ThreadPoolExecutor(8) as pool:
            acknowledged = dict(pair for found in pool.map(append, range(8)) for pair in found)
        assert {
            record.position: record.value.decode() for record in read(reader_of(log), 400)
        } == acknowledged
        offsets = offsets_by_partition(acknowledged)
        assert all(sorted(found) == list(range(len(found))) for found in offsets.values())

    def test_processes_append_at_the_same_time(self, url, log, reader_of):
        with running("appender", url, "a", 150) as first, running("appender", url, "b", 150) as second:
            lines = first.stdout.read().split("\n")[:-1] + second.stdout.read().split("\n")[:-1]
        acknowledged = {Position.parse(position): value for position, value in map(str.split, lines)}
        records = read(reader_of(log), 300)
        assert {record.position: record.value.decode() for record in records} == acknowledged
        of_key = defaultdict(list)
        for record in records:
            of_key[record.key].append(int(record.value.split(b":")[1]))
        assert all(numbers == sorted(numbers) for numbers in of_key.values())

    def test_what_was_acknowledged_survives_kill_9(self, url, reader_of):
        with running("appender", url, "a", 0) as process:
            lines = list(islice(process.stdout, 100))
            process.kill()
            lines += [line for line in process.stdout if line.endswith("\n")]
        log = open_log(url)
        try:
            records = {}
            reader = reader_of(log)
            deadline = time.monotonic() + PATIENCE_S
            while len(records) < len(lines) and time.monotonic() < deadline:
                records.update((str(record.position), record.value.decode()) for record in reader.read(1000))
            assert dict(line.split() for line in lines).items() <= records.items()
        finally:
            log.close()

    def test_opened_again_it_goes_on(self, url, reader_of):
        for number in range(2):
            log = open_log(url)
            assert log.append([new("anna", str(number).encode())]) == [
                Position(partition_of("anna", 4), number)
            ]
            log.close()

    def test_closed(self, url):
        log = open_log(url)
        reader = log.reader()
        for _ in range(2):
            reader.close()
            log.close()
        for use in (lambda: log.append([new("anna")]), lambda: reader.read(1)):
            with pytest.raises(LogUnavailable, match="closed"):
                use()

    def test_unavailable(self, unavailable_url):
        with pytest.raises(LogUnavailable, match="nowhere"):
            open_log(unavailable_url)


def offsets_by_partition(positions):
    offsets = defaultdict(list)
    for partition, offset in positions:
        offsets[partition].append(offset)
    return offsets
