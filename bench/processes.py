"""The processor time and the memory of a server's processes, from Linux's /proc."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.1


def tree(pid: int) -> list[int]:
    """The ids of a process and of all its descendants."""
    pids = [pid]
    for parent in pids:  # the list grows meanwhile
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def cpu_seconds(pid: int) -> float:
    """The CPU seconds of a tree of processes, with those of ended threads."""
    total = 0
    for process in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])  # utime and stime: proc_pid_stat(5)
    return total / _TICKS


def bytes_read(pid: int) -> int:
    """The bytes that a tree of processes has read through system calls, without those from sockets."""
    total = 0
    for process in tree(pid):
        lines = Path(f"/proc/{process}/io").read_text().splitlines()
        total += int(lines[0].removeprefix("rchar: "))
    return total


def resident_bytes(pid: int) -> int:
    """The resident bytes of a tree of processes; memory that several of them share counts once (PSS)."""
    total = 0
    for process in tree(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class PeakMemory:
    """The most memory that samples show for a tree of processes while a ``with`` block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self.bytes = max(self.bytes, resident_bytes(self._pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
