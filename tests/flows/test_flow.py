"""The dataflow on real adapters: what it leaves is what the pure functions say, whatever happens."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from flows.dead_letters import DeadLetters
from flows.doctor import examine
from flows.run import FlowRunning, flow_lock, run
from flows.verify import Difference, verify
from recsys import archive
from recsys.decode import visitor_of
from recsys.keys import FLOW_KEY, person_key, shown_key, visitor_key
from recsys.open import open_log, open_store
from recsys.ports import NewRecord
from recsys.profile import decode_link, encode_record
from recsys.progress import encode_progress
from recsys.settings import Settings, load_settings
from recsys.shown import MAX_BLOCKS, decode_shown
from server.people import People
from server.requests import Asker
from tests.flows.homes import START_MS, append, filled, start_flow, taken, wait_for_records

EVENTS = 6000


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose flow has taken its whole log."""
    home = tmp_path_factory.mktemp("home")
    settings = filled(home, EVENTS)
    run(settings, to_end=True)
    return settings


def test_everything_received_is_accepted_a_duplicate_or_dead(done: Settings) -> None:
    progress = taken(done)
    assert progress.received == EVENTS
    assert progress.duplicates > 0
    assert progress.dead > 0
    assert progress.accepted + progress.duplicates + progress.dead == EVENTS


def test_what_a_flow_has_hidden_from_the_collector_is_its_again_behind_it(done: Settings) -> None:
    assert gc.get_freeze_count() == 0


def test_the_live_state_is_what_the_log_folds_to(done: Settings) -> None:
    report = verify(done)
    assert report.differences == []
    assert report.people > 100
    assert report.records == EVENTS


def test_workers_open_the_dead_letters_of_a_new_home_at_once(tmp_path: Path) -> None:
    def opened(home: int) -> None:
        DeadLetters(tmp_path / str(home) / "dead-letters.sqlite").close()

    with ThreadPoolExecutor(4) as workers:
        for home in range(100):
            list(workers.map(opened, [home] * 4))


def test_every_dead_letter_keeps_its_bytes_and_says_why(done: Settings) -> None:
    letters = list(DeadLetters(Path(done.dead_letters)).newest(10_000))
    assert len(letters) == taken(done).dead
    raw_by_position = {}
    reader = open_log(done.log).reader()
    while records := reader.read(1000):
        raw_by_position.update({record.position: record.value for record in records})
    for letter in letters:
        assert raw_by_position[letter.position] == letter.raw
        assert letter.path.startswith("$")
        assert letter.expected
        assert letter.got


def test_the_archive_holds_every_accepted_event_once(done: Settings) -> None:
    places = [
        tuple(row.values())
        for batch in archive.read(Path(done.archive), ["partition", "offset", "index"])
        for row in batch.to_pylist()
    ]
    assert len(places) == len(set(places)) == taken(done).accepted


def test_an_archive_file_is_closed_as_parquet_by_day_and_reads_the_same(tmp_path: Path) -> None:
    settings = filled(tmp_path, 1500)
    run(settings, to_end=True)
    before = _archived(settings)
    written = archive.close_file(Path(settings.archive), 0, 0)
    assert written
    assert all(path.parent.name.startswith("day=2025-10-") for path in written)
    assert _archived(settings) == before  # the open file beside its Parquet files counts once
    archive.open_path(Path(settings.archive), 0, 0).unlink()
    assert _archived(settings) == before


def _archived(settings: Settings) -> list[tuple[object, ...]]:
    columns = ["partition", "offset", "at_ms", "visitor", "items"]
    batches = archive.read(Path(settings.archive), columns)
    return sorted(
        (row["partition"], row["offset"], row["at_ms"], row["visitor"], tuple(row["items"]))
        for batch in batches
        for row in batch.to_pylist()
    )


def test_verify_names_the_person_and_the_field_that_differ(tmp_path: Path) -> None:
    settings = filled(tmp_path, 800)
    run(settings, to_end=True)
    store = open_store(settings.state)
    key, data = next((k, v) for k, v in store.scan("v:") if decode_link(v).record is not None)
    link = decode_link(data)
    assert link.record is not None
    wrong = msgspec.structs.replace(link.record.profile, events=999)
    record = msgspec.structs.replace(link.record, profile=wrong)
    store.put_many({key: encode_record(msgspec.structs.replace(link, record=record))})
    store.put_many({visitor_key("nobody"): encode_record(msgspec.structs.replace(link, visitor="nobody"))})
    report = verify(settings)
    assert not report.ok
    person = f"a:{link.visitor}"
    assert Difference(person, "events", 999, link.record.profile.events) in report.differences
    assert Difference("v:nobody", "$", "a record", "nothing in the log") in report.differences
    assert report.advice == ""
    # The same, had an earlier version begun this state.
    store.put_many({FLOW_KEY: encode_progress(msgspec.structs.replace(taken(settings), rules=0))})
    assert verify(settings).advice.startswith(
        "This state was begun by an earlier version, whose rules differed."
    )


