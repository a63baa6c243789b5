"""Completes the display sizes of images that earlier versions stored.

Earlier versions recorded the size of an image as it is stored, and no orientation. The stored file still
has the orientation, so its size is read again. The result depends on the file alone, so an interrupted run
can be repeated. Records that have an orientation are not changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from catalog.attempts import attempts
from catalog.base import Catalog, Image, Product
from catalog.errors import ProductNotFound, VersionMismatch
from storage.base import ObjectNotFound, StorageBackend
from validators.base import JPEG, PNG, WEBP, Limits, Rejected
from validators.structure import read_structure

#: How long the change of one product is retried on conflicts with concurrent changes, in seconds.
_PATIENCE: Final = 60.0

_TYPES: Final = {image_type.content_type: image_type for image_type in (PNG, JPEG, WEBP)}

# The files were accepted under earlier limits. Only the container is read, and nothing is decoded.
_ANY: Final = 2**62
_NO_LIMITS: Final = Limits(max_pixels=_ANY, max_decode_bytes=_ANY, max_jpeg_scans=_ANY, max_chunks=_ANY)


class DisplaySizes:
    """Completes the records of hosted images that have no orientation.

    Args:
        catalog: the catalog that references the images.
        storage: the storage that has their objects.

    Attributes:
        completed: the number of images whose record has an orientation now.
    """

    def __init__(self, catalog: Catalog, storage: StorageBackend) -> None:
        self._catalog = catalog
        self._storage = storage
        self.completed = 0

    def count(self) -> int:
        """The number of images whose record is not complete."""
        return sum(len(_due(product)) for product in self._catalog.iter_products())

    def run(self) -> Iterator[str]:
        """Completes the records, product by product. The server may be running.

        Yields:
            A sentence for each image whose file is missing or can't be read; its record is not changed.

        Raises:
            StorageUnavailable, CatalogUnavailable: records that were completed before stay completed.
        """
        for product in self._catalog.iter_products():
            if _due(product):
                yield from self._complete(product)

    def _complete(self, product: Product) -> list[str]:
        """Completes the images of a product in one change; returns the problems of the others."""
        for _ in attempts(_PATIENCE):
            try:
                current = self._catalog.get_product(product.workspace_id, product.id, for_change=True)
                completed, problems = self._read(current)
                if completed:
                    images = [completed.get(image.key, image) for image in current.images]
                    self._catalog.update_product(
                        current.workspace_id,
                        current.id,
                        {"images": images},
                        expected_version=current.version,
                    )
            except VersionMismatch:
                continue
            except ProductNotFound:  # it was deleted meanwhile
                return []
            self.completed += len(completed)
            return problems
        raise AssertionError  # the attempts end with an exception

    def _read(self, product: Product) -> tuple[dict[str | None, Image], list[str]]:
        """The completed images of a product by their keys, and the problems of the others.

        Raises:
            StorageUnavailable
        """
        completed: dict[str | None, Image] = {}
        problems: list[str] = []
        for image in _due(product):
            try:
                completed[image.key] = self._completed(image)
            except ObjectNotFound:
                if self._is_current(product, image):
                    problems.append(f"product {product.id}: {image.key} is not in the storage")
            except Rejected as error:
                problems.append(f"product {product.id}: {image.key} can't be read: {error}")
        return completed, problems

    def _is_current(self, product: Product, image: Image) -> bool:
        """Whether the product still has the image. A removal deletes the object after the reference."""
        try:
            now = self._catalog.get_product(product.workspace_id, product.id, for_change=True)
        except ProductNotFound:
            return False
        return any(other.key == image.key for other in now.images)

    def _completed(self, image: Image) -> Image:
        """The image with its orientation, and its size as a viewer sees it.

        Raises:
            ObjectNotFound: the storage does not have it.
            Rejected: the file is not a picture.
            StorageUnavailable
        """
        with self._storage.open(image.key or "") as stored:
            data = stored.stream.read()
        structure = read_structure(_TYPES[image.content_type or ""], data, _NO_LIMITS)
        width, height = structure.display_size
        return replace(image, width=width, height=height, orientation=structure.orientation)


def _due(product: Product) -> list[Image]:
    return [image for image in product.images if image.key is not None and image.orientation is None]
