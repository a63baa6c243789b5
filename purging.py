"""The queue of purges, and the work on it: deleted objects are removed from the CDN's cache too.

An object is public under a URL that a CDN may keep for a year. So each deletion of an object queues its URLs
first, durably, in the catalog, and then deletes the object. An entry becomes due when the deletion is over,
because a CDN that drops a URL earlier could fetch the object again: the process that deletes knows when its
deletion is over, and the other processes wait for ``DELAY``. What each failure leaves:

==========================================  =====================================================
the catalog does not take the entry         the object is not deleted; the sweep deletes it later, and
                                            queues its URLs then
the process dies before the entry           likewise
the process dies before the deletion, or    the entry is purged in vain; the sweep deletes the object
the store does not answer                   and queues its URLs again
the process dies after the deletion         the entry is purged by any other process
the CDN refuses or does not answer          the entry stays, and is purged later
==========================================  =====================================================

One process at a time works through the queue, with a lease that it keeps during a pause after a failure, so
that a CDN that limits its clients is not asked by all processes.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from catalog.base import Catalog
from catalog.errors import CatalogError
from catalog.ids import now
from catalog.purges import Purge
from storage.base import ObjectInfo, StorageBackend, StorageUnavailable, StoredObject

#: The URLs of one request to the CDN. Cloudflare takes 100:
#: https://developers.cloudflare.com/cache/how-to/purge-cache/#availability-and-limits
BATCH: Final = 100

#: An entry is due after this time. It is longer than the deletion of an object takes (storage/r2/client.py).
DELAY: Final = timedelta(seconds=12)

#: The seconds in which a process collects the URLs of several deletions for one request, and the least
#: seconds between two of its requests: Cloudflare's free plan allows 5 a minute, and 25 at once.
_COLLECT: Final = 1.0
_GAP: Final = 12.0

#: The most entries that a process remembers as its own. It finds the others in the catalog.
_MOST_RELEASED: Final = 1000

#: The interval at which a process looks at the queue, in seconds.
INTERVAL: Final = 15.0

#: How long the lease is held without being renewed. A request to the CDN takes less.
_LEASE: Final = timedelta(seconds=60)

#: The pauses after a failure of the CDN: the first one, which doubles each time, and the longest.
_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(minutes=5)

#: The pauses before a URL is tried again that the CDN refuses.
_FIRST_PAUSE_OF_REFUSED: Final = timedelta(minutes=1)
_LONGEST_PAUSE_OF_REFUSED: Final = timedelta(days=1)

#: After this many refusals of single URLs in a row, the CDN counts as refusing all URLs.
_MOST_REFUSED: Final = 5

#: The seconds between two lines in the log about the same failure.
_LOG_PAUSE: Final = 60.0

log = logging.getLogger(__name__)


class CdnError(Exception):
    """The CDN did not purge. The message is for the operator; clients do not see it."""


class CdnRefused(CdnError):
    """The CDN refuses one of these URLs."""


class CdnUnavailable(CdnError):
    """The CDN can't be reached, fails, limits its clients, or refuses the credentials.

    Args:
        reason: for the operator.
        retry_after: seconds after which the CDN wants to be asked again; None if it does not say.
    """

    def __init__(self, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Cdn(Protocol):
    """A cache between the public and the stored objects."""

    def purge(self, urls: Sequence[str]) -> None:
        """Drops URLs from the cache. It may be repeated.

        Args:
            urls: at most ``BATCH``.

        Raises:
            CdnRefused, CdnUnavailable
        """


class PurgedStorage:
    """A storage backend that queues the URLs of the objects that it deletes. ``storage`` does everything
    else.

    Args:
        storage: the backend.
        purges: the queue.
        urls_of: all public URLs of the object with a key.
    """

    def __init__(
        self, storage: StorageBackend, purges: Purges, urls_of: Callable[[str], Sequence[str]]
    ) -> None:
        self._storage = storage
        self._purges = purges
        self._urls_of = urls_of
        self.serves_objects = storage.serves_objects

    def delete(self, key: str) -> None:
        """See StorageBackend."""
        try:
            queued = self._purges.queue(self._urls_of(key))
        except CatalogError as error:
            raise StorageUnavailable(f"can't delete {key}: its purge can't be queued: {error}") from error
        self._storage.delete(key)
        self._purges.release(queued)

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        """See StorageBackend."""
        self._storage.put(key, data, sha256=sha256)

    def open(self, key: str) -> StoredObject:
        """See StorageBackend."""
        return self._storage.open(key)

    def info(self, key: str) -> ObjectInfo:
        """See StorageBackend."""
        return self._storage.info(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See StorageBackend."""
        return self._storage.list(prefix, after=after)

    def check(self) -> None:
        """See StorageBackend."""
        self._storage.check()

    def public_url(self, key: str) -> str:
        """See StorageBackend."""
        return self._storage.public_url(key)

    def key_of(self, url: str) -> str | None:
        """See StorageBackend."""
        return self._storage.key_of(url)