def test_verify_takes_nobody_for_wrong_who_logged_in_while_it_ran(tmp_path: Path) -> None:
    settings = filled(tmp_path, 800)
    run(settings, to_end=True)
    store = open_store(settings.state)
    earlier = store.get_many([FLOW_KEY])[0]
    known = {key for key, data in store.scan("v:") if decode_link(data).user_id is not None}
    assert earlier is not None
    append(settings, 1200, seed=7, skip=800)
    run(settings, to_end=True)
    visitors = [(key, decode_link(data)) for key, data in store.scan("v:")]
    assert {key for key, link in visitors if link.user_id is not None} > known
    store.put_many({FLOW_KEY: earlier})  # as it stood when verify asked how far the flow was
    report = verify(settings)
    assert [difference for difference in report.differences if difference.path == "user_id"] == []
    assert report.moved_on > 0


def test_a_killed_flow_loses_and_doubles_nothing(tmp_path: Path) -> None:
    settings = filled(tmp_path, 12_000)
    for share in (0.2, 0.5, 0.8):
        flow = start_flow(tmp_path, "forever", archive_rows=700)
        wait_for_records(settings, int(12_000 * share))
        flow.kill()
        assert flow.wait() == -signal.SIGKILL
    assert start_flow(tmp_path, archive_rows=700).wait() == 0
    assert list(Path(settings.archive).glob("day=*/*.parquet"))
    report = verify(settings)
    assert report.differences == []
    assert report.behind == 0
    assert taken(settings).received == 12_000


def test_a_flow_told_to_stop_takes_a_snapshot_and_ends_cleanly(tmp_path: Path) -> None:
    settings = filled(tmp_path, 2000)
    flow = start_flow(tmp_path, "forever")
    wait_for_records(settings, 2000)
    flow.send_signal(signal.SIGTERM)
    assert flow.wait(30) == 0
    append(settings, 500, seed=7, skip=2000)
    run(settings, to_end=True)
    assert taken(settings).received == 2500
    assert verify(settings).differences == []


def test_two_workers_leave_the_same_state_as_one(tmp_path: Path) -> None:
    settings = filled(tmp_path, EVENTS)
    assert start_flow(tmp_path, workers=2).wait() == 0
    assert verify(settings).differences == []


def test_two_flows_on_one_home_are_refused(tmp_path: Path) -> None:
    settings = filled(tmp_path, 10)
    with flow_lock(Path(settings.recovery)), pytest.raises(FlowRunning, match="Expected no other flow on"):
        run(settings, to_end=True)


def test_doctor_shows_the_equation(done: Settings) -> None:
    home = Path(done.archive).parent
    findings = {finding.title: finding for finding in examine(done, home)}
    assert findings["tally"].ok
    assert f"received {EVENTS:,} = accepted" in findings["tally"].detail
    assert findings["log"].ok
    assert "invalid_json" in findings["dead by kind"].detail
    assert findings["bundle"].ok is False


