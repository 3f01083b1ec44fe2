"""The Kafka log beyond its contract: foreign producers, retention, the merge by time, a broker that goes."""

from __future__ import annotations

import random
import time
import uuid
from contextlib import closing

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from flows.run import run
from flows.verify import verify
from recsys.open import open_log, open_store
from recsys.ports import LogUnavailable, NewRecord, Position
from recsys.progress import progress_in
from recsys.settings import load_settings
from recsys.stores import kafka_reader
from tests.contracts.event_log import AT_MS, new, read
from tests.services import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic():
    return f"events-{uuid.uuid4()}"


@pytest.fixture
def log(kafka, topic):
    with closing(open_log(kafka.url(topic) + "?partitions=4")) as log:
        yield log


def delete_before(kafka, topic, partition, offset):
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    place = TopicPartition(topic, partition, offset)
    admin.delete_records([place], operation_timeout=30)[place].result(30)


def test_reads_the_records_of_a_foreign_producer(kafka, topic, log):
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    producer.produce(topic, b"value", partition=0, headers=[("trace", b"1")], timestamp=AT_MS)
    producer.produce(topic, None, b"\xffkey", partition=0, timestamp=AT_MS)
    assert producer.flush(30) == 0
    with closing(log.reader()) as reader:
        first, second = read(reader, 2)
    assert first == (Position(0, 0), "", b"value", AT_MS)
    assert second == (Position(0, 1), "\ufffdkey", b"", AT_MS)


@pytest.mark.parametrize("stamped", ["CreateTime", "LogAppendTime"])
def test_tells_whose_word_the_time_of_receipt_is(kafka, topic, stamped):
    with closing(open_log(f"{kafka.url(topic)}?topic.message.timestamp.type={stamped}")) as log:
        log.append([NewRecord("anna", b"x", AT_MS)])
        with closing(log.reader()) as reader:
            (record,) = read(reader, 1)
        assert (record.received_ms == AT_MS) == (stamped == "CreateTime")
        assert log.receipt_note().startswith(f"the topic's `message.timestamp.type` is {stamped}: ")


def test_skips_what_a_foreign_transaction_aborted(kafka, topic, log):
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, "transactional.id": topic})
    producer.init_transactions(30)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=1, timestamp=AT_MS)
        end(30)
    log.append([NewRecord("anna", b"ours", AT_MS + 1)])
    with closing(log.reader()) as reader:
        assert {record.value for record in read(reader, 2)} == {b"committed", b"ours"}


def transactions(kafka, topic, partition, *ends):
    """Three events each, of which each transaction ends as told: `commit` or `abort`."""
    settings = {"bootstrap.servers": kafka.bootstrap, "log_level": 0, "transactional.id": f"{topic}-writer"}
    producer = Producer(settings)
    producer.init_transactions(30)
    for number, end in enumerate(ends):
        producer.begin_transaction()
        for event in range(3):
            raw = b'{"event":"Product Viewed","anonymousId":"v","messageId":"%d-%d"}' % (number, event)
            producer.produce(topic, raw, partition=partition, timestamp=AT_MS)
        assert producer.flush(30) == 0  # what is not sent yet an abort would only forget
        getattr(producer, f"{end}_transaction")(30)


def test_a_reader_passes_what_transactions_leave_at_the_end(kafka, topic, log):
    transactions(kafka, topic, 1, "commit", "abort")
    log.append([NewRecord("anna", b"ours", AT_MS + 1)])
    with closing(log.reader()) as reader:
        assert reader.passed() == {}
        assert len(read(reader, 4)) == 4
        deadline = time.monotonic() + 30
        while reader.passed() != log.end() and time.monotonic() < deadline:
            assert not reader.read(10)
        assert reader.passed() == log.end()
        assert log.end()[1] == 7  # six events, two markers
    with closing(log.reader(log.end())) as reader:
        assert not reader.read(10)


def test_a_flow_is_done_with_a_topic_that_ends_with_a_transaction(kafka, topic, log, tmp_path):
    transactions(kafka, topic, 1, "commit", "abort", "commit")
    transactions(kafka, topic, 2, "abort")
    settings = load_settings(tmp_path, environ={"HEADRACE_LOG": kafka.url(topic)})
    for _ in range(2):  # the second one from where the first one was
        run(settings, to_end=True)
        with closing(open_store(settings.state)) as store:
            progress = progress_in(store)
        assert progress.accepted == 6
        assert progress.behind(log.end()) == 0
    assert verify(settings).ok


