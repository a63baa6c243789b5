"""Records what each workspace writes and stores, day by day, without delaying a request.

A process counts the writes in memory, and adds them to the records of the catalog every few seconds, on a
separate thread. A process that is killed loses the writes of these seconds. What a workspace has stored is
counted after its writes, rarely enough to take little of the catalog's time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from typing import Final

from auth.budgets import utc_now
from catalog.base import Catalog
from catalog.daily_usage import UsageDay
from catalog.errors import CatalogError, OutcomeUnknown
from catalog.identity import Usage

#: How often a process records its counts, in seconds.
INTERVAL: Final = 15.0
#: How often it counts what a workspace has stored, in seconds, for the record of the day.
_COUNT_EVERY: Final = 60.0
#: A count is used for this multiple of the time that it took, so that all counts together take a small part
#: of the time of the catalog.
_TIMES: Final = 200
_LONGEST: Final = 3600.0

log = logging.getLogger(__name__)


class UsageRecorder:
    """Counts writes, and records them and what is stored.

    Args:
        catalog: has the records.
        interval: the seconds between two records, and before the first one.
        clock: the time in UTC.
    """

    def __init__(
        self, catalog: Catalog, *, interval: float = INTERVAL, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._catalog = catalog
        self._interval = interval
        self._clock = clock
        self._due = time.monotonic() + interval
        self._lock = threading.Lock()
        self._running = threading.Lock()
        self._is_finished = False
        self._writes: Counter[tuple[str, date]] = Counter()
        # The workspaces with writes since they were counted, and when each may be counted again.
        self._changed: set[str] = set()
        self._next_count: dict[str, float] = {}
        self._counted: dict[str, tuple[Usage, float]] = {}

    def count_write(self, workspace_id: str) -> None:
        """Counts a write of today; after ``finish``, records it too."""
        with self._lock:
            self._writes[workspace_id, self._clock().date()] += 1
            self._changed.add(workspace_id)
        if self._is_finished:
            self.record()

    def current(self, workspace_id: str) -> Usage:
        """What a workspace has stored, now or a moment ago. A count that takes longer is used for longer.

        Raises:
            CatalogUnavailable
        """
        usage, until = self._counted.get(workspace_id, (None, 0.0))
        if usage is None or until <= time.monotonic():
            start = time.monotonic()
            usage = self._catalog.get_usage(workspace_id)
            end = time.monotonic()
            kept = {key: value for key, value in self._counted.items() if value[1] > end}
            self._counted = kept | {workspace_id: (usage, end + min(_TIMES * (end - start), _LONGEST))}
        return usage

    def run_if_due(self) -> None:
        """Records on a separate thread if that is due; returns immediately."""
        if time.monotonic() < self._due or not (self._writes or self._changed):
            return
        if not self._running.locked():
            threading.Thread(target=self.record, name="usage", daemon=True).start()

    def record(self, only: str | None = None) -> None:
        """Records what has been counted so far.

        Args:
            only: the workspace whose counts are recorded, unless another thread is recording now; None: all.
        """
        if not self._running.acquire(blocking=only is None):
            return
        try:
            self._due = time.monotonic() + self._interval
            self._record(*self._take(only))
        finally:
            self._running.release()

    def finish(self) -> None:
        """Records everything before the process ends, and counts what is stored even if that is not due.

        After a forced stop, threads may still serve requests. What they write is recorded immediately.
        """
        self._is_finished = True
        with self._lock:
            self._next_count.clear()
            self._counted = {}
        self.record()

    def _record(self, writes: Counter[tuple[str, date]], changed: set[str]) -> None:
        days = [UsageDay(workspace_id=each, day=day, writes=count) for (each, day), count in writes.items()]
        try:
            days += [
                UsageDay(workspace_id=each, day=self._clock().date(), usage=self.current(each))
                for each in changed
            ]
            if days:
                self._catalog.add_usage_days(days)
        except CatalogError as error:
            log.info("the usage was not recorded: %s", error)
            with self._lock:
                self._changed |= changed
                if not isinstance(error, OutcomeUnknown):
                    self._writes += writes

    def _take(self, only: str | None) -> tuple[Counter[tuple[str, date]], set[str]]:
        """Takes the counts that are to be recorded, and the workspaces that are to be counted."""
        now = time.monotonic()
        with self._lock:
            wanted = [key for key in self._writes if only in (None, key[0])]
            writes = Counter({key: self._writes.pop(key) for key in wanted})
            changed = {
                each
                for each in self._changed
                if only in (None, each)
                and self._next_count.get(each, 0.0) <= now
                # A count that is still in use may be older than the writes.
                and self._counted.get(each, (None, 0.0))[1] <= now
            }
            self._changed -= changed
            self._next_count = {each: at for each, at in self._next_count.items() if at > now}
            self._next_count |= dict.fromkeys(changed, now + _COUNT_EVERY)
        return writes, changed