def test_an_order_with_wrong_fields_is_taken_and_they_are_told(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    order = (
        b'{"type":"track","event":"Order Completed","anonymousId":"v1","messageId":"%b","properties":'
        b'{"order_id":"o%b","total":"1,234.50","products":[null,{"product_id":"tent","name":5}]}}'
    )
    log = open_log(settings.log)
    raws = [order % (name, name) for name in (b"a", b"a", b"b")] + [b'{"type":"page","userId":[]}']
    log.append([NewRecord("v1", raw, 1_760_000_000_000) for raw in raws])
    log.close()
    run(settings, to_end=True)
    progress = taken(settings)
    assert (progress.accepted, progress.duplicates, progress.dead) == (2, 1, 1)
    assert verify(settings).differences == []
    found = [f"{each.title}: {each.detail}" for each in examine(settings, tmp_path)]
    assert "wrong fields: 6 in accepted events: read by plain rules, or left out" in found
    where = "Expected a number or nothing, got text - at `$.properties.total`"
    assert f"  2 times: wrong_type: {where}, read" in found
    where = "Expected an object, got nothing - at `$.properties.products[*]`"
    assert f"  2 times: wrong_type: {where}, left out" in found


def test_two_customers_made_one_are_found_by_either_id(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    viewed = b'{"event":"Product Viewed","anonymousId":"%b","userId":"%b","properties":{"product_id":"%b"}}'
    calls = [
        viewed % (b"v1", b"anna", b"tent"),
        viewed % (b"v2", b"ben", b"mug"),
        b'{"type":"alias","previousId":"anna","userId":"ben"}',
    ]
    log = open_log(settings.log)
    log.append([NewRecord(visitor_of(raw), raw, START_MS + 9000 * n) for n, raw in enumerate(calls)])
    log.close()
    run(settings, to_end=True)
    assert verify(settings).differences == []
    store = open_store(settings.state)
    people = People(store)
    for found in people.read_all([Asker(None, "anna"), Asker(None, "ben"), Asker("v1", None)]):
        assert found.person == "u:ben"
        assert found.record is not None
        assert [touch.item for touch in found.record.profile.touches] == ["tent", "mug"]
    store.close()


def test_a_login_that_was_taken_back_leaves_each_with_their_own(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    viewed = b'{"event":"Product Viewed","anonymousId":"%b",%b"properties":{"product_id":"%b"}}'
    calls = [
        viewed % (b"v1", b"", b"tent"),
        viewed % (b"v2", b'"userId":"anna",', b"mug"),
        viewed % (b"v1", b'"userId":"anna",', b"pegs"),
        b'{"type":"alias","previousId":"v1","userId":"v1"}',
    ]
    for n, raw in enumerate(calls):  # each in a run of its own, so that what is kept goes through the bytes
        log = open_log(settings.log)
        log.append([NewRecord(visitor_of(raw), raw, START_MS + 90_000 * n)])
        log.close()
        run(settings, to_end=True)
    assert verify(settings).differences == []
    store = open_store(settings.state)
    device, anna = People(store).read_all([Asker("v1", None), Asker(None, "anna")])
    for found, person, items in ((device, "a:v1", ["tent", "pegs"]), (anna, "u:anna", ["mug"])):
        assert found.person == person
        assert found.record is not None
        assert [touch.item for touch in found.record.profile.touches] == items
    store.close()


def test_a_key_that_was_idle_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = filled(tmp_path, 2000)
    flow = start_flow(tmp_path, "forever", idle_s=1)
    wait_for_records(settings, 2000)
    store = open_store(settings.state)
    _wait(lambda: sum(1 for _ in store.scan("s:v:")) > 100)
    append(settings, 1000, seed=7, skip=2000)
    wait_for_records(settings, 3000)
    flow.send_signal(signal.SIGTERM)
    assert flow.wait(30) == 0
    assert verify(settings).differences == []


def _wait(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_people_known_by_login_have_a_record_of_their_own(done: Settings) -> None:
    store = open_store(done.state)
    links = [decode_link(value) for _, value in store.scan("v:")]
    known = {link.user_id for link in links if link.user_id is not None}
    assert known
    assert all(data is not None for data in store.get_many([person_key(user_id) for user_id in known]))


def test_what_was_served_is_remembered_of_whom_it_was_shown_to_whatever_kills_the_flow(
    tmp_path: Path,
) -> None:
    settings = load_settings(tmp_path)
    log = open_log(settings.log)
    for number in range(30):
        event = _served(number, f"v{number % 3}", f"p{number}")
        log.append([NewRecord(f"headrace:served:v{number % 3}", event, 1_760_000_000_000 + number)])
        if number == 15:
            flow = start_flow(tmp_path, until="never")
            wait_for_records(settings, 10)
            flow.send_signal(signal.SIGKILL)
            flow.wait()
    run(settings, to_end=True)
    kept = [decode_shown(open_store(settings.state).get_many([shown_key(f"a:v{n}")])[0]) for n in range(3)]
    assert [[one.items for one in record.impressions] for record in kept] == [
        [(f"p{number}",) for number in range(27 + n, -1, -3)][:MAX_BLOCKS] for n in range(3)
    ]


def _served(number: int, visitor: str, item: str) -> bytes:
    properties = {
        "decision_id": f"d{number}", "placement": "email.digest", "slot": "email.digest",
        "items": [[item, 1.0, ["als", "", ""]]], "at_ms": 1_760_000_000_000 + number,
    }  # fmt: skip
    event = {"type": "track", "event": "Block Served", "messageId": f"d{number}", "anonymousId": visitor}
    return msgspec.json.encode({**event, "properties": properties})
