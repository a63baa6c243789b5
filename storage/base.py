"""Where image bytes live: the protocol that every storage backend implements.

An object is a value under a key; it is written once and never changed. The keys form this tree, so
that all objects of a product share a prefix::

    <companyId>/products/<productId>/images/<imageId>.<png|jpg|webp>

A backend is safe to share between threads and to build before a fork: what can't cross a fork (a
connection, a client) is made at first use. It takes plain constructor arguments, keeps its vendor's
exceptions to itself, and raises the errors below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, Protocol, Self

_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9]+)?")
_MAX_KEY: Final = 255

#: The media type of an object, by the extension of its key.
CONTENT_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


class StorageError(Exception):
    """What a backend can't do. ``code`` is a stable name; ``api/errors.py`` maps it to a status."""

    code = "storage_error"


class ObjectNotFound(StorageError):
    """No object has this key, or the key is not one that an object can have."""

    code = "object_not_found"


class StorageUnavailable(StorageError):
    """The store can't be reached, refuses, is full, or fails; what was asked has not happened, as
    far as a reader can see.
    """

    code = "storage_unavailable"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a backend knows of an object without reading it.

    Attributes:
        key: its key.
        size: in bytes.
        modified: when it was written, UTC.
        etag: an opaque validator without quotes (RFC 9110 section 8.8.3): equal only for equal bytes.
    """

    key: str
    size: int
    modified: datetime
    etag: str

    @property
    def content_type(self) -> str:
        """The media type, which the extension of the key tells."""
        return CONTENT_TYPES.get(self.key.rpartition(".")[2], "application/octet-stream")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is open for reading, until its stream is closed or the ``with`` block ends.

    Attributes:
        info: what is known of it.
        stream: its bytes, seekable.
    """

    info: ObjectInfo
    stream: BinaryIO

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def check_key(key: str) -> str:
    """Returns the key if it is one that an object can have.

    Segments are ASCII letters, digits, ``-`` and ``_`` with at most one extension, so no key can
    name a parent folder, a hidden file or an absolute path, in any backend.

    Raises:
        ObjectNotFound: it is not.
    """
    if len(key) > _MAX_KEY or not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise ObjectNotFound("not a key")
    return key


def is_key(key: str) -> bool:
    """Whether an object can have this key."""
    try:
        check_key(key)
    except ObjectNotFound:
        return False
    return True


class UrlSpace(Protocol):
    """What knows which URLs are its own."""

    def key_of(self, url: str) -> str | None:
        """The key of the object that this URL is of; None if the URL is not one of ours."""


class StorageBackend(UrlSpace, Protocol):
    """A store of objects."""

    def put(self, key: str, data: bytes, *, sha256: bytes) -> None:
        """Writes an object. When it returns, the object is durable and its public URL serves it.

        The media type that it is served with follows the extension of the key. ``sha256`` is the
        digest of ``data``, for a store that can check what arrives.

        Raises:
            StorageUnavailable: nothing was written that a reader or a listing can see.
        """

    def open(self, key: str) -> StoredObject:
        """Opens an object for reading.

        Raises:
            ObjectNotFound, StorageUnavailable
        """

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is no error, so a delete can be repeated.

        Raises:
            StorageUnavailable: the object may or may not be there.
        """

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys start with ``prefix``, in no order.

        What an interrupted ``put`` may have left comes too, under keys that can be deleted but not
        opened. What else may be in the store, under a name that is no key, does not.

        Raises:
            StorageUnavailable
        """

    def public_url(self, key: str) -> str:
        """The URL at which the public reads the object. A pure function of the key; ``key_of`` undoes it."""

    def check(self) -> None:
        """Returns if the store can be reached and takes writes; quick, for a start or a probe.

        Raises:
            StorageUnavailable: with a sentence for the operator.
        """


class PublicUrls:
    """URLs that are a base, a slash and the key: what all backends here have."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/") + "/"

    def public_url(self, key: str) -> str:
        return self._base_url + key

    def key_of(self, url: str) -> str | None:
        """Scheme and host are compared without regard to case (RFC 3986)."""
        scheme, _, host_and_path = self._base_url.partition("://")
        host, _, path = host_and_path.partition("/")
        origin = f"{scheme}://{host}"
        if url[: len(origin)].lower() != origin.lower() or not url[len(origin) :].startswith("/" + path):
            return None
        key = url[len(self._base_url) :]
        return key if is_key(key) else None
