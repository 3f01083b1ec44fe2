"""The same dataflow on Kafka and Valkey: only the URLs are others."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from flows.run import run
from flows.verify import verify
from recsys.settings import Settings, load_settings
from tests.flows.homes import append, taken
from tests.services import KafkaBroker

EVENTS = 3000

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(tmp_path: Path, kafka: KafkaBroker, valkey_url: str) -> Settings:
    """A home whose log is a topic of four partitions and whose state is a Valkey."""
    local = load_settings(tmp_path)
    log = f"{kafka.url(f'events-{tmp_path.name}')}?partitions=4"
    return msgspec.structs.replace(local, log=log, state=f"{valkey_url}?prefix=shop:")


def test_the_flow_folds_a_topic_into_valkey_and_goes_on_where_it_was(settings: Settings) -> None:
    append(settings, EVENTS, seed=7, broken=0.01)
    run(settings, to_end=True)
    append(settings, 1000, seed=7, skip=EVENTS)
    run(settings, to_end=True)
    report = verify(settings)
    assert report.differences == []
    assert report.behind == 0
    assert report.people > 50
    assert taken(settings).received == EVENTS + 1000
