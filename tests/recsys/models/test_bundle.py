from __future__ import annotations

import multiprocessing
import os
import signal

import msgspec
import numpy as np
import pytest

from recsys.models.bundle import (
    FORMAT,
    BundleTooNew,
    TrainingRange,
    load,
    load_current,
)
from recsys.models.bundle import checksum as checksum_of
from recsys.models.current import BundleBroken, current_version
from recsys.models.publish import Draft, prune, set_current
from tests.recsys.models.toys import small_models

INTERACTIONS, MODELS = small_models()
TRAINING = TrainingRange(from_s=0.0, to_s=1.0, interactions=len(INTERACTIONS))


def write(draft, created_at_ms=1_700_000_000_000, models=MODELS):
    return draft.write(
        models, headrace="0.1.0", created_at_ms=created_at_ms, training=TRAINING, evaluation={}
    )


def published(bundles, created_at_ms=1_700_000_000_000, **settings):
    with Draft(bundles) as draft:
        write(draft, created_at_ms)
        return draft.publish(**settings)


def test_what_is_published_is_loaded(tmp_path):
    assert load_current(tmp_path) is None
    directory = published(tmp_path)
    bundle = load_current(tmp_path, checksums=True)
    assert bundle.version == directory.name == current_version(tmp_path)
    assert bundle.version.startswith("20231114T221320-")
    assert bundle.manifest.training == TRAINING
    assert bundle.item_ids == MODELS.item_ids
    assert [bundle.item_row[item_id] for item_id in bundle.item_ids] == list(range(bundle.n_items))


def test_loaded_models_answer_like_those_saved(tmp_path):
    published(tmp_path)
    bundle = load_current(tmp_path)
    scratch = bundle.scratch()
    session = INTERACTIONS.item[:4]
    bought = int(np.argmax(MODELS.bought_together.table.lengths))
    weights = np.ones(4, np.float32)
    pairs = [
        (bundle.popularity.top(9), MODELS.popularity.top(9)),
        (bundle.transitions.recommend(session, 9), MODELS.transitions.recommend(session, 9)),
        (bundle.neighbours.recommend(session, 9, scratch), MODELS.neighbours.recommend(session, 9, scratch)),
        (
            bundle.als.index.nearest(bundle.als.fold_in(session, weights, scratch), 9),
            MODELS.als.index.nearest(MODELS.als.fold_in(session, weights, scratch), 9),
        ),
        (bundle.item_to_item.similar(0, 9), MODELS.item_to_item.similar(0, 9)),
        (bundle.bought_together.with_item(bought, 9), MODELS.bought_together.with_item(bought, 9)),
        (bundle.content.similar(0, 9), MODELS.content.similar(0, 9)),
    ]
    for loaded, saved in pairs:
        np.testing.assert_array_equal(loaded[0], saved[0])
        np.testing.assert_array_equal(loaded[1], saved[1])
        assert len(saved[0])


def test_a_cut_file_is_refused_at_once(tmp_path):
    directory = published(tmp_path)
    path = directory / "als" / "item_factors.npy"
    expected = path.stat().st_size
    os.truncate(path, 17)
    with pytest.raises(BundleBroken) as raised:
        load_current(tmp_path)
    where = f"at `als/item_factors.npy` in bundle `{directory.name}`"
    assert str(raised.value) == f"Expected {expected} bytes, got 17 - {where}"


def test_a_missing_file_is_refused(tmp_path):
    directory = published(tmp_path)
    (directory / "popularity" / "counts.npy").unlink()
    with pytest.raises(BundleBroken, match=r"bytes, got no file - at `popularity/counts\.npy` in bundle"):
        load_current(tmp_path)


def test_a_changed_file_is_found_by_its_checksum(tmp_path):
    directory = published(tmp_path)
    path = directory / "content" / "vectors.npy"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert load_current(tmp_path).version == directory.name
    with pytest.raises(
        BundleBroken, match=r"^Expected checksum `\w+`, got `\w+` - at `content/vectors\.npy`"
    ):
        load_current(tmp_path, checksums=True)


def test_a_bundle_is_checked_and_loaded_in_small_steps(tmp_path):
    steps = []

    def pace(parts):
        for part in parts:
            steps.append(part)
            yield part

    directory = published(tmp_path)
    grown = directory / "als" / "item_factors.npy"
    os.truncate(grown, 300_000)
    files = msgspec.json.decode((directory / "manifest.json").read_bytes())["files"]
    entry = {"size_bytes": 300_000, "blake2b": checksum_of(grown)}
    edited(directory, files={**files, "als/item_factors.npy": entry})
    manifest = load(directory, checksums=True, pace=pace).manifest
    blocks = [len(step) for step in steps if isinstance(step, bytes)]
    assert sum(blocks) == sum(entry.size_bytes for entry in manifest.files.values())
    assert max(blocks) == 1 << 17
    assert {"popularity", "als", "content"} <= {step[0] for step in steps if isinstance(step, tuple)}


