"""Structured logs on standard error: for people on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import json
import logging
import sys

import structlog

# Without the values of variables: they may be a key or somebody's profile, and to write them out takes
# seconds, in which a server answers nobody.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure_logs() -> None:
    """Called by composition roots, once a process."""
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [_tracebacks, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=shared + last,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Looked up at each line, so that a redirected sys.stderr is followed.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def plain(line: str) -> str:
    """A line of `configure_logs` for people: `serving host=127.0.0.1 port=7007`. Others stay as they are."""
    try:
        told = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return line
    if not isinstance(told, dict) or "event" not in told:
        return line
    event, level = told.pop("event"), told.pop("level", "info")
    told.pop("timestamp", None)
    words = [] if level == "info" else [f"{level}:"]
    return " ".join([*words, str(event), *(f"{name}={value}" for name, value in told.items())])
