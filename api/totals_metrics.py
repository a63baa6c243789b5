"""Gauges of what all workspaces have stored. A scrape never waits for a long count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from catalog.daily_usage import Totals
from catalog.errors import CatalogError

#: How long totals are used at least, in seconds, and how many times as long as their count took.
_KEPT_FOR: Final = 60.0
_TIMES: Final = 500
#: How long a scrape waits for a count, in seconds. After that, it shows the earlier totals, or none.
_PATIENCE: Final = 1.0


class CatalogTotals(Collector):
    """Totals that are counted on a separate thread, at most once a minute and less often if it takes long.

    Args:
        count: returns the totals; raises CatalogError.
    """

    def __init__(self, count: Callable[[], Totals]) -> None:
        self._count = count
        self._totals: Totals | None = None
        self._due = 0.0
        self._counting = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        if time.monotonic() >= self._due and self._counting.acquire(blocking=False):
            thread = threading.Thread(target=self._refresh, name="totals", daemon=True)
            thread.start()
            thread.join(_PATIENCE)
        if totals := self._totals:
            for name, what, value in (
                ("workspaces", "Workspaces.", totals.workspaces),
                ("products", "Products, archived ones included.", totals.usage.products),
                ("images", "Stored images, without their sizes.", totals.usage.images),
                ("stored_bytes", "Bytes of the stored images, without their sizes.", totals.usage.bytes),
            ):
                yield GaugeMetricFamily(f"vetrina_{name}", what, value=value)

    def _refresh(self) -> None:
        start = time.monotonic()
        try:
            self._totals = self._count()
        except CatalogError:
            pass  # its own metrics tell that it is down
        finally:
            end = time.monotonic()
            self._due = end + max(_KEPT_FOR, _TIMES * (end - start))
            self._counting.release()
