"""What is compiled and kept on disk follows the files it was compiled from."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numba
import pytest

from recsys.models import kernel_cache
from recsys.models.kernel_cache import stamp_of

KERNEL = """
from recsys.limit import LIMIT
from recsys.models.compiled import i8, kernel

@kernel(i8())
def limit():
    return LIMIT
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `recsys` that stands where this project's own does."""
    monkeypatch.setattr(kernel_cache, "_PACKAGES", tmp_path)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")  # whatever NUMBA_CACHE_DIR says
    (tmp_path / "recsys").mkdir()
    return tmp_path / "recsys"


def test_a_stamp_covers_what_is_imported_at_any_remove(sources: Path) -> None:
    called, near, far, other = (sources / name for name in ("called.py", "near.py", "far.py", "other.py"))
    called.write_text("import numpy\nfrom recsys.near import x\n")
    near.write_text("from recsys.far import (\n    y,\n)\nfrom recsys.called import z\n")
    far.write_text("y = 1\n")
    other.write_text("y = 1\n")
    before = stamp_of(called)
    other.write_text("y = 22\n")
    assert stamp_of(called) == before
    far.write_text("y = 22\n")
    assert stamp_of(called) != before


def test_a_kernel_is_compiled_again_when_a_constant_of_another_file_has_changed(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "uses.py").write_text(KERNEL)
    found = []
    for limit in (1, 2):
        (sources / "limit.py").write_text(f"LIMIT = {limit}\n")
        other = ModuleType("recsys.limit")
        other.LIMIT = limit  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "recsys.limit", other)
        spec = importlib.util.spec_from_file_location("uses", sources / "uses.py")
        assert spec is not None
        assert spec.loader is not None
        uses = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(uses)
        found.append(uses.limit())
    assert list((sources / "__pycache__").glob("uses.limit-*.nbi")), "nothing was kept"
    assert found == [1, 2]


def test_what_names_a_type_that_has_moved_is_compiled_again(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update in place."""
    (sources / "uses.py").write_text("LIMIT = 3\n" + KERNEL.replace("from recsys.limit import LIMIT", ""))
    moved = ModuleType("recsys.moved")
    moved.Type = type("Type", (), {"__module__": "recsys.moved"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recsys.moved", moved)
    spec = importlib.util.spec_from_file_location("uses", sources / "uses.py")
    assert spec is not None
    assert spec.loader is not None
    uses = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(uses)
    (index,) = (sources / "__pycache__").glob("uses.limit-*.nbi")
    with index.open("rb") as file:
        version = pickle.load(file)
    index.write_bytes(pickle.dumps(version) + pickle.dumps(("stamp", moved.Type())))
    monkeypatch.delattr(moved, "Type")
    spec.loader.exec_module(uses)
    assert uses.limit() == 3
