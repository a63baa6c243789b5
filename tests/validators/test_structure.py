"""Reading a container takes turns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pictures import png
from tests.validators.conftest import upload_of
from turns import Requester, asking_as
from validators import structure
from validators.base import ImageType, Limits
from validators.containers.structure import Structure
from validators.structure import READERS, WellFormed


class Readers:
    """Counts the files that are read at a time. Each read waits until ``together`` are under way, if they are
    ever so many."""

    def __init__(self, together: int) -> None:
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._together = threading.Barrier(together)

    def read(self, image_type: ImageType, data: bytes, limits: Limits) -> Structure:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self._together.wait(timeout=30)
        with self._lock:
            self._running -= 1
        return READ(image_type, data, limits)


READ = structure.read_structure


@pytest.mark.parametrize(("workspaces", "together"), [(1, 1), (2, 2), (8, READERS)])
def test_a_process_reads_two_files_at_a_time_of_two_workspaces(
    workspaces: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = Readers(together)
    monkeypatch.setattr(structure, "read_structure", readers.read)

    def read(number: int) -> int:
        upload = upload_of(png())
        with asking_as(Requester(f"workspace {number % workspaces}")):
            WellFormed()(upload, Limits())
        return upload.structure.width

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, range(16))) == [64] * 16
    assert readers.most == together
