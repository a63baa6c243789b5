"""Repeats an attempt until it succeeds, with a pause before each repetition and a time limit."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

from catalog.errors import CatalogUnavailable

#: The upper bounds of the first pause and of any pause, in seconds. The bound doubles after each pause.
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1


def attempts(
    seconds: float, reason: str = "the record is changing too often at the moment"
) -> Iterator[None]:
    """Yields once for each attempt: immediately for the first, after a random pause for each later one.

    Of many writers that change one record at the same time, one succeeds in each round. The random pauses
    spread the others over time.

    Args:
        seconds: the time limit, from the first attempt on.
        reason: the sentence of the error.

    Raises:
        CatalogUnavailable: the time is over and no attempt has succeeded, so nothing has been changed.
    """
    end = time.monotonic() + seconds
    longest = _FIRST_PAUSE
    while True:
        yield
        pause = random.uniform(0, longest)  # noqa: S311  # the pause is no secret
        if time.monotonic() + pause >= end:
            raise CatalogUnavailable(reason)
        time.sleep(pause)
        longest = min(2 * longest, _LONGEST_PAUSE)
