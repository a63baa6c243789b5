"""Sizes: a picture in other widths, made when one is first requested, and deleted with its image.

A size is an object beside that of its image, so every storage backend has sizes with no code for them, and
the catalog knows nothing of them::

    <companyId>/products/<productId>/images/<imageId>.jpg
    <companyId>/products/<productId>/images/<imageId>_640w.webp

One thread of one process makes a missing size, and the other requests for it wait. That holds for all
processes that a server forks. Several machines do not exclude each other: each may make the same size once,
and the last write wins, which has the same bytes.

The removal of an image changes the catalog first, then deletes the object, then lists the sizes of the image
and deletes them. The maker of a size writes it, and then reads the catalog again:

==========================================  =====================================================
the size is written before it is listed     the removal deletes it
the size is written later                   the catalog has no image any more: the maker deletes it,
                                            and the answer is 404
the catalog does not answer after the write the maker deletes it, and the answer is 503
the process dies between write and look-up  the sweep removes the size if its image is gone
==========================================  =====================================================
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from catalog.base import Catalog, Image
from catalog.errors import CatalogError, ProductNotFound
from errors import Unavailable
from key_locks import KeyLocks
from resizing import NotResizable, encoding_memory, memory, resize, sizes_of
from storage.base import ObjectNotFound, StorageBackend, StorageUnavailable, UrlSpace
from turns import Bounds, ClientGone, Requester, ServerBusy, ShareUsed, Turns, asking_as, never
from validators.decoding.memory import DECODE_MEMORY

CONTENT_TYPE: Final = "image/webp"

#: The key of a size.
_KEY: Final = re.compile(
    r"(?P<stem>(?P<workspace>[0-9a-f]{24})/products/(?P<product>[0-9a-f]{24})/images/[0-9a-f]+)"
    r"_(?P<width>[1-9][0-9]{0,4})w\.webp"
)

#: How long a request waits for another one that makes the same size, in seconds.
_PATIENCE: Final = 10.0
#: The requests of a process that make a size or wait for one, of all workspaces and of one. They hold
#: threads: a worker has 320 (gunicorn.conf.py), of which uploads may hold 128.
_REQUESTS: Final = 48
_OWN_REQUESTS: Final = 32
#: The sizes that a process makes at a time. Uploads need the other processors.
_MAKERS: Final = max(1, (os.cpu_count() or 1) // 2)

#: Places for requests that make a size or wait for one. A request gets a place at once, or none.
_PLACES: Final = Turns(
    Bounds(requests=_REQUESTS, own_requests=_OWN_REQUESTS, own_turns=_OWN_REQUESTS, seconds=0)
)
#: Turns for making a size. The workspaces whose images they are take turns.
_TURNS: Final = Turns(
    Bounds(requests=_REQUESTS, own_requests=_REQUESTS, own_turns=_MAKERS, seconds=10, queue=_REQUESTS)
)
#: All sizes together count as one workspace when decode memory is divided, so that requests for sizes of
#: many workspaces delay an upload as little as requests for sizes of one.
_DECODES: Final = Requester("sizes")

#: How long requests are redirected to a stored size without a look-up, in seconds, and how many stored sizes
#: are remembered.
_REMEMBERED_FOR: Final = 3600.0
_REMEMBERED: Final = 10_000

log = logging.getLogger(__name__)


def stem_of(key: str) -> str:
    """The part of a key that an image and its sizes share: the key without extension and width."""
    match = _KEY.fullmatch(key)
    return match["stem"] if match else key.rpartition(".")[0]


def width_of(key: str) -> int | None:
    """The width of the size that has this key; None if it is not the key of a size."""
    match = _KEY.fullmatch(key)
    return int(match["width"]) if match else None


def keys_with_sizes(storage: StorageBackend, key: str) -> Iterator[str]:
    """The key of an image, then those of its sizes that are stored.

    The sizes are listed only after the caller has deleted the image's object and asks for the next key.

    Raises:
        StorageUnavailable
    """
    yield key
    for info in storage.list(stem_of(key) + "_"):
        if width_of(info.key):
            yield info.key


def transformation_url(public_url: str, width: int, key: str) -> str:
    """The URL at which Cloudflare serves an object in another width, in a format that the client accepts.

    See https://developers.cloudflare.com/images/transform-images/transform-via-url/.

    Args:
        public_url: the public URL of the bucket, on a zone with transformations.
        width: the width in pixels.
        key: the key of the object.
    """
    zone = urlsplit(public_url)
    return f"{zone.scheme}://{zone.netloc}/cdn-cgi/image/width={width},format=auto{zone.path}/{key}"


class SizeUnavailable(Unavailable):
    """The size can't be made now: the server has no room for it, or another request takes too long."""

    code = "size_unavailable"
    retry_after = 2


@dataclass(frozen=True, slots=True)
class Size:
    """A size of an image, which may be stored or not.

    Attributes:
        width, height: in pixels.
        key: the key of its object.
        url: its public URL.
    """

    width: int
    height: int
    key: str
    url: str


