"""The protocol that every storage backend implements, and its errors.

An object is a sequence of bytes under a key. It is written once and never changed. The keys form this tree,
in which all objects of a product share a prefix::

    <companyId>/products/<productId>/images/<imageId>.<png|jpg|webp>
    <companyId>/products/<productId>/images/<imageId>_<width>w.webp     (a size of the image: sizes.py)

A backend can be shared between threads and built before a fork: it creates what cannot cross a fork (a
connection, a client) at first use. It takes plain constructor arguments. It raises the errors below and never
those of its vendor.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, Protocol, Self

from errors import DomainError, Unavailable

_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9]+)?")
_MAX_KEY: Final = 255
#: How long the objects of a request may take to be deleted, all together, in seconds.
_PATIENCE: Final = 8.0

#: The media type of an object, by the extension of its key.
CONTENT_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}

log = logging.getLogger(__name__)


class StorageError(DomainError):
    """A backend could not do what was requested."""


class ObjectNotFound(StorageError):
    """No object has this key, or the key is invalid."""

    code = "object_not_found"
    message = "Not found"


class StorageUnavailable(Unavailable, StorageError):
    """The store is unreachable, refuses, is full, or fails. Readers see no change."""

    code = "storage_unavailable"


class ObjectLocked(StorageUnavailable):
    """The store keeps this object, which was to be deleted: a lock or a retention rule protects it.

    The store is available: other calls succeed.
    """


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The properties of an object that a backend knows without reading it.

    Attributes:
        key: the key.
        size: in bytes.
        modified: UTC; when it was written.
        etag: an opaque validator without quotes (RFC 9110 section 8.8.3). Equal validators mean equal bytes.
    """

    key: str
    size: int
    modified: datetime
    etag: str

    @property
    def content_type(self) -> str:
        """The media type, which follows the extension of the key."""
        return CONTENT_TYPES.get(self.key.rpartition(".")[2], "application/octet-stream")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is open for reading until its stream is closed or the ``with`` block ends.

    Attributes:
        info: its properties.
        stream: its bytes, seekable.
    """

    info: ObjectInfo
    stream: BinaryIO

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def check_key(key: str) -> str:
    """Returns the key if it is valid.

    Segments consist of ASCII letters, digits, ``-`` and ``_``, with at most one extension. So no key names a
    parent folder, a hidden file or an absolute path, in any backend.

    Raises:
        ObjectNotFound: the key is invalid.
    """
    if len(key) > _MAX_KEY or not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise ObjectNotFound("not a key")
    return key


def is_key(key: str) -> bool:
    """Whether the key is valid."""
    try:
        check_key(key)
    except ObjectNotFound:
        return False
    return True


class UrlSpace(Protocol):
    """A set of URLs, each of which stands for a key."""

    def public_url(self, key: str) -> str:
        """The public URL of an object. A pure function of the key."""

    def key_of(self, url: str) -> str | None:
        """The inverse of ``public_url``: the key whose URL is exactly this one; None if there is none."""


class StorageBackend(UrlSpace, Protocol):
    """A store of objects.

    Attributes:
        serves_objects: whether the store answers its public URLs itself, as a bucket with a domain does. If
            not, the application serves them at ``/media/``.
    """

    serves_objects: bool

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        """Writes an object. When it returns, the object is durable and its public URL serves it.

        The media type of the object follows the extension of the key. ``sha256`` is the 32-byte digest of
        ``data``, for a store that verifies what it receives.

        Raises:
            StorageUnavailable: nothing was written that a reader or a listing can see.
        """

    def open(self, key: str) -> StoredObject:
        """Opens an object for reading.

        Raises:
            ObjectNotFound, StorageUnavailable
        """

    def info(self, key: str) -> ObjectInfo:
        """The properties of an object, without its bytes.

        Raises:
            ObjectNotFound, StorageUnavailable
        """

    def delete(self, key: str) -> None:
        """Deletes an object. A missing object is not an error, so a deletion can be repeated.

        Raises:
            ObjectLocked: the store keeps the object.
            StorageUnavailable: the object may or may not exist.
        """

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys start with ``prefix`` and come after ``after``, in the order of their keys.

        A listing takes no memory for what it has returned, so it can be longer than the memory is large.

        The remains of an interrupted ``put`` are listed too, under keys that can be deleted and not opened.
        Files whose names are not valid keys are not listed.

        Raises:
            StorageUnavailable
        """

    def check(self) -> None:
        """Returns if the store is reachable and accepts writes. It is quick, for the start and for probes.

        If asking costs money, a good answer may be up to 30 seconds old.

        Raises:
            StorageUnavailable: with a sentence for the operator.
        """


class PublicUrls:
    """URLs of the form base, slash, key, which all backends here use."""

    serves_objects = False

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/") + "/"

    def public_url(self, key: str) -> str:
        return self._base_url + key

    def key_of(self, url: str) -> str | None:
        key = url.removeprefix(self._base_url)
        return key if key != url and is_key(key) else None


def delete_unreferenced(storage: StorageBackend, keys: Iterable[str], on_left: Callable[[], None]) -> int:
    """Deletes objects that nothing references. What it leaves, the sweep removes later.

    The client waits for this, so it ends at the first failure of the store or when it takes too long. An
    object that is locked does not keep the others.

    Args:
        storage: the store.
        keys: the keys of the objects; what they raise as they are iterated ends the deletion too.
        on_left: called when an object may be left.

    Returns:
        How many were deleted.
    """
    deleted = 0
    end = time.monotonic() + _PATIENCE
    try:
        for key in keys:
            if time.monotonic() > end:
                raise StorageUnavailable("the store takes too long")
            try:
                storage.delete(key)
                deleted += 1
            except ObjectLocked as error:
                on_left()
                log.warning("%s", error)
    except StorageUnavailable as error:
        on_left()
        log.warning("left objects for the sweep: %s", error)
    return deleted
