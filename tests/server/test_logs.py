"""What `headrace up` makes of its children's lines."""

from __future__ import annotations

import sys
from io import StringIO
from uuid import uuid4

import pytest
import structlog

from server.logs import configure_logs, plain


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


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_fault_is_told_without_the_values_of_variables(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, secret = StringIO(), uuid4().hex
    told.isatty = lambda: is_terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", told)
    configure_logs()
    try:
        _fail(secret)
    except ZeroDivisionError as error:
        structlog.get_logger("test").error("request_failed", exc_info=error)
    assert "ZeroDivisionError" in told.getvalue()
    assert "in _fail" in told.getvalue() or '"name": "_fail"' in told.getvalue()
    assert secret not in told.getvalue()


def _fail(key: str) -> None:
    1 / len(key[:0])
