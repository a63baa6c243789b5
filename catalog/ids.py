"""New ids, and the time as a catalog keeps it."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime


def new_id() -> str:
    """A new id in the shape of a MongoDB ObjectId: 24 hex digits, the first 8 the Unix time.

    The next 8 are the fraction of that second, so that ids sort by the time of their creation, even
    within a millisecond; the last 8 are random.
    """
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{seconds:08x}{(nanoseconds << 32) // 10**9:08x}{secrets.token_hex(4)}"


def now() -> datetime:
    """The time in UTC, truncated to milliseconds, the resolution of every catalog."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
