"""A bound of the memory that all decodes of a process take together."""

from __future__ import annotations

import os
from typing import Final

from turns import Bounds, Turns

#: The memory of this process, given out in bytes: ``with DECODE_MEMORY.turn(size, limit)``. One workspace
#: decodes as many pictures at a time as there are processors; more of them would only delay the others.
DECODE_MEMORY: Final = Turns(
    Bounds(requests=128, own_requests=64, own_turns=max(2, os.cpu_count() or 1), seconds=5, queue=4)
)
