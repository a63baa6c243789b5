"""The usage page: what a workspace writes and stores, beside its plan and quota, and the last 30 days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from flask import Blueprint
from flask.typing import ResponseReturnValue

from auth.budgets import Budgets, utc_now
from auth.sessions import Session
from auth.usage_recorder import UsageRecorder
from catalog.base import Catalog
from catalog.daily_usage import UsageDay
from catalog.identity import Usage
from console.guards import Guards
from console.plots import BAR, HEIGHT, plot
from console.rendering import Pages

#: The days that the page shows, today included.
DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Day:
    """A day as the page shows it; None is what is not known."""

    day: date
    writes: int | None
    usage: Usage | None


def add_usage(  # noqa: PLR0913, PLR0917  # what the page shows
    blueprint: Blueprint,
    pages: Pages,
    guards: Guards,
    catalog: Catalog,
    budgets: Budgets,
    recorder: UsageRecorder,
) -> None:
    """``/console/usage``."""

    @blueprint.get("/usage")
    @guards.listing
    def usage(session: Session) -> ResponseReturnValue:
        workspace = catalog.get_workspace(session.user.workspace_id)
        state = budgets.usage(workspace.id)
        recorder.record(only=workspace.id)
        stored = recorder.current(workspace.id)
        days = last_days(catalog.list_usage_days(workspace.id), utc_now().date(), stored)
        return pages.render(
            "usage.html",
            session=session,
            workspace=workspace,
            state=state,
            stored=stored,
            days=days,
            writes_today=days[-1].writes or 0,
            plots={
                "writes": plot((day.day, day.writes) for day in days),
                "images": plot((day.day, day.usage.images if day.usage else None) for day in days),
                "bytes": plot((day.day, day.usage.bytes if day.usage else None) for day in days),
            },
            plot_height=HEIGHT,
            bar_width=BAR,
        )


def last_days(records: Sequence[UsageDay], today: date, stored: Usage) -> list[Day]:
    """The last ``DAYS`` days, oldest first.

    What was stored on a day without a record is what the day before stored, because every write of the API
    makes a record. Before the first record, nothing is known.

    Args:
        records: the recorded days, oldest first.
        today: the last day, in UTC.
        stored: what is stored now.
    """
    start = today - timedelta(days=DAYS - 1)
    known = {record.day: record for record in records}
    first = min(known, default=today)
    usage = next((record.usage for record in reversed(records) if record.usage and record.day < start), None)
    days = []
    for day in (start + timedelta(days=number) for number in range(DAYS)):
        record = known.get(day)
        usage = (record and record.usage) or usage
        writes = record.writes if record else 0
        days.append(Day(day, writes if day >= first else None, stored if day == today else usage))
    return days
