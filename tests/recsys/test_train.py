"""Training: what is published, what is refused, and that a refusal or a crash leaves what was there."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import archive, trial
from recsys.events import Action
from recsys.models import bundle as bundles
from recsys.models.als import Als
from recsys.models.evaluation import Metrics
from recsys.models.popularity import Popularity
from recsys.models.publish import Draft
from recsys.settings import TrainSettings
from recsys.train import TrainRefused, train
from recsys.training_data import read_interactions
from tests.recsys.pipeline.shops import CATALOGUE, NOW_MS, NOW_S

SETTINGS = TrainSettings(factors=8, iterations=4, threads=1, max_test_queries=300, min_events=50)
HOUR_MS = 3_600_000


def event(
    at_ms: int, action: Action, visitor: str, items: list[str], person: str = "", session_ms: int = 0
) -> tuple:
    fields = {
        "at_ms": at_ms, "received_ms": at_ms, "partition": 0, "offset": 0, "index": 0, "message_id": "m",
        "action": int(action), "name": action.name, "touchpoint": "site", "visitor": visitor,
        "person": person or f"a:{visitor}", "session_ms": session_ms, "items": items,
        "quantities": [1.0] * len(items), "query": None, "value": None, "raw": b"",
    }  # fmt: skip
    return tuple(fields[name] for name in archive.SCHEMA.names)


def write(folder: Path, rows: list[tuple], seq: int = 0) -> Path:
    by_day: dict[object, list[tuple]] = {}
    for row in rows:
        by_day.setdefault(datetime.fromtimestamp(row[0] / 1000, timezone.utc).date(), []).append(row)
    for day, of_day in by_day.items():
        path = archive.parquet_path(folder, day, 0, seq)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_batches([archive.batch_of(list(zip(*of_day, strict=True)))]), path)
    return folder


def sessions(first_hour: int, last_hour: int, step: int = 1, families: str = "ttsssmt") -> Iterator[tuple]:
    """A session an hour, the last `first_hour` .. `last_hour` hours ago: items of one family, in a
    circle in steps of `step`, and an order."""
    for hour in range(first_hour, last_hour, -1):
        start_ms = NOW_MS - hour * HOUR_MS
        family, first = families[hour % len(families)], hour % 6
        visitor = f"v{hour % 50}"
        for place in range(4):
            item = f"{family}{(first + place * step) % 6}"
            yield event(start_ms + place * 60_000, Action.VIEW, visitor, [item], session_ms=start_ms)
        ordered = [f"t{first}", f"s{first}"]
        yield event(start_ms + 300_000, Action.ORDER, visitor, ordered, session_ms=start_ms)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write(tmp_path / "archive", list(sessions(400, 0)))


def go(
    archive_dir: Path, folder: Path, settings: TrainSettings = SETTINGS, now_ms: int = NOW_MS, **more: bool
):
    return train(archive_dir, folder, CATALOGUE, settings, now_ms, lambda *_: None, **more)


def test_a_bundle_is_published_with_its_evaluation(shop, tmp_path) -> None:
    report = go(shop, tmp_path / "bundles")
    bundle = bundles.load_current(tmp_path / "bundles", checksums=True)
    assert bundle.version == report.version
    assert bundle.manifest.evaluation == report.evaluation
    assert set(report.evaluation) == {"blend", "popularity", "markov"}
    assert report.evaluation["blend"].queries == 100  # of the newest twentieth
    assert report.evaluation["blend"].hit_rate_at_20 >= report.evaluation["popularity"].hit_rate_at_20
    assert report.evaluation["blend"].mrr_at_20 > report.evaluation["popularity"].mrr_at_20
    assert report.training.sessions == 400
    assert set(bundle.item_ids) == {item.id for item in CATALOGUE}


def test_progress_is_told_by_stage(shop, tmp_path) -> None:
    told: list[tuple[str, int, int]] = []
    train(shop, tmp_path / "b", CATALOGUE, SETTINGS, NOW_MS, lambda *step: told.append(step))
    stages = [stage for stage, _, _ in told]
    for stage in (
        "read",
        "fit content",
        "early als",
        "learn replay",
        "trial ranker",
        "evaluate",
        "fit als",
        "fit neighbours",
        "publish",
    ):
        assert stage in stages
    assert all(0 <= done <= total for _, done, total in told)
    assert told[0] == ("read", 0, 2000)
    assert ("read", 2000, 2000) in told
    assert told[-1] == ("publish", 3, 3)


def test_too_few_interactions_are_refused(tmp_path) -> None:
    folder = write(tmp_path / "archive", list(sessions(3, 0)))
    with pytest.raises(TrainRefused) as refused:
        go(folder, tmp_path / "bundles")
    assert str(refused.value) == (
        f"Expected at least 50 interactions in 180 days, got 18 - in archive `{folder}`"
    )
    assert bundles.current_version(tmp_path / "bundles") is None


def test_a_sentence_model_nobody_has_is_refused_before_anything_is_read(tmp_path) -> None:
    wanted = msgspec.structs.replace(SETTINGS, text_model=str(tmp_path / "nowhere"))
    with pytest.raises(TrainRefused, match=r"got `.*nowhere` - at `train\.text_model`$"):
        go(tmp_path / "nothing", tmp_path / "bundles", settings=wanted)


def test_no_archive_is_too_few(tmp_path) -> None:
    with pytest.raises(TrainRefused, match="got 0"):
        go(tmp_path / "nothing", tmp_path / "bundles")


def test_one_worse_than_popularity_is_refused_and_can_be_forced(shop, tmp_path, monkeypatch) -> None:
    """The blend is made to answer nothing: as bad as can be."""
    monkeypatch.setattr(trial, "blend", lambda *_: lambda _session: np.empty(0, np.int32))
    with pytest.raises(
        TrainRefused, match=r"^Expected HR@20 of at least \d\.\d{4} \(popularity\), got 0\.0000$"
    ):
        go(shop, tmp_path / "bundles")
    assert bundles.current_version(tmp_path / "bundles") is None
    report = go(shop, tmp_path / "bundles", force=True)
    assert bundles.current_version(tmp_path / "bundles") == report.version
    assert len(report.objections) == 1


def test_one_worse_than_the_published_is_refused_and_that_one_stays(tmp_path, monkeypatch) -> None:
    """Published on the past; then a day of new sessions, on which the new models are made to fail."""
    folder = write(tmp_path / "archive", list(sessions(400, 100)))
    first = go(folder, tmp_path / "bundles", now_ms=NOW_MS - 100 * HOUR_MS)
    write(folder, list(sessions(100, 0)), seq=1)
    real = trial.blend

    def spoiled(bundle, *rest):
        recommend = real(bundle, *rest)
        return recommend if bundle.version != "unsaved" else lambda session: recommend(session)[:0]

    monkeypatch.setattr(trial, "blend", spoiled)
    monkeypatch.setattr(Popularity, "top", lambda self, k: (np.empty(0, np.int32), np.empty(0, np.float32)))
    with pytest.raises(TrainRefused, match=r"of the published bundle, less 5%\), got"):
        go(folder, tmp_path / "bundles")
    assert bundles.current_version(tmp_path / "bundles") == first.version


def test_the_published_one_is_asked_only_about_what_it_has_not_seen(tmp_path) -> None:
    folder = write(tmp_path / "archive", list(sessions(400, 100)))
    first = go(folder, tmp_path / "bundles", now_ms=NOW_MS - 100 * HOUR_MS)
    again = go(folder, tmp_path / "bundles", now_ms=NOW_MS - 99 * HOUR_MS)
    assert "published" not in again.evaluation
    assert again.recorded == first.evaluation["blend"]
    write(folder, list(sessions(100, 0)), seq=1)
    later = go(folder, tmp_path / "bundles")
    assert later.evaluation["published"].queries == later.evaluation["blend"].queries


def metrics(hit_rate: float, half_width: float = 0.02, queries: int = 1000) -> Metrics:
    low, high = hit_rate - half_width, hit_rate + half_width
    return Metrics(hit_rate, 0.1, 0.1, 0.5, low, high, 0.1, 0.1, queries, 100)


@pytest.mark.parametrize(
    ("found", "recorded", "objections"),
    [
        ({"blend": 0.5, "popularity": 0.4}, None, 0),
        ({"blend": 0.4, "popularity": 0.4}, None, 0),
        ({"blend": 0.39, "popularity": 0.4}, None, 1),
        ({"blend": 0.48, "popularity": 0.1, "published": 0.5}, None, 0),
        ({"blend": 0.47, "popularity": 0.1, "published": 0.5}, None, 1),
        ({"blend": 0.09, "popularity": 0.1, "published": 0.5}, None, 2),
        ({"blend": 0.48, "popularity": 0.1}, 0.5, 0),  # within chance of another test
        ({"blend": 0.30, "popularity": 0.1}, 0.5, 1),
    ],
)
def test_what_speaks_against_a_bundle(found, recorded, objections) -> None:
    evaluation = {name: metrics(hit_rate) for name, hit_rate in found.items()}
    before = None if recorded is None else metrics(recorded)
    assert len(trial.objections(evaluation, before, SETTINGS)) == objections


def test_too_few_queries_speak_against_nothing() -> None:
    evaluation = {"blend": metrics(0.1, queries=20), "popularity": metrics(0.9, queries=20)}
    assert trial.objections(evaluation, None, SETTINGS) == []


def test_models_with_broken_numbers_are_refused_even_by_force(shop, tmp_path, monkeypatch) -> None:
    real = Als.fit

    def broken(*arguments, **options):
        als = real(*arguments, **options)
        als.item_factors[0, :3] = np.nan
        return als

    go(shop, tmp_path / "bundles")
    before = bundles.current_version(tmp_path / "bundles")
    monkeypatch.setattr(Als, "fit", broken)
    monkeypatch.setattr(
        trial.Trial, "evaluate", lambda *_: {"blend": metrics(0.5), "popularity": metrics(0.1)}
    )
    with pytest.raises(
        TrainRefused, match=r"^Expected finite numbers, got 3 that are not - in `als\.item_factors`$"
    ):
        go(shop, tmp_path / "bundles", force=True, now_ms=NOW_MS + 1000)
    assert bundles.current_version(tmp_path / "bundles") == before


def test_a_draft_that_does_not_load_is_not_published(shop, tmp_path, monkeypatch) -> None:
    real = Draft.write

    def torn(self, *arguments, **options):
        manifest = real(self, *arguments, **options)
        (self.directory / "als" / "item_factors.npy").write_bytes(b"torn")
        return manifest

    monkeypatch.setattr(Draft, "write", torn)
    with pytest.raises(TrainRefused, match="item_factors"):
        go(shop, tmp_path / "bundles")
    assert bundles.current_version(tmp_path / "bundles") is None
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == []


def test_old_bundles_are_pruned(shop, tmp_path) -> None:
    settings = msgspec.structs.replace(SETTINGS, keep=2)
    versions = [go(shop, tmp_path / "bundles", settings, NOW_MS + step * 1000).version for step in range(3)]
    kept = sorted(path.name for path in (tmp_path / "bundles").iterdir() if path.is_dir())
    assert kept == versions[1:]


def _train_and_die(archive_dir: Path, folder: Path, stage: str, done: int) -> None:
    def die(at_stage: str, at_done: int, _: int) -> None:
        if (at_stage, at_done) == (stage, done):
            os.kill(os.getpid(), signal.SIGKILL)

    train(archive_dir, folder, CATALOGUE, SETTINGS, NOW_MS + 5000, die)


@pytest.mark.parametrize(("stage", "done"), [("fit als", 100), ("publish", 2)])
def test_training_that_is_killed_leaves_the_published_bundle(shop, tmp_path, stage, done) -> None:
    folder = tmp_path / "bundles"
    before = go(shop, folder).version
    process = multiprocessing.get_context("spawn").Process(
        target=_train_and_die, args=(shop, folder, stage, done)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert bundles.load_current(folder, checksums=True).version == before
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir()] == [
        before
    ]
    after = go(shop, folder, now_ms=NOW_MS + 9000).version
    assert bundles.current_version(folder) == after
    assert list(folder.glob(".draft-*")) == []


def test_interactions_are_the_newest_and_only_those_asked_for(tmp_path) -> None:
    rows = [event(NOW_MS - hour * HOUR_MS, Action.VIEW, "v", [f"i{hour}"]) for hour in range(40)]
    folder = write(tmp_path, rows)
    since = read_interactions(folder, NOW_MS - 9 * HOUR_MS)
    assert set(since.item_ids) == {f"i{hour}" for hour in range(10)}
    newest = read_interactions(folder, 0, max_interactions=5)
    assert [newest.item_ids[row] for row in newest.item] == ["i4", "i3", "i2", "i1", "i0"]


def test_kinds_follow_actions_and_orders_have_a_row_for_each_item(tmp_path) -> None:
    rows = [
        event(NOW_MS, Action.VIEW, "v", ["a"]),
        event(NOW_MS + 1, Action.CART_ADD, "v", ["a"]),
        event(NOW_MS + 2, Action.SEARCH, "v", ["x"]),
        event(NOW_MS + 3, Action.ORDER, "v", ["a", "b"]),
        event(NOW_MS + 4, Action.READ, "v", ["article:c"]),
        event(NOW_MS + 5, Action.PAGE, "v", []),
    ]
    read = read_interactions(write(tmp_path, rows), 0)
    found = [(read.item_ids[item], int(kind)) for item, kind in zip(read.item, read.kind, strict=True)]
    assert found == [("a", 0), ("a", 1), ("a", 2), ("b", 2), ("article:c", 3)]
    assert read.at_s[0] == NOW_S


def test_what_a_visitor_did_before_the_login_counts_for_the_customer(tmp_path) -> None:
    rows = [
        event(NOW_MS, Action.VIEW, "phone", ["a"]),
        event(NOW_MS + 1, Action.VIEW, "phone", ["b"], person="u:ann"),
        event(NOW_MS + 2, Action.VIEW, "kiosk", ["c"]),
        event(NOW_MS + 3, Action.VIEW, "kiosk", ["d"], person="u:ann"),
        event(NOW_MS + 4, Action.VIEW, "kiosk", ["e"], person="u:bob"),
    ]
    read = read_interactions(write(tmp_path, rows), 0)
    owner = {read.item_ids[i]: read.person_ids[p] for i, p in zip(read.item, read.person, strict=True)}
    assert owner == {"a": "u:ann", "b": "u:ann", "c": "a:kiosk", "d": "u:ann", "e": "u:bob"}


def test_sessions_are_those_the_flow_has_cut(tmp_path) -> None:
    rows = [
        event(NOW_MS, Action.VIEW, "v", ["a"], session_ms=NOW_MS),
        event(NOW_MS + HOUR_MS, Action.VIEW, "v", ["b"], session_ms=NOW_MS),
        event(NOW_MS + HOUR_MS + 1000, Action.VIEW, "v", ["c"], session_ms=NOW_MS + HOUR_MS + 1000),
    ]
    assert read_interactions(write(tmp_path, rows), 0).session.tolist() == [0, 0, 1]


def test_a_shop_of_baskets_is_ranked_by_what_people_have(tmp_path: Path) -> None:
    rows = []
    for hour in range(900, 0, -1):
        family = "tsm"[hour % 3]
        items = [f"{family}{(hour + step) % 6}" for step in range(3)]
        at_ms = NOW_MS - hour * HOUR_MS
        rows.append(event(at_ms, Action.ORDER, f"v{hour % 300}", items, session_ms=at_ms))
    go(write(tmp_path / "archive", rows), tmp_path / "bundles", force=True)
    found = bundles.load_current(tmp_path / "bundles", checksums=True)
    assert found is not None
    assert found.ranker is None
    assert found.kindred is not None
    assert found.kindred_ranker is not None
    assert found.scratch().kindred is not None


def test_a_shop_of_clicks_is_ranked_by_what_came_next(shop: Path, tmp_path: Path) -> None:
    go(shop, tmp_path / "bundles")
    found = bundles.load_current(tmp_path / "bundles")
    assert found is not None
    assert found.ranker is not None
    assert found.kindred is not None
    assert found.kindred_ranker is None
