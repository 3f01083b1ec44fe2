"""Every file with kernels is compiled ahead, and the user sees how far it is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from recsys.models.precompile import kernel_modules, precompile


def test_it_knows_the_modules_with_kernels_and_no_others() -> None:
    modules = kernel_modules()
    assert {"recsys.models.signal_kernels", "recsys.pipeline.pool_kernels", "recsys.models.trees"} <= set(
        modules
    )
    for name in modules:
        module = importlib.import_module(name)
        assert any(hasattr(value, "signatures") for value in vars(module).values()), name


def test_it_says_how_far_it_is_where_anything_is_compiled(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # nothing compiled is there
    precompile(["recsys.models.session_kernels"])
    assert "recsys.models.session_kernels, 1 of 1" in capfd.readouterr().out
    precompile(["recsys.models.session_kernels"])
    assert capfd.readouterr().out == ""