class Sizes:
    """The sizes of hosted images.

    Args:
        storage, catalog: the stores of objects and records.
        widths: the widths that a size may have, in pixels.
        urls: the public URLs of sizes, by their keys.
        transformations: the public URL of the bucket if Cloudflare makes the sizes; empty: this server does.
        max_memory: the memory that all decodes of a process may take together, in bytes.
        on_outcome: is called with ``made``, ``failed``, or ``refused`` if there is no room for the work.
        on_wait: is called with the seconds that a request waited before a size was made.
    """

    def __init__(  # noqa: PLR0913  # two stores, and what the application decides
        self,
        storage: StorageBackend,
        catalog: Catalog,
        widths: Iterable[int],
        *,
        urls: UrlSpace,
        transformations: str = "",
        max_memory: int = 400_000_000,
        on_outcome: Callable[[str], object] = lambda _: None,
        on_wait: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self.widths = frozenset(widths)
        self._urls = urls
        self._transformations = transformations
        self._max_memory = max_memory
        self._on_outcome = on_outcome
        self._on_wait = on_wait
        self._locks = KeyLocks()
        self._present: dict[str, float] = {}

    @property
    def are_cloudflares(self) -> bool:
        """Whether Cloudflare makes the sizes, and not this server."""
        return bool(self._transformations)

    def of(self, image: Image) -> list[Size]:
        """The sizes of an image, in ascending width: those that are narrower than the image.

        A size that is too tall for a WebP, or takes too much memory to encode, is left out.

        An image on another server has no sizes. Neither has an image whose record does not say how a viewer
        turns it (``display_sizes.py``), because its recorded width may be its height.
        """
        if image.key is None or image.orientation is None or not image.width or not image.height:
            return []
        stem = stem_of(image.key)
        has_alpha = image.content_type != "image/jpeg"  # PNG and WebP may have it
        return [
            self._size(image.key, f"{stem}_{width}w.webp", width, height)
            for width, height in sizes_of(image.width, image.height, self.widths)
            if encoding_memory(width, height, has_alpha=has_alpha) <= self._max_memory
        ]

    def _size(self, image_key: str, key: str, width: int, height: int) -> Size:
        if self._transformations:
            url = transformation_url(self._transformations, width, image_key)
        else:
            url = self._urls.public_url(key)
        return Size(width, height, key, url)

    def locate(self, key: str, *, is_gone: Callable[[], bool] = never) -> str:
        """The URL at which a store that serves its objects has a size. The size is made if it is missing.

        Raises:
            The exceptions of ``require``.
        """
        if self._transformations:
            return self._find(key)[1].url
        if self._present.get(key, 0.0) < time.monotonic():
            self.require(key, is_gone=is_gone)
            if len(self._present) >= _REMEMBERED:
                self._present.clear()
            self._present[key] = time.monotonic() + _REMEMBERED_FOR
        return self._storage.public_url(key)

    def require(self, key: str, *, is_gone: Callable[[], bool] = never) -> None:
        """Returns when a size is stored. It is made if it is missing.

        Args:
            key: the key of the size.
            is_gone: whether the client has closed its connection.

        Raises:
            ObjectNotFound: no image of a product has a size with this key.
            SizeUnavailable, StorageUnavailable, CatalogUnavailable: the request may be repeated.
            ClientGone: the client closed its connection before the size was made.
        """
        image, size = self._find(key)
        if self._is_stored(key):
            return
        requester = Requester(key.partition("/")[0], is_gone)
        started = time.monotonic()
        try:
            with (
                asking_as(requester),
                _PLACES.turn(1, _REQUESTS),
                self._locks.hold(key, timeout=_PATIENCE),
            ):
                if self._is_stored(key):  # another request has made it meanwhile
                    self._on_wait(time.monotonic() - started)
                    return
                with _TURNS.turn(1, _MAKERS):
                    self._on_wait(time.monotonic() - started)
                    self.make(image, size)
        except (ServerBusy, ShareUsed, TimeoutError) as error:
            self._on_outcome("refused")
            raise SizeUnavailable(str(error)) from None

    def make(self, image: Image, size: Size) -> None:
        """Makes a size and stores it, whether it is stored already or not.

        Raises:
            ObjectNotFound: the image is gone.
            ServerBusy, SizeUnavailable: there is no memory for it.
            NotResizable: the image can't be decoded.
            StorageUnavailable, CatalogUnavailable
        """
        with self._counting():
            with self._storage.open(image.key or "") as stored:
                data = stored.stream.read()
            try:
                with asking_as(_DECODES), DECODE_MEMORY.turn(memory(data, size.width), self._max_memory):
                    made = resize(data, size.width)
            except MemoryError:
                raise SizeUnavailable("the process ran out of memory") from None
            except NotResizable as error:
                log.error("can't make a size of %s: %s", image.key, error)  # noqa: TRY400  # the cause is in it
                raise
            self._storage.put(size.key, made, sha256=hashlib.sha256(made).digest())
            self._require_image(size.key)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Counts a size as made, or as failed.

        If the image is gone, nothing is counted. ``require`` counts the refusals of a busy server.
        """
        try:
            yield
        except (ObjectNotFound, ServerBusy, ShareUsed, ClientGone):
            raise
        except Exception:
            self._on_outcome("failed")
            raise
        self._on_outcome("made")

    def _require_image(self, key: str) -> None:
        """Deletes the size with this key, and raises, unless its image is still there."""
        try:
            self._find(key)
        except (CatalogError, ObjectNotFound):
            with suppress(StorageUnavailable):  # it is left for the sweep
                self._storage.delete(key)
            raise

    def _find(self, key: str) -> tuple[Image, Size]:
        """The size that has this key, and its image.

        Raises:
            ObjectNotFound: there is no such image, or it has no size of this width.
            CatalogUnavailable
        """
        match = _KEY.fullmatch(key)
        if match is None or int(match["width"]) not in self.widths:
            raise ObjectNotFound(key)
        try:
            product = self._catalog.get_product(match["workspace"], match["product"])
        except ProductNotFound:
            raise ObjectNotFound(key) from None
        for image in product.images:
            if image.key is not None and stem_of(image.key) == match["stem"]:
                for size in self.of(image):
                    if size.key == key:
                        return image, size
        raise ObjectNotFound(key)

    def _is_stored(self, key: str) -> bool:
        try:
            self._storage.info(key)
        except ObjectNotFound:
            return False
        return True
