"""When an API key may expire."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

#: The longest life of a key that expires.
LONGEST_LIFE: Final = timedelta(days=36500)


class ExpiryRefused(ValueError):
    """The message is a sentence that says which times are possible."""


def end_of_day(day: date) -> datetime:
    """The last millisecond of a day in UTC: a key that expires on a day works on that day."""
    return datetime.combine(day, time(23, 59, 59, 999000), UTC)


def check_expiry(expires_at: datetime, at: datetime) -> None:
    """Checks the expiry of a key that is made at the time ``at``.

    Raises:
        ExpiryRefused
    """
    if expires_at <= at:
        raise ExpiryRefused("A key expires in the future.")
    if expires_at - at > LONGEST_LIFE:
        raise ExpiryRefused(f"A key expires within {LONGEST_LIFE.days} days, or never.")
