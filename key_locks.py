"""Locks by key, between the threads of a process and the processes that a server forks."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from process_local import ProcessLocal

#: The keys share this many locks. Two keys rarely have the same lock, and then one waits for the other.
_LOCKS: Final = 4096
#: How often a process checks whether another process has released a lock, in seconds.
_POLL: Final = 0.01


def _unnamed_file() -> int:
    """Opens a file without a name, in memory where the system supports that."""
    with suppress(AttributeError, OSError):  # only Linux has it, and a sandbox may refuse it
        return os.memfd_create("vetrina-locks")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class KeyLocks:
    """Locks by key.

    Record locks (POSIX ``fcntl``) on an unnamed file exclude other processes. Thread locks exclude other
    threads, which record locks do not. A process inherits the file by a fork. Processes that do not descend
    from the one that made the object have another file and do not exclude each other.
    """

    def __init__(self) -> None:
        self._file = _unnamed_file()
        weakref.finalize(self, os.close, self._file)
        self._threads = ProcessLocal(lambda: [threading.Lock() for _ in range(_LOCKS)])

    @contextmanager
    def hold(self, key: str, *, timeout: float) -> Iterator[None]:
        """Holds the lock of a key while the block runs.

        Args:
            key: any text.
            timeout: the longest wait, in seconds.

        Raises:
            TimeoutError: another thread or process held the lock during the whole wait.
        """
        end = time.monotonic() + timeout
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % _LOCKS
        lock = self._threads.get()[number]
        if not lock.acquire(timeout=timeout):
            raise TimeoutError(key)
        try:
            self._exclude_processes(number, end)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)
        finally:
            lock.release()

    def _exclude_processes(self, number: int, end: float) -> None:
        """Takes the record lock of this number.

        Raises:
            TimeoutError: another process holds it until ``end``.
        """
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
                if time.monotonic() >= end:
                    raise TimeoutError from None
                time.sleep(_POLL)
            else:
                return
