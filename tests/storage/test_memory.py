from __future__ import annotations

import pytest

from storage.memory import MemoryStorage
from tests.storage.contract import StorageContract


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage("https://images.example.com/media")
