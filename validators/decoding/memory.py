"""A bound on the memory that all decodes of a process take together."""

from __future__ import annotations

import os
from typing import Final

from turns import Bounds, Turns

#: Allots the memory of this process, in bytes: ``with DECODE_MEMORY.turn(size, limit)``. One workspace may
#: run as many decodes at a time as there are processors (at least 2); more would delay other workspaces. A
#: decode of another one may take seconds.
DECODE_MEMORY: Final = Turns(
    Bounds(
        requests=128,
        own_requests=64,
        own_turns=max(2, os.cpu_count() or 1),
        seconds=5,
        queue=4,
        first_waits=True,
    )
)
