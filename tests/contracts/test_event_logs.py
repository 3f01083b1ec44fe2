"""Every EventLog passes one suite."""

from __future__ import annotations

import uuid

import pytest

from tests.contracts.event_log import EventLogContract
from tests.services.process import free_port


class TestSqliteLog(EventLogContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite://{tmp_path}/new/log.db?partitions=4"

    @pytest.fixture
    def unavailable_url(self, tmp_path):
        (tmp_path / "nowhere").write_text("a file, not a folder")
        return f"sqlite://{tmp_path}/nowhere/log.db"


@pytest.mark.kafka
class TestKafkaLog(EventLogContract):
    @pytest.fixture
    def url(self, kafka):
        return kafka.url(f"events-{uuid.uuid4()}") + "?partitions=4"

    @pytest.fixture
    def unavailable_url(self):
        return f"kafka://127.0.0.1:{free_port()}/nowhere?timeout_s=1"
