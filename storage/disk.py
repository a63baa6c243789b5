"""Objects as files below one folder. The path of a file is its key::

    <root>/<companyId>/products/<productId>/images/<imageId>.jpg

A file appears whole or not at all: it is written under a temporary name in its final folder, synced and
renamed, and then the folder is synced. A crash can leave a temporary file. It cannot be opened, but it is
listed, so the sweep finds it.
"""

from __future__ import annotations

import errno
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
    is_key,
)

TEMPORARY_EXTENSION: Final = "incoming"

_REMEMBERED_FOLDERS: Final = 10_000


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class DiskStorage(PublicUrls):
    """Files below ``root``, a folder that the first write creates."""

    def __init__(self, root: Path, base_url: str) -> None:
        super().__init__(base_url)
        # A string, because building Path objects took a tenth of the Python time of an upload.
        self._root = os.path.abspath(root)
        self._inside: set[str] = set()

    def _path(self, key: str) -> str:
        path = f"{self._root}/{check_key(key)}"
        self._require_inside(os.path.dirname(path))
        return path

    def _require_inside(self, folder: str) -> None:
        """Raises ObjectNotFound if a symbolic link leads the folder out of the root.

        A valid key alone cannot leave the root. Each folder is checked once, because a check makes a system
        call for every part of the path.
        """
        if folder in self._inside:
            return
        root = os.path.realpath(self._root)
        if os.path.commonpath([os.path.realpath(folder), root]) != root:
            raise ObjectNotFound("outside the root")
        if len(self._inside) >= _REMEMBERED_FOLDERS:
            self._inside.clear()
        self._inside.add(folder)

    def _make_folder(self, folder: str) -> None:
        """Creates the folder and its missing parents, and syncs each into its own parent."""
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        self._make_folder(parent)
        with suppress(FileExistsError):
            os.mkdir(folder)
        _sync_folder(parent)

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = f"{folder}/{secrets.token_hex(16)}.{TEMPORARY_EXTENSION}"
        try:
            self._make_folder(folder)
            try:
                self._write(temporary, data)
                os.rename(temporary, path)
            except OSError:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            try:
                _sync_folder(folder)
            except OSError:
                # The file is not durable, so it counts as not written and must not be found.
                with suppress(OSError):
                    os.unlink(path)
                raise
        except OSError as error:
            raise StorageUnavailable(f"can't write {key}: {error.strerror}") from error

    @staticmethod
    def _write(path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def open(self, key: str) -> StoredObject:
        path = self._path(key)
        if path.endswith(f".{TEMPORARY_EXTENSION}"):
            raise ObjectNotFound(key)
        try:
            # The file itself must not be a link either.
            stream = open(path, "rb", buffering=0, opener=_without_links)  # noqa: SIM115  # the caller closes it
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFound(key) from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ObjectNotFound(key) from None
            raise StorageUnavailable(f"can't read {key}: {error.strerror}") from error
        return StoredObject(self._info(key, os.fstat(stream.fileno())), stream)

    def info(self, key: str) -> ObjectInfo:
        with self.open(key) as stored:
            return stored.info

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            os.unlink(path)
            _sync_folder(os.path.dirname(path))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StorageUnavailable(f"can't delete {key}: {error.strerror}") from error

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        # All matching keys are below the deepest folder that the prefix names completely.
        folder = prefix[: prefix.rfind("/") + 1]
        for key in self._keys_below(folder, after):
            if key > after and key.startswith(prefix) and is_key(key):
                with suppress(FileNotFoundError):  # deleted since the folder was read
                    yield self._info(key, os.stat(f"{self._root}/{key}"))

    def _keys_below(self, folder: str, after: str) -> Iterator[str]:
        """The paths of all files below a folder, in order, except in folders that precede ``after``.

        Args:
            folder: relative to the root; empty, or with a slash at its end.
            after: a key.
        """
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                # A folder's name has its slash, so that the order is that of the keys.
                names = sorted(
                    entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StorageUnavailable(f"can't list {folder}: {error.strerror}") from error
        for name in names:
            path = folder + name
            if not name.endswith("/"):
                yield path
            elif path > after or after.startswith(path):
                yield from self._keys_below(path, after)

    def check(self) -> None:
        try:
            self._make_folder(self._root)
        except OSError as error:
            raise StorageUnavailable(f"can't make {self._root}: {error.strerror}") from error
        # Permissions alone do not show a full disk or a read-only file system. The name is no valid key, so
        # the file is never listed.
        path = f"{self._root}/.check-{secrets.token_hex(8)}"
        try:
            try:
                self._write(path, b"x")
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(path)
        except OSError as error:
            raise StorageUnavailable(f"can't write to {self._root}: {error.strerror}") from error

    @staticmethod
    def _info(key: str, status: os.stat_result) -> ObjectInfo:
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return ObjectInfo(key, status.st_size, modified, f"{status.st_mtime_ns:x}-{status.st_size:x}")
