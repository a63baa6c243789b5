"""Attempts that are repeated until one succeeds, with a pause before each and an end to all."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

from catalog.errors import CatalogUnavailable

#: The first pause and the longest one, in seconds. Each is up to twice as long as the one before.
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1


def attempts(seconds: float) -> Iterator[None]:
    """Yields once for each attempt: at once for the first, after a random pause for any other.

    Of many that change one record at the same time, one succeeds in each round; the pauses spread the others.

    Raises:
        CatalogUnavailable: the time is over, and no attempt has succeeded; so nothing has been changed.
    """
    end = time.monotonic() + seconds
    longest = _FIRST_PAUSE
    while True:
        yield
        pause = random.uniform(0, longest)  # noqa: S311  # no secret
        if time.monotonic() + pause >= end:
            raise CatalogUnavailable("the record is changed too often at the moment")
        time.sleep(pause)
        longest = min(2 * longest, _LONGEST_PAUSE)
