"""Writes the products of a workspace into a folder: ``products.json``, ``products.csv`` and the pictures.

The pictures of a product are in a folder that is named for its model, as an import of a folder expects. A
file ``INCOMPLETE`` marks the folder until everything is written.
"""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from catalog.base import Catalog, Image, Product
from catalog.errors import ProductNotFound
from moving import manifest
from moving.formulas import escaped
from moving.items import Stopped
from moving.names import is_clutter, normal
from storage.base import ObjectNotFound, StorageBackend

#: The file that marks a folder whose export has not ended.
INCOMPLETE: Final = "INCOMPLETE"
CSV_NAME: Final = "products.csv"

#: What no common file system allows in a name, and what a shell or a URL may misread.
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]')
#: Names that Windows reserves for devices, with any extension.
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_MAX_NAME: Final = 100

_COLUMNS: Final = ("model", "name", "category", "description", "sourceLocale", "status")


class Names:
    """Gives each model a file name that is unique, on file systems that ignore case too."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, model: str) -> str:
        """The file name of a model: the model itself if it is a valid file name."""
        plain = _UNSAFE.sub("_", normal(model)).strip(" .")
        while len(plain.encode()) > _MAX_NAME:
            plain = plain[:-1]
        plain = plain.rstrip(" .")
        if not plain or is_clutter(plain) or _RESERVED.fullmatch(plain):
            plain = f"_{plain}"
        name, number = plain, 1
        while name.casefold() in self._used:
            number += 1
            name = f"{plain}~{number}"
        self._used.add(name.casefold())
        return name


class Export:
    """Exports the products of one workspace, archived ones too.

    Args:
        catalog, storage: the stores of records and objects.
        workspace_id: the workspace whose products are exported.
        target: the folder, which is made. It must be empty, or have an export that did not end.

    Attributes:
        picture_count: the number of pictures to write.
        products, pictures: the numbers of those that were written.
        size: the bytes of the written pictures.

    Raises:
        WorkspaceNotFound, CatalogUnavailable
    """

    def __init__(self, catalog: Catalog, storage: StorageBackend, workspace_id: str, target: Path) -> None:
        self._catalog = catalog
        self._storage = storage
        self._target = target
        catalog.get_workspace(workspace_id)
        self._workspace_id = workspace_id
        # The order of the ids has the oldest product first, so an import creates the products in this order.
        # Only ids are kept, because a workspace may have more than fits into memory.
        self._ids: list[str] = []
        self.products = self.pictures = self.size = self.picture_count = 0
        for product in catalog.iter_products():
            if product.workspace_id == workspace_id:
                self._ids.append(product.id)
                self.picture_count += sum(image.key is not None for image in product.images)

    def run(self) -> Iterator[str]:
        """Writes the folder. Yields for each picture its problem, or an empty text.

        Raises:
            Stopped: the folder can't be used.
            OSError: a file can't be written.
            StorageUnavailable
        """
        self._prepare()
        names = Names()
        with (
            _table(self._target / CSV_NAME) as add_row,
            manifest.writing(self._target / manifest.NAME) as add_entry,
        ):
            for product_id in self._ids:
                product = self._current(product_id)
                if product is None:
                    continue
                images: list[dict[str, Any]] = []
                for problem, entry in self._write_images(product, names.of(product.model)):
                    images += [entry] if entry else []
                    if problem is not None:
                        yield problem
                add_row(product, images)
                add_entry(manifest.product_entry(product, images))
                self.products += 1
        (self._target / INCOMPLETE).unlink()

    def _current(self, product_id: str) -> Product | None:
        """The product as it is now; None if it was deleted meanwhile."""
        try:
            return self._catalog.get_product(self._workspace_id, product_id)
        except ProductNotFound:
            return None

    def _prepare(self) -> None:
        self._target.mkdir(parents=True, exist_ok=True)
        present = [path for path in self._target.iterdir() if not is_clutter(path.name)]
        if present and not (self._target / INCOMPLETE).is_file():
            raise Stopped(f"{self._target} is not empty")
        for path in present:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (self._target / INCOMPLETE).write_text("This export has not ended. Run it again.\n")

    def _write_images(
        self, product: Product, folder: str
    ) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
        """Writes the pictures of a product; yields the problem and the entry of each image.

        The problem is None for an external image, which has no file.
        """
        for number, image in enumerate(product.images, 1):
            if image.key is None:
                yield None, {"url": image.url, "alt": dict(image.alt or {})}
                continue
            name = f"{folder}/{folder}_{number}.{image.key.rpartition('.')[2]}"
            try:
                with self._storage.open(image.key) as stored:
                    data = stored.stream.read()
            except ObjectNotFound:
                current = self._current(product.id)
                if current is None or image.url not in current.image_urls:  # it was removed meanwhile
                    continue
                yield f"{product.model}: the stored picture {image.key} does not exist", None
                continue
            path = self._target / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            self.pictures += 1
            self.size += len(data)
            yield _damage(product, image, data), _image_entry(name, image, data)


def _damage(product: Product, image: Image, data: bytes) -> str:
    """What is wrong with the stored bytes; empty if nothing is wrong."""
    if image.size in (None, len(data)):
        return ""
    return f"{product.model}: {image.key} has {len(data)} bytes, and should have {image.size}"


def _image_entry(name: str, image: Image, data: bytes) -> dict[str, Any]:
    return {
        "file": name,
        "url": image.url,
        "sha256": hashlib.sha256(data).hexdigest(),
        "contentType": image.content_type,
        "width": image.width,
        "height": image.height,
        "alt": dict(image.alt or {}),
    }


@contextmanager
def _table(path: Path) -> Iterator[Callable[[Product, Sequence[Mapping[str, Any]]], None]]:
    """Writes the table that shops and ``import csv`` read: UTF-8 with a byte order mark, for spreadsheets.

    For each image there is its URL, its file if it was stored here, and its alternative text in the language
    of the product. An import prefers the file.

    Yields:
        A function that adds a product and the entries of its images. The header depends on all products, so
        it comes when the block ends, and until then the rows are in another file.
    """
    rows, most = path.with_suffix(".rows"), 0
    with rows.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)

        def add(product: Product, images: Sequence[Mapping[str, Any]]) -> None:
            nonlocal most
            most = max(most, len(images))
            writer.writerow(map(escaped, _row(product, images)))

        yield add
    header = [*_COLUMNS]
    for number in range(1, most + 1):
        header += [f"imageUrl{number}", f"imageFile{number}", f"imageAlt{number}"]
    with (
        path.open("w", encoding="utf-8-sig", newline="") as file,
        rows.open(encoding="utf-8", newline="") as read,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(row + [""] * (len(header) - len(row)) for row in csv.reader(read))
    rows.unlink()


def _row(product: Product, images: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The cells of a product, without those of images that only other products have."""
    yield from (product.model, product.name, product.category, product.description or "")
    yield from (product.source_locale, product.status)
    for image in images:
        yield from (image["url"], image.get("file", ""), image["alt"].get(product.source_locale, ""))
