"""Objects in the memory of the process: a test double."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime

from storage.base import ObjectInfo, ObjectNotFound, PublicUrls, StoredObject, check_key


class MemoryStorage(PublicUrls):
    """A dictionary of objects, which is lost when the process ends."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        info = ObjectInfo(check_key(key), len(data), datetime.now(UTC), sha256.hex())
        self._objects[key] = (info, bytes(data))

    def open(self, key: str) -> StoredObject:
        info, data = self._find(key)
        return StoredObject(info, io.BytesIO(data))

    def info(self, key: str) -> ObjectInfo:
        return self._find(key)[0]

    def _find(self, key: str) -> tuple[ObjectInfo, bytes]:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectNotFound(key) from None

    def delete(self, key: str) -> None:
        self._objects.pop(check_key(key), None)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        keys = sorted(key for key in list(self._objects) if key.startswith(prefix) and key > after)
        return iter([stored[0] for key in keys if (stored := self._objects.get(key))])

    def check(self) -> None:
        """Memory is always available."""
