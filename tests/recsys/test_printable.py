"""What of a URL may be shown."""

from __future__ import annotations

import pytest

from recsys.printable import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://bob:p%40ss@h:6379/0?prefix=a:", "redis://bob:...@h:6379/0?prefix=a:"),
        ("redis://:only@h", "redis://:...@h"),
        (
            "redis://h/0?username=bob&password=x&timeout_s=1",
            "redis://h/0?username=bob&password=...&timeout_s=1",
        ),
        ("kafka://h/t?sasl.password=x", "kafka://h/t?sasl.password=..."),
        ("kafka://h/t?linger_ms=2&ssl.Key.pem=x", "kafka://h/t?linger_ms=2&ssl.Key.pem=..."),
        ("sqlite:///a/b@c:d/log.db?partitions=4", "sqlite:///a/b@c:d/log.db?partitions=4"),
        ("lmdb://{home}/state", "lmdb://{home}/state"),
    ],
)
def test_secrets_are_left_out_and_the_rest_stands(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
