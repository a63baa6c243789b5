"""The upload: validate, store the bytes, append to the catalog.

The order of the writes keeps every reference valid. An upload first stores the bytes durably, then appends
to the catalog atomically. A removal changes the catalog first, then deletes the bytes. So after any
failure every URL in ``imageUrls`` resolves, and no acknowledged image is missing. The failure windows:

==========================================  =====================================================
the store refuses or fails                  nothing is referenced: 503
the process dies after the store            the object is unreferenced: the sweep removes it
the catalog refuses (full, deleted product) the object is deleted again; if that fails or the
                                            process dies first, the sweep removes it
the catalog is unavailable                  the append has not happened: the object is deleted again
the catalog does not answer                 unknown: the append may have happened, so the object
                                            stays. If it has, the client finds its image by its
                                            ``sha256``; if not, the sweep removes the object
removal: the catalog refuses or fails       nothing has changed, or (unknown) the reference is gone
                                            and the sweep removes the object
removal: the store fails, or the process    the reference is gone, as requested: 200, and
dies, after the catalog                     the sweep removes the object and its sizes
==========================================  =====================================================
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from catalog.base import MAX_IMAGES, Catalog, Image, Product
from catalog.errors import ByteQuotaReached, CatalogError, ImageQuotaReached, OutcomeUnknown, ProductFull
from catalog.ids import now
from sizes import keys_with_sizes
from storage.base import StorageBackend, delete_unreferenced
from validators import validate
from validators.base import Limits, Upload

Stage = Callable[[str], AbstractContextManager[object]]

#: The most workspaces that a process remembers because their quota was reached.
_MOST_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Added:
    """The outcome of an upload: the product after the upload, and the URL of the image.

    ``created`` is False if the product already had an image of the same bytes and the client asked for that
    image in this case.
    """

    product: Product
    image_url: str
    created: bool


class Uploads:
    """Adds images to products and removes them.

    Args:
        storage, catalog: the stores of objects and records.
        limits: the most that decoding a picture may cost.
        stage: returns a context for the stage of this name; metrics time it.
        strip_metadata: whether images are stored without their metadata.
        on_left: called when the store fails to delete an object.
    """

    def __init__(  # noqa: PLR0913  # two stores, and what the application decides
        self,
        storage: StorageBackend,
        catalog: Catalog,
        limits: Limits,
        *,
        stage: Stage = nullcontext,
        strip_metadata: bool = True,
        on_left: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._limits = limits
        self._stage = stage
        self._strip_metadata = strip_metadata
        self._on_left = on_left
        # The workspaces whose quota has refused an upload. Only their usage is read before the next body: a
        # spent quota is rare, and the read would delay every upload.
        self._at_quota: set[str] = set()

    def admit(self, workspace_id: str, product_id: str, *, skip_present: bool) -> Product:
        """Reads the product before the body of the request is read: an upload that can't succeed ends here.

        With ``skip_present``, a full product and a spent quota do not end it, because the product may already
        have the image. The first upload that a quota refuses is refused by the append.

        Returns:
            The product, for ``add``.

        Raises:
            ProductNotFound, ProductFull, ImageQuotaReached, ByteQuotaReached, CatalogUnavailable
        """
        product = self._catalog.get_product(workspace_id, product_id)
        if not skip_present:
            if len(product.images) >= MAX_IMAGES:
                raise ProductFull
            if workspace_id in self._at_quota:
                self._check_quota(workspace_id)
        return product

    def _check_quota(self, workspace_id: str) -> None:
        """Refuses any upload to a workspace that has no room for a further image, or for a further byte."""
        quota = self._catalog.get_workspace(workspace_id).quota
        usage = self._catalog.get_usage(workspace_id)
        if quota.images is not None and usage.images >= quota.images:
            raise ImageQuotaReached
        if quota.bytes is not None and usage.bytes >= quota.bytes:
            raise ByteQuotaReached
        self._at_quota.discard(workspace_id)

    def _remember_quota(self, workspace_id: str) -> None:
        if len(self._at_quota) >= _MOST_REMEMBERED:
            self._at_quota.pop()
        self._at_quota.add(workspace_id)

    def add(self, admitted: Product, upload: Upload, *, skip_present: bool, alt: str | None = None) -> Added:
        """Validates an upload, stores it and appends it to the product.

        With ``skip_present``, a product that has an image of the same bytes is not changed.

        Args:
            admitted: the product as ``admit`` returned it. It may have changed since: the append decides.
            alt: the alternative text, in the product's ``source_locale``.

        Raises:
            Rejected: the upload is not an acceptable image.
            ProductNotFound, ProductFull, ImageQuotaReached, ByteQuotaReached: nothing has changed.
            StorageUnavailable, CatalogUnavailable: nothing has changed.
            OutcomeUnknown: the image may have been added.
        """
        with self._stage("validate"):
            validate(upload, self._limits)
        sha256 = upload.sha256.hex()
        if skip_present and admitted.image_with(sha256):
            # The body may have taken long to arrive, and the image may have been removed meanwhile.
            admitted = self._catalog.get_product(admitted.workspace_id, admitted.id)
            if present := admitted.image_with(sha256):
                return Added(admitted, present.url, created=False)
        # 128 random bits: a URL does not help to guess another.
        name = f"{secrets.token_hex(16)}.{upload.image_type.extension}"
        key = f"{admitted.workspace_id}/products/{admitted.id}/images/{name}"
        structure, data = upload.structure, upload.file.data
        stored = structure.stripped if self._strip_metadata else data
        stored_sha256 = upload.sha256 if stored is data else hashlib.sha256(stored).digest()
        with self._stage("store"):
            self._storage.put(key, stored, sha256=stored_sha256)
        width, height = structure.display_size
        image = Image(
            url=self._storage.public_url(key),
            key=key,
            sha256=sha256,
            stored_sha256=stored_sha256.hex(),
            content_type=upload.image_type.content_type,
            size=len(stored),
            width=width,
            height=height,
            orientation=structure.orientation,
            created_at=now(),
            metadata_removed=tuple(sorted(structure.removed)) if self._strip_metadata else (),
            digital_source_type=structure.digital_source_type,
            alt=None if alt is None else {admitted.source_locale: alt},
        )
        return self._append(admitted, image, skip_present=skip_present)

    def check(self, upload: Upload) -> None:
        """Validates an upload without storing it.

        Raises:
            Rejected: the upload is not an acceptable image.
        """
        validate(upload, self._limits)

    def _append(self, admitted: Product, image: Image, *, skip_present: bool) -> Added:
        try:
            with self._stage("append"):
                appended = self._catalog.append_image(
                    admitted.workspace_id, admitted.id, image, unless_present=skip_present, seen=admitted
                )
        except OutcomeUnknown:
            raise
        except CatalogError as error:
            if isinstance(error, ImageQuotaReached | ByteQuotaReached):
                self._remember_quota(admitted.workspace_id)
            self._discard(image)
            raise
        created = appended.image is image
        if not created:  # another request added the same bytes meanwhile
            self._discard(image)
        return Added(appended.product, appended.image.url, created)

    def remove(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None
    ) -> tuple[Product, Image]:
        """Removes the image at a zero-based index, and its object and sizes if this server stores it.

        Returns:
            The product after the removal, and the removed image.

        Raises:
            ProductNotFound, ImageNotFound, VersionMismatch, CatalogUnavailable
        """
        product, image = self._catalog.remove_image(
            workspace_id, product_id, index, expected_version=expected_version
        )
        self._discard(image, with_sizes=True)
        return product, image

    def _discard(self, image: Image, *, with_sizes: bool = False) -> None:
        """Deletes the object of an unreferenced image.

        Without ``with_sizes``, no product ever had the image, so it has no sizes to delete.
        """
        if image.key is not None:
            keys = keys_with_sizes(self._storage, image.key) if with_sizes else (image.key,)
            delete_unreferenced(self._storage, keys, self._on_left)
