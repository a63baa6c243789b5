"""The folder in which the processes of a server count their metrics.

It is in memory where that is possible, and is removed when the server ends. A server that was killed leaves
its folder, so the next start removes the folders of dead servers. A server is alive as long as one of its
processes holds the lock on a file in its folder.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "vetrina-metrics-"
_LOCK: Final = "server.lock"
#: The open lock files of this process: closing one gives up its lock. Forks inherit them.
_locks: Final[list[int]] = []


def memory() -> Path:
    """The folder whose files are in memory; that of temporary files where there is none."""
    shared = Path("/dev/shm")  # noqa: S108  # mkdtemp() makes a private folder in it
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def make_metrics_folder(parent: Path) -> Path:
    """Makes the folder of this server, which is removed when this process ends.

    Args:
        parent: a folder that other servers may use too.
    """
    remove_dead(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    _locks.append(os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600))
    fcntl.flock(_locks[-1], fcntl.LOCK_EX)
    atexit.register(_remove, folder, os.getpid())
    return folder


def remove_dead(parent: Path) -> None:
    """Removes the folders of servers of this user that are not running any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another server removes it at the same time
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            if _is_dead(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        # The folder is that of a server that is just starting, or of one of an earlier version, which may be
        # running.
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _remove(folder: Path, process: int) -> None:
    """Removes the folder, unless this is a fork of the process that created it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
