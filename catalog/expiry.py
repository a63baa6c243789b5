"""What expires, and when it is removed: the same for every store."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, Protocol

from catalog.identity import LINKS, CredentialKind
from catalog.ids import now
from errors import Unavailable

#: The kinds of credentials that nothing looks up after they have expired.
FORGOTTEN_AT_ONCE: Final = (CredentialKind.ACCESS_TOKEN, CredentialKind.SESSION, *sorted(LINKS))
#: An authorization code or a refresh token that is used again, even late, revokes its family, so these are
#: kept for ``EXPIRED_KEPT_FOR``. API keys are kept as long for another reason: people see them in a list.
REMEMBERED: Final = tuple(set(CredentialKind) - {*FORGOTTEN_AT_ONCE, CredentialKind.API_KEY})

#: How many records of a kind a batch removes, and the pause after it for other writers, in seconds.
BATCH: Final = 100
PAUSE: Final = 0.05

#: How often a batch is tried if the store is too busy to remove anything, the pause before the next try in
#: seconds, and the factor by which the next batch is smaller.
TRIES: Final = 3
_RETRY_PAUSE: Final = 0.5
_SMALLER: Final = 4

#: How often a process removes what has expired, in seconds.
INTERVAL: Final = 60.0

log = logging.getLogger(__name__)


class RemovedInPart(Unavailable):
    """Expired records of some kinds were removed, and those of others could not be.

    Args:
        reason: why not.
        removed: how many records of each kind were removed.
    """

    def __init__(self, reason: str, removed: Mapping[str, int]) -> None:
        super().__init__(reason)
        self.removed = removed


class Expiring(Protocol):
    """A store whose records expire: a catalog, or the counts of the rate limits."""

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        """Removes a batch of records that have expired, small enough to delay no other write.

        Args:
            at: UTC.
            limit: the most records of each kind that are removed.

        Returns:
            How many records of each kind were removed. If all numbers are 0, none is left.

        Raises:
            RemovedInPart: some kinds could not be removed.
            Unavailable: no kind could be removed.
        """


def remove_all_expired(store: Expiring, *, pause: float = PAUSE) -> Iterator[Counter[str]]:
    """Removes everything that has expired by now, in batches.

    A batch that fails is tried again as a smaller one. After each batch, other writers have as much time as
    it took.

    Args:
        store: the store that has the records.
        pause: the least seconds after each batch.

    Yields:
        After each batch, how many records of each kind were removed so far.

    Raises:
        Unavailable: ``TRIES`` batches in a row have failed and removed nothing.
    """
    total: Counter[str] = Counter()
    at = now()
    size = BATCH
    failures = 0
    while True:
        begun = time.monotonic()
        problem: Unavailable | None = None
        try:
            removed = store.remove_expired(at, size)
        except RemovedInPart as error:
            problem, removed = error, error.removed
        except Unavailable as error:
            problem, removed = error, {}
        total.update(removed)
        yield total
        if any(removed.values()):
            failures = 0
        elif problem is None:
            return
        else:
            failures += 1
            if failures == TRIES:
                raise problem
        if problem:
            size = max(1, size // _SMALLER)
            time.sleep(_RETRY_PAUSE)
        time.sleep(max(pause, time.monotonic() - begun))


class Cleanup:
    """Removes expired records in the background of a process that answers requests.

    Args:
        stores: the stores that have the records.
        interval: the seconds between two runs, and before the first one.
    """

    def __init__(self, *stores: Expiring, interval: float = INTERVAL) -> None:
        self._stores = stores
        self._interval = interval
        self._due = time.monotonic() + interval
        self._running = threading.Lock()

    def run_if_due(self) -> None:
        """Starts a run on a separate thread if one is due; returns immediately."""
        if time.monotonic() < self._due or not self._running.acquire(blocking=False):
            return
        threading.Thread(target=self._run, name="cleanup", daemon=True).start()

    def _run(self) -> None:
        try:
            for store in self._stores:
                _remove_all_from(store)
        finally:
            self._due = time.monotonic() + self._interval
            self._running.release()


def _remove_all_from(store: Expiring) -> None:
    try:
        for _ in remove_all_expired(store):
            pass
    except Unavailable as error:  # the next run tries again
        log.info("expired records were not removed: %s", error)
