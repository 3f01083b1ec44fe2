"""What `headrace up` makes of its children's lines."""

from __future__ import annotations

import pytest

from server.logs import plain


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"host": "127.0.0.1", "port": 7007, "event": "serving", "level": "info", "timestamp": "t"}',
            "serving host=127.0.0.1 port=7007",
        ),
        (
            '{"error": "no disk", "event": "not_serving", "level": "error"}',
            "error: not_serving error=no disk",
        ),
        ('{"no": "log line"}', '{"no": "log line"}'),
        ("{broken", "{broken"),
        ("[1, 2]", "[1, 2]"),
        ("headrace: interrupted", "headrace: interrupted"),
    ],
)
def test_a_log_line_is_words_and_anything_else_stays(line: str, shown: str) -> None:
    assert plain(line) == shown
