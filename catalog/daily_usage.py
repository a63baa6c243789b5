"""What a workspace has written and stored on each day: a part of the protocol of a catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Protocol

from catalog.identity import Usage

#: How long the record of a day is kept. The console shows 30 days, and fills a day without a count from an
#: earlier day.
DAYS_KEPT_FOR: Final = timedelta(days=62)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDay:
    """A day of a workspace.

    Attributes:
        day: in UTC.
        writes: the writes of the API on this day (docs/contract.md "Plans").
        usage: what was stored when it was last counted on this day; None if it was not counted.
    """

    workspace_id: str
    day: date
    writes: int = 0
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """The number of all workspaces, and what they have stored together."""

    workspaces: int
    usage: Usage


class DailyUsage(Protocol):
    """The records of days, kept for ``DAYS_KEPT_FOR``.

    Every method may raise CatalogUnavailable, and the one that writes OutcomeUnknown.
    """

    def add_usage_days(self, days: Sequence[UsageDay]) -> None:
        """Adds to the records of days: writes are added up, and a counted usage replaces an earlier one."""

    def list_usage_days(self, workspace_id: str) -> list[UsageDay]:
        """The recorded days of a workspace, oldest first. A day on which nothing happened may be missing."""

    def count_totals(self) -> Totals:
        """Counts what all workspaces have together, without reading products.

        MongoDB reads an index, which takes a second for a million products. While the index is being built,
        it raises CatalogUnavailable.
        """
