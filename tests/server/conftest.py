from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.logs import configure_logs
from tests.fakes import MemoryStore
from tests.server.shop import Shop, catalogue, put_items


@pytest.fixture(autouse=True, scope="session")
def _logs() -> None:
    """As servers write them: structlog's own way to show a fault takes seconds, and calls wait for it."""
    configure_logs()


@pytest.fixture
def store() -> MemoryStore:
    """A state that knows the catalogue."""
    store = MemoryStore()
    put_items(store, catalogue())
    return store


@pytest.fixture
def shop(tmp_path: Path, store: MemoryStore) -> Iterator[Shop]:
    with Shop(tmp_path, store=store).open() as shop:
        yield shop
