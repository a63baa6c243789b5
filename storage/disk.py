"""Objects as files below one folder, the path of each being its key::

    <root>/<companyId>/products/<productId>/images/<imageId>.jpg

A file appears whole or not at all: it is written under a temporary name in its own folder, synced,
renamed, and the folder is synced. What a crash can leave is a temporary file, which can't be opened
but is listed, so that the sweep finds it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from storage.base import (
    ObjectInfo,
    ObjectNotFound,
    PublicUrls,
    StorageUnavailable,
    StoredObject,
    check_key,
)

TEMPORARY_EXTENSION: Final = "incoming"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class DiskStorage(PublicUrls):
    """Files below ``root``, which is made when it is first written to."""

    def __init__(self, root: Path, base_url: str) -> None:
        super().__init__(base_url)
        self._root = Path(os.path.abspath(root))

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        # The key can't climb out; a symbolic link that someone put below the root could.
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise ObjectNotFound(key)
        return path

    def _make_folder(self, folder: Path) -> None:
        """Makes the folder and what is missing above it, each entry synced into its parent."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        path = self._path(key)
        temporary = path.parent / f"{secrets.token_hex(16)}.{TEMPORARY_EXTENSION}"
        try:
            self._make_folder(path.parent)
            try:
                self._write(temporary, data)
                temporary.rename(path)
            except OSError:
                with suppress(OSError):
                    temporary.unlink()
                raise
            try:
                _sync_folder(path.parent)
            except OSError:
                # Not durable, so not written: nobody may find it.
                with suppress(OSError):
                    path.unlink()
                raise
        except OSError as error:
            raise StorageUnavailable(f"can't write {key}: {error.strerror}") from error

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def open(self, key: str) -> StoredObject:
        path = self._path(key)
        if path.suffix == f".{TEMPORARY_EXTENSION}":
            raise ObjectNotFound(key)
        try:
            stream = path.open("rb", buffering=0)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFound(key) from None
        except OSError as error:
            raise StorageUnavailable(f"can't read {key}: {error.strerror}") from error
        return StoredObject(self._info(key, os.fstat(stream.fileno())), stream)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
            _sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StorageUnavailable(f"can't delete {key}: {error.strerror}") from error

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        # Only the deepest folder that the prefix names whole can hold its keys.
        start = self._root / prefix.rpartition("/")[0]
        for folder, _, names in os.walk(start):
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        yield self._info(key, path.stat())

    def check(self) -> None:
        try:
            self._make_folder(self._root)
        except OSError as error:
            raise StorageUnavailable(f"can't make {self._root}: {error.strerror}") from error
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise StorageUnavailable(f"can't write to {self._root}")

    @staticmethod
    def _info(key: str, status: os.stat_result) -> ObjectInfo:
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return ObjectInfo(key, status.st_size, modified, f"{status.st_mtime_ns:x}-{status.st_size:x}")
