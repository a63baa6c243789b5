"""The counts of the budgets: where they are kept, and what is done while that is down.

A storage that is down does not take the API down: what can't be counted is allowed. Nor does it slow the
API down: it has a second to answer, and when it fails it is left alone for a while.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from typing import Final

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItem
from limits.errors import ConfigurationError
from limits.storage import Storage

import auth.counters.mongo
import auth.counters.sqlite  # noqa: F401  # to be imported makes their schemes known to limits

#: How long a storage that has failed is left alone, in seconds. Then one request finds out for all.
REST: Final = 5.0
#: How often a storage that is down is told of in the log, in seconds.
_COMPLAINT_EVERY: Final = 60.0

#: What Redis has to answer within, in seconds. By default its client does not try twice.
_REDIS_TIMEOUTS: Final[dict[str, str | int]] = {"socket_timeout": 1, "socket_connect_timeout": 1}

log = logging.getLogger(__name__)


def make_limiter(app: Flask, uri: str) -> Limiter:
    """A limiter that keeps its counts where the URI says. Nothing is asked of the storage yet.

    Raises:
        ValueError: the URI can't be used; the message has no part of it.
    """
    options = _REDIS_TIMEOUTS if uri.startswith("redis") else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of an option that is misspelt, say
            # A compressor without its module, or a server that is not MongoDB, is no mistake.
            warnings.filterwarnings("ignore", "Wire protocol compression|You appear to be connected to")
            return Limiter(get_remote_address, app=app, storage_uri=uri, storage_options={**options})
    except (ConfigurationError, ValueError, TypeError, Warning):
        # Without the library's words: they may quote a password.
        raise ValueError(
            "must be the address of a storage for counts, such as redis://127.0.0.1:6379 or "
            "mongodb://127.0.0.1/vetrina, its user name and password percent-encoded"
        ) from None


class Counters:
    """Counts for as long as the storage answers.

    Args:
        limiter: whose storage keeps the counts.
        on_error: is called for each count that is not made.
        clock: seconds that never go back.
    """

    def __init__(
        self, limiter: Limiter, *, on_error: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limiter = limiter
        self._on_error = on_error
        self._clock = clock
        self._lock = threading.Lock()
        self._down = False
        self._rests_until = 0.0
        self._complained = -_COMPLAINT_EVERY

    def hit(self, item: RateLimitItem, *identifiers: str) -> int | None:
        """Counts one; gives what it comes to, or None if nothing can count."""
        key = item.key_for(*identifiers)
        return self._ask(lambda storage: storage.incr(key, item.get_expiry()))

    def read(self, item: RateLimitItem, *identifiers: str) -> int | None:
        """The count as it is, or None if nothing can tell."""
        key = item.key_for(*identifiers)
        return self._ask(lambda storage: storage.get(key))

    def answer(self) -> bool:
        """Whether the storage can be reached now."""
        try:
            return self._limiter.storage.check()
        except Exception:  # noqa: BLE001  # whatever a storage raises
            return False

    def _ask(self, question: Callable[[Storage], int]) -> int | None:
        if not self._may_ask():
            self._on_error()
            return None
        try:
            count = question(self._limiter.storage)
        except Exception as error:  # noqa: BLE001  # whatever a storage raises
            self._on_error()
            self._rest(error)
            return None
        self._down = False
        return count

    def _may_ask(self) -> bool:
        with self._lock:
            now = self._clock()
            if not self._down:
                return True
            if now < self._rests_until:
                return False
            self._rests_until = now + REST  # others wait for what this one finds out
            return True

    def _rest(self, error: Exception) -> None:
        with self._lock:
            now = self._clock()
            self._down = True
            self._rests_until = now + REST
            if now - self._complained < _COMPLAINT_EVERY:
                return
            self._complained = now
        log.warning("the limiter's storage is down: nothing is limited", exc_info=error)
