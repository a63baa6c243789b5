"""The queue of URLs that a CDN must drop from its cache: a part of the protocol of a catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Purge:
    """An entry of the queue.

    Attributes:
        url: the URL that the CDN must drop. A URL has at most one entry.
        queued_at: UTC; when it was queued.
        due_at: UTC; until then, the entry is left alone.
        attempts: how often the CDN was asked without success.
    """

    url: str
    queued_at: datetime
    due_at: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """The length of the queue, and when its oldest entry was queued (UTC; None if it is empty)."""

    length: int
    oldest: datetime | None


class PurgeQueue(Protocol):
    """The queue. A lease ensures that only one process at a time works through it.

    Every method may raise CatalogUnavailable, and those that write OutcomeUnknown.
    """

    def add_purge(self, purge: Purge) -> None:
        """Queues a URL durably. An entry with the same URL is replaced."""

    def due_purges(self, at: datetime, limit: int) -> Sequence[Purge]:
        """The entries that are due, those first that were due first."""

    def finish_purges(self, purges: Sequence[Purge]) -> None:
        """Removes entries, unless they were queued again meanwhile."""

    def postpone_purges(self, purges: Sequence[Purge], due_at: datetime) -> None:
        """Counts an attempt, and makes the entries due later, unless they were queued again meanwhile."""

    def purge_backlog(self) -> Backlog:
        """The length of the queue, and the age of its oldest entry."""

    def lease_purges(self, holder: str, at: datetime, until: datetime) -> bool:
        """Gives the lease of the queue to ``holder``, or renews it, in one atomic step.

        Args:
            holder: the name of a process.
            at: UTC; a lease that has ended by then is free.
            until: UTC; when the lease ends. A lease that ends at ``at`` is given back.

        Returns:
            False if another holder has the lease.
        """