def test_merges_by_time_while_catching_up(log):
    rng = random.Random(7)
    at_ms = AT_MS
    records = []
    for _ in range(20_000):
        at_ms += rng.randrange(1, 50)
        # One partition in bursts: it must not run ahead of the others.
        key = "burst" if at_ms // 10_000 % 3 else f"visitor-{rng.randrange(1000)}"
        records.append(NewRecord(key, b"x" * 200, at_ms))
    log.append(records)
    with closing(log.reader()) as reader:
        times = [record.received_ms for record in read(reader, len(records))]
    assert times == [record.received_ms for record in records]


def test_an_existing_topic_keeps_its_partitions(kafka, topic):
    kafka.create_topic(topic, partitions=3)
    with closing(open_log(kafka.url(topic) + "?partitions=8")) as log:
        assert log.partitions == 3


def test_settings_of_a_new_topic(kafka, topic):
    url = kafka.url(topic) + "?partitions=1&topic.max.message.bytes=1000"
    with (
        closing(open_log(url)) as log,
        pytest.raises(LogUnavailable, match=r"/events-.*: Broker: Message size too large"),
    ):
        log.append([new("anna", b"x" * 2000)])


def test_resuming_before_what_is_kept_is_refused(kafka, topic, log):
    partition = log.append([new("anna")] * 10)[0].partition
    delete_before(kafka, topic, partition, 6)
    with pytest.raises(LogUnavailable, match=f"partition {partition}: wanted offset 3, available 6 to 9"):
        log.reader({partition: 2})
    with closing(log.reader()) as reader:
        assert [record.position.offset for record in read(reader, 4)] == [6, 7, 8, 9]


def test_a_reader_overtaken_by_retention_says_so(kafka, topic):
    # So small fetches that the reader has to come back for the rest.
    url = (
        kafka.url(topic)
        + "?partitions=1&fetch.message.max.bytes=1000&queued.max.messages.kbytes=1&queued.min.messages=1"
    )
    with closing(open_log(url)) as log:
        for _ in range(20):
            log.append([new("anna", b"x" * 900)] * 10)
        with closing(log.reader()) as reader:
            deadline = time.monotonic() + 60
            while not reader.read(1) and time.monotonic() < deadline:
                pass
            delete_before(kafka, topic, 0, 190)

            def read_on():
                while time.monotonic() < deadline:
                    reader.read(1)

            with pytest.raises(LogUnavailable, match=r"partition 0: wanted offset \d+, available 190 to 199"):
                read_on()
            with pytest.raises(LogUnavailable, match="available 190 to 199"):
                reader.read(1)


@pytest.mark.slow
def test_a_broker_that_goes_and_comes_back(kafka, tmp_path):
    broker = KafkaBroker(tmp_path)
    broker.start()
    try:
        url = broker.url("events") + "?partitions=1&timeout_s=2"
        with closing(open_log(url)) as log, closing(log.reader()) as reader:
            log.append([new("anna", b"before")])
            assert [record.value for record in read(reader, 1)] == [b"before"]
            broker.kill()
            with pytest.raises(LogUnavailable, match=f"kafka://127.0.0.1:{broker.port}/events: "):
                log.append([new("anna", b"while it is down")])
            with pytest.raises(LogUnavailable, match=r"no acknowledgement within 0\.05 s"):
                log.append([new("anna", b"in a hurry")], patience_s=0.05)
            deadline = time.monotonic() + 60

            def read_on():
                while time.monotonic() < deadline:
                    reader.read(1)
                    time.sleep(0.01)

            with pytest.raises(LogUnavailable, match="no broker answers"):
                read_on()
            broker.start()
            log.append([new("anna", b"after")])
            with closing(log.reader({0: 0})) as resumed:
                values = []
                while b"after" not in values and time.monotonic() < deadline:
                    values += [record.value for record in resumed.read(10)]
            assert values[-1] == b"after"
    finally:
        broker.stop()


def test_goes_on_without_a_partition_that_does_not_deliver(topic, log, monkeypatch):
    keys = {
        log.append([new(f"visitor-{number}", received_ms=AT_MS + number)])[0].partition
        for number in range(40)
    }
    assert keys == {0, 1, 2, 3}
    with closing(log.reader()) as reader:
        silent = TopicPartition(topic, 2)
        reader._consumer.pause([silent])
        deadline = time.monotonic() + 60
        while len(reader._heads) < 3 and time.monotonic() < deadline:
            assert reader.read(100) == []  # it is waited for
        monkeypatch.setattr(kafka_reader, "HOLD_S", 0.0)
        missing = log.end()[2] + 1
        assert {record.position.partition for record in read(reader, 40 - missing)} == {0, 1, 3}
        reader._consumer.resume([silent])
        assert {record.position.partition for record in read(reader, missing)} == {2}
