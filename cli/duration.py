"""Durations on the command line: ``90s``, ``30m``, ``24h``, ``7d``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import click

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST: Final = timedelta(days=36500)
#: A whole number and its unit.
DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")


class Duration(click.ParamType[timedelta]):
    """A parameter of a whole number and its unit, converted to a ``timedelta``."""

    name = "duration"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """See click.ParamType."""
        if isinstance(value, timedelta):
            return value
        match = DURATION.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90s, 30m, 24h or 7d.", param, ctx)
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if duration > _LONGEST:
            self.fail(f"{value!r} is longer than {_LONGEST.days}d.", param, ctx)
        return duration
