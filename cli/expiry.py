"""When something expires, on the command line: ``90d``, ``2027-01-31``, ``2027-01-31T12:00Z``."""

from __future__ import annotations

from datetime import UTC, date, datetime

import click

from auth.key_expiry import ExpiryRefused, check_expiry, end_of_day
from catalog.ids import now
from cli.duration import DURATION, Duration


class Expiry(click.ParamType[datetime]):
    """A duration from now on, a day (until its end in UTC), or a time in ISO 8601 (UTC without an offset)."""

    name = "when"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """See click.ParamType."""
        if isinstance(value, datetime):
            return value
        at = now()
        try:
            if DURATION.fullmatch(value):
                expires_at = at + Duration().convert(value, param, ctx)
            else:
                expires_at = _moment(value)
            check_expiry(expires_at, at)
        except ExpiryRefused as refused:
            self.fail(f"{value!r} is not possible. {refused}", param, ctx)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a duration such as 90d, nor a day such as 2027-01-31, "
                "nor a time such as 2027-01-31T12:00Z.",
                *(param, ctx),
            )
        return expires_at


def _moment(text: str) -> datetime:
    """The time that a text names. Raises ValueError, OverflowError."""
    try:
        return end_of_day(date.fromisoformat(text))
    except ValueError:
        moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
