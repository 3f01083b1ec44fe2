"""A server that hangs must not hang its callers: a circuit breaker, by the time that was waited in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class Breaker:
    """Behind a caller who waited in vain, further ones are refused at once; after `rest_s` one of them
    asks again. A failure that came sooner than `waited_s` keeps nobody waiting, so it refuses nobody.
    Thread-safe; `monotonic_s` is its clock."""

    def __init__(
        self, waited_s: float, rest_s: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._waited_s = waited_s
        self._rest_s = rest_s
        self._monotonic_s = monotonic_s
        self._lock = Lock()
        self._until_s = 0.0
        """Nobody asks before; 0: all is well."""
        self._failure: Exception | None = None

    @contextmanager
    def asking(self, *failures: type[Exception]) -> Iterator[None]:
        """Around a call that raises one of `failures` where nobody answered. Raises the last of these,
        without asking, while the server rests."""
        if self._until_s:
            self._enter()
        began_s = self._monotonic_s()
        try:
            yield
        except failures as error:
            if self._monotonic_s() - began_s >= self._waited_s:
                self._failure, self._until_s = error, self._monotonic_s() + self._rest_s
            raise
        self._until_s = 0.0

    def _enter(self) -> None:
        with self._lock:
            now_s = self._monotonic_s()
            if self._failure is not None and now_s < self._until_s:
                raise self._failure.with_traceback(None)
            # This one asks; the others go by what it finds.
            self._until_s = now_s + self._rest_s