class Purges:
    """The queue of purges, and the work on it beside the requests of a process.

    Args:
        catalog: the catalog that has the queue.
        cdn: the cache that is purged.
        on_outcome: called with ``purged``, ``refused`` or ``failed``, and the number of URLs.
        interval: the seconds between two looks at the queue.
        delay: the time after which an entry is due.
    """

    def __init__(
        self,
        catalog: Catalog,
        cdn: Cdn,
        *,
        on_outcome: Callable[[str, int], None] = lambda _outcome, _count: None,
        interval: float = INTERVAL,
        delay: timedelta = DELAY,
    ) -> None:
        self.cdn = cdn
        self._catalog = catalog
        self._on_outcome = on_outcome
        self._interval = interval
        self._delay = delay
        self._due = time.monotonic() + interval
        self._running = threading.Lock()
        self._timer: threading.Timer | None = None
        self._released: dict[str, Purge] = {}  # by URL
        self._has_queued = False  # and has not seen the queue empty since
        self._last_run = -_GAP  # on the clock of time.monotonic()
        self._silent_until = 0.0  # on the clock of time.monotonic()
        self._refused = 0

    def queue(self, urls: Sequence[str]) -> list[Purge]:
        """Queues URLs durably.

        Raises:
            CatalogUnavailable, OutcomeUnknown
        """
        at = now()
        queued = [Purge(url, at, at + self._delay) for url in urls]
        for purge in queued:
            self._catalog.add_purge(purge)
        self._has_queued = True
        return queued

    def release(self, queued: Sequence[Purge]) -> None:
        """Makes entries that this process has queued due for itself: the deletion is over."""
        if len(self._released) < _MOST_RELEASED:
            self._released.update((purge.url, purge) for purge in queued)
        self._set_timer(max(_COLLECT, self._last_run + _GAP - time.monotonic()))

    def _set_timer(self, seconds: float) -> None:
        """Looks at the queue after some seconds: a request that would do so may not come."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(seconds, self._start)
            self._timer.daemon = True
            self._timer.start()

    def run_if_due(self) -> None:
        """Starts a run on a thread if one is due; returns at once."""
        if time.monotonic() >= self._due:
            self._start()

    def _start(self) -> None:
        self._timer = None
        if self._running.acquire(blocking=False):
            threading.Thread(target=self._run, name="purges", daemon=True).start()

    def _run(self) -> None:
        try:
            self.run()
            self._has_queued = self._has_queued and self._catalog.purge_backlog().length > 0
        except (CatalogError, CdnError) as error:
            if time.monotonic() >= self._silent_until:
                self._silent_until = time.monotonic() + _LOG_PAUSE
                log.warning("the CDN's cache was not purged: %s", error)
        finally:
            self._last_run = time.monotonic()
            self._due = self._last_run + self._interval
            self._running.release()
            if self._has_queued:
                self._set_timer(_GAP if self._released else self._interval)

    def run(self) -> int:
        """Purges everything that is due, unless another process is doing it; returns the number of URLs.

        Raises:
            CdnUnavailable: the rest is purged later.
            CatalogUnavailable
        """
        holder = secrets.token_hex(8)
        is_holder = False
        count = 0
        while self._next_batch():
            if not self._catalog.lease_purges(holder, now(), now() + _LEASE):
                return count
            is_holder = True
            # Another process may have purged some before it gave the lease back.
            batch = self._next_batch()
            for purge in batch:
                self._released.pop(purge.url, None)
            try:
                count += self._purge(batch)
            except CdnUnavailable as error:
                self._on_outcome("failed", len(batch))
                self._keep_lease(holder, error, batch)
                raise
        if is_holder:
            self._catalog.lease_purges(holder, now(), now())
        return count

    def _next_batch(self) -> list[Purge]:
        due = {purge.url: purge for purge in self._catalog.due_purges(now(), BATCH)}
        # A copy, because other threads release entries meanwhile.
        return list({**self._released.copy(), **due}.values())[:BATCH]

    def _keep_lease(self, holder: str, error: CdnUnavailable, batch: Sequence[Purge]) -> None:
        """Keeps the lease for a pause, in which no process asks the CDN."""
        if error.retry_after is not None:
            pause = timedelta(seconds=error.retry_after)
        else:
            pause = _FIRST_PAUSE * 2 ** min(batch[0].attempts, 10)
        until = now() + min(max(pause, timedelta(seconds=1)), _LONGEST_PAUSE)
        self._catalog.postpone_purges(batch, until)
        self._catalog.lease_purges(holder, now(), until)

    def _purge(self, batch: Sequence[Purge]) -> int:
        """Purges a batch. If the CDN refuses it, halves are tried, so that one bad URL holds up no other."""
        if not batch:
            return 0
        try:
            self.cdn.purge([purge.url for purge in batch])
        except CdnRefused as error:
            if len(batch) > 1:
                half = len(batch) // 2
                return self._purge(batch[:half]) + self._purge(batch[half:])
            self._refuse(batch[0], error)
            return 0
        self._refused = 0
        self._catalog.finish_purges(batch)
        self._on_outcome("purged", len(batch))
        return len(batch)

    def _refuse(self, purge: Purge, error: CdnRefused) -> None:
        self._refused += 1
        if self._refused > _MOST_REFUSED:
            self._refused = 0
            raise CdnUnavailable(f"each URL is refused: {error}")
        pause: timedelta = _FIRST_PAUSE_OF_REFUSED * 2 ** min(purge.attempts, 12)
        due_at: datetime = now() + min(pause, _LONGEST_PAUSE_OF_REFUSED)
        self._catalog.postpone_purges([purge], due_at)
        self._on_outcome("refused", 1)
        log.warning("a URL was not purged: %s", error)
