"""Values that belong to one process and can't be used after a fork: connections, clients, locks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Slot(Generic[T]):
    """The value of one process. Each process has its own lock, because a fork copies a held lock as held."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    value: T | None = None


class ProcessLocal(Generic[T]):
    """A value that each process makes once, at first use.

    After a fork, the child makes a separate value. It keeps the parent's value, without using or closing it:
    closing a connection in the child can end the parent's session.

    Args:
        make: makes the value. One thread at a time calls it. It is called again only if it raised.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._slots: dict[int, _Slot[T]] = {}

    def get(self) -> T:
        """The value of this process."""
        pid = os.getpid()
        slot = self._slots.get(pid) or self._slots.setdefault(pid, _Slot())
        if slot.value is not None:
            return slot.value
        with slot.lock:
            if slot.value is None:
                slot.value = self._make()
            return slot.value

    def pop(self) -> T | None:
        """Removes the value of this process and returns it; None if there is none."""
        slot = self._slots.pop(os.getpid(), None)
        return slot.value if slot else None
