"""The counts of the budgets: where they are stored, and how counting continues while the storage is down.

A limit holds at all times. While the shared storage is down or busy, each process counts in its own memory.
A storage that fails does not slow the API down: it has a second to answer, and after a failure it is not
used for some seconds. A count that has reached its limit is refused from memory, so that a flood of refused
requests writes nothing. docs/architecture.md "Limits" says why this is not left to flask-limiter.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from typing import Final, TypeVar

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItem
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, Storage

import auth.counters.sqlite  # noqa: F401  # the import registers its scheme with limits
from auth.counters.local import LocalCounters
from process_local import ProcessLocal

#: The seconds for which a storage that has failed is not used. Then one request tries it again.
REST: Final = 5.0
#: The seconds between two warnings about a storage that is down.
_WARNING_EVERY: Final = 60.0

#: The seconds within which Redis must answer. Its client does not retry by default.
_REDIS_TIMEOUTS: Final[dict[str, str | int]] = {"socket_timeout": 1, "socket_connect_timeout": 1}

log = logging.getLogger(__name__)

T = TypeVar("T")


def make_limiter(app: Flask, uri: str) -> Limiter:
    """Makes a limiter that keeps its counts at the URI. It does not connect yet.

    Raises:
        ValueError: the URI is invalid; the message contains no part of it.
    """
    if uri.startswith("mongodb"):
        # The import registers the scheme with limits. pymongo takes 0.2 s, which other storages save.
        import auth.counters.mongo  # noqa: F401, PLC0415  # registers its scheme; loads pymongo
    options = _REDIS_TIMEOUTS if uri.startswith("redis") else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a misspelt option is only a warning
            # A compressor whose module is missing and a server that is not MongoDB are not errors.
            warnings.filterwarnings("ignore", "Wire protocol compression|You appear to be connected to")
            return Limiter(get_remote_address, app=app, storage_uri=uri, storage_options={**options})
    except (ConfigurationError, ValueError, TypeError, Warning):
        # The library's own message may quote a password.
        raise ValueError(
            "must be the address of a storage for counts, such as redis://127.0.0.1:6379 or "
            "mongodb://127.0.0.1/vetrina, its user name and password percent-encoded"
        ) from None


class Counters:
    """Counts in the storage of a limiter and, while it does not answer, in this process.

    Args:
        limiter: its storage keeps the counts.
        on_error: is called for each count that the storage did not make.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, limiter: Limiter, *, on_error: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limiter = limiter
        # memory:// is this process alone, and MemoryStorage loses hits that come at the same time.
        self._stores = not isinstance(limiter.storage, MemoryStorage)
        self._on_error = on_error
        self._clock = clock
        self._local = ProcessLocal(lambda: LocalCounters(clock))
        self._lock = threading.Lock()
        self._down = False
        self._rests_until = 0.0
        self._warned = -_WARNING_EVERY

    def hit(self, item: RateLimitItem, *identifiers: str) -> int:
        """Counts one hit and returns the count: more than ``item.amount`` if the hit exceeds the limit.

        This process remembers the last value of each count. It continues from that value when the storage
        fails, and it does not ask the storage about a count that has reached its limit.
        """
        if self.is_spent(item, *identifiers):
            return item.amount + 1
        key, window = item.key_for(*identifiers), item.get_expiry()
        local = self._local.get()
        stored = self._ask(lambda storage: storage.incr(key, window))
        if stored is None:
            return local.miss(key, window)
        count = local.learn(key, stored, window)
        if stored >= item.amount:
            local.expire_in(key, self._seconds_left(key, window))
        return count

    def is_spent(self, item: RateLimitItem, *identifiers: str) -> bool:
        """Whether this process knows that the count has reached its limit. It does not ask the storage."""
        return self._local.get().read(item.key_for(*identifiers)) >= item.amount

    def give_back(self, item: RateLimitItem, *identifiers: str) -> None:
        """Takes back one hit that was within the limit, unless the storage fails.

        If its window has ended in the meantime, the hit comes off the next window.
        """
        key, window = item.key_for(*identifiers), item.get_expiry()
        local = self._local.get()
        if local.give_back_missed(key):
            return
        if self._ask(lambda storage: storage.incr(key, window, -1)) is not None:
            local.give_back_stored(key)

    def read(self, item: RateLimitItem, *identifiers: str) -> int:
        """The current count; no hit is counted."""
        key = item.key_for(*identifiers)
        stored = self._ask(lambda storage: storage.get(key))
        local = self._local.get()
        return local.read(key) if stored is None else max(stored, local.read(key))

    def answer(self) -> bool:
        """Whether the storage can be reached now."""
        try:
            return self._limiter.storage.check()
        except Exception:  # noqa: BLE001  # whatever a storage raises
            return False

    def _seconds_left(self, key: str, window: int) -> float:
        """The seconds until a count of the storage expires."""
        left = self._ask(lambda storage: storage.get_expiry(key) - time.time())
        return float(window) if left is None else min(max(left, 0.0), window)

    def _ask(self, question: Callable[[Storage], T]) -> T | None:
        """What the storage answers; None if it does not answer, or if this process alone counts."""
        if not self._stores:
            return None
        if not self._may_ask():
            self._on_error()
            return None
        try:
            answer = question(self._limiter.storage)
        except Exception as error:  # noqa: BLE001  # whatever a storage raises
            self._on_error()
            self._rest(error)
            return None
        self._down = False
        return answer

    def _may_ask(self) -> bool:
        with self._lock:
            now = self._clock()
            if not self._down:
                return True
            if now < self._rests_until:
                return False
            self._rests_until = now + REST  # meanwhile, the other requests do not use it
            return True

    def _rest(self, error: Exception) -> None:
        with self._lock:
            now = self._clock()
            self._down = True
            self._rests_until = now + REST
            if now - self._warned < _WARNING_EVERY:
                return
            self._warned = now
        log.warning(
            "the storage of the rate limits is unavailable: each process counts on its own", exc_info=error
        )
