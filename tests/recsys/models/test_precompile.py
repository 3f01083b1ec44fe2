"""Every file with kernels is compiled ahead, and the user sees how far it is."""

from __future__ import annotations

import importlib

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


def test_it_says_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    precompile(["recsys.models.session_kernels"])
    assert "recsys.models.session_kernels, 1 of 1" in capfd.readouterr().out