def edited(directory, **fields):
    path = directory / "manifest.json"
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **fields}))


def test_a_later_format_is_refused_by_name(tmp_path):
    directory = published(tmp_path)
    edited(directory, format=FORMAT + 1, n_items={"whatever": "it will be"})
    with pytest.raises(
        BundleTooNew, match=r"^Expected bundle format 10 or older, got 11 - at `manifest\.json` in"
    ):
        load_current(tmp_path)


def test_fields_added_later_are_passed_over(tmp_path):
    directory = published(tmp_path)
    edited(directory, ranker={"trees": 60})
    assert load_current(tmp_path).version == directory.name


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ""])
def test_a_manifest_names_files_of_its_bundle_only(tmp_path, name):
    directory = published(tmp_path)
    edited(directory, files={name: {"size_bytes": 1, "blake2b": ""}})
    with pytest.raises(BundleBroken, match=r"^Expected a path within the bundle, got"):
        load_current(tmp_path)


def test_a_broken_manifest_or_pointer_is_named(tmp_path):
    directory = published(tmp_path)
    (directory / "manifest.json").write_text('{"format": 1, "version": 3}')
    with pytest.raises(BundleBroken, match=r"Expected `str`, got `int` - at `\$\.version`"):
        load(directory)
    (directory / "manifest.json").unlink()
    with pytest.raises(BundleBroken, match=r"^Expected a manifest, got no file"):
        load_current(tmp_path)
    (tmp_path / "current").write_text("../../elsewhere\n")
    with pytest.raises(BundleBroken, match=r"^Expected the name of a version, got `\.\./\.\./elsewhere`"):
        load_current(tmp_path)


def test_a_discarded_draft_leaves_nothing(tmp_path):
    with Draft(tmp_path) as draft:
        write(draft)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="training failed"), Draft(tmp_path):
        raise RuntimeError("training failed")
    assert list(tmp_path.iterdir()) == []


def test_a_draft_broken_before_publishing_leaves_the_old_one_current(tmp_path):
    old = published(tmp_path)
    with Draft(tmp_path) as draft:
        write(draft, 1_800_000_000_000)
        (draft.directory / "item_ids.json").write_text("[]")
        with pytest.raises(BundleBroken):
            draft.publish()
    assert load_current(tmp_path).version == old.name


def test_the_newest_stay_and_the_current_and_those_in_use(tmp_path):
    versions = [published(tmp_path, n * 10_000, keep=9).name for n in range(5)]
    set_current(tmp_path, versions[0])
    assert prune(tmp_path, keep=2, in_use=[versions[1]]) == [versions[2]]
    remaining = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert remaining == [versions[0], versions[1], versions[3], versions[4]]


def test_a_pruned_bundle_goes_on_answering(tmp_path):
    published(tmp_path, 0)
    bundle = load_current(tmp_path)
    published(tmp_path, 10_000, keep=1)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [current_version(tmp_path)]
    session = INTERACTIONS.item[:4]
    found, _ = bundle.neighbours.recommend(session, 9, bundle.scratch())
    np.testing.assert_array_equal(found, MODELS.neighbours.recommend(session, 9, bundle.scratch())[0])


def test_publishing_the_same_twice_is_the_same_version(tmp_path):
    assert published(tmp_path) == published(tmp_path)
    assert load_current(tmp_path).n_items == len(MODELS.item_ids)


def _write_and_wait(bundles, ready):
    draft = Draft(bundles)
    write(draft)
    ready.set()
    signal.pause()


def test_a_writer_that_was_killed_leaves_a_draft_that_the_next_one_removes(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_and_wait, args=(tmp_path, ready))
    writer.start()
    try:
        assert ready.wait(120)
        published(tmp_path, 0)
        # The other draft is still being written, so it stays.
        assert len(list(tmp_path.glob(".draft-*/manifest.json"))) == 1
    finally:
        writer.kill()
        writer.join()
        writer.close()
    published(tmp_path, 10_000)
    assert not list(tmp_path.glob(".draft-*"))
    assert load_current(tmp_path).version == current_version(tmp_path)


def test_nobody_points_to_a_bundle_that_is_not_there(tmp_path):
    published(tmp_path)
    with pytest.raises(BundleBroken, match=r"^Expected a bundle, got no manifest"):
        set_current(tmp_path, "20990101T000000-00000000")
