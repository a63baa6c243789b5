"""``flask --app wsgi sizes``: makes the sizes of images beforehand, and removes those of other widths."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import click
from tqdm import tqdm

from catalog.base import Catalog, Image, Product
from catalog.errors import CatalogUnavailable, ProductNotFound, WorkspaceNotFound
from cli.listing import json_object_option
from cli.store_errors import Command, Group
from errors import DomainError
from sizes import Size, Sizes, width_of
from storage.base import ObjectNotFound, StorageBackend, StorageUnavailable
from turns import ServerBusy, ShareUsed

#: The sizes that are made at a time.
_JOBS: Final = os.cpu_count() or 1
#: The seconds after which a size is tried again if there was no memory for it.
_PAUSE: Final = 0.5


class Making:
    """Makes the missing sizes of all images, product by product.

    Args:
        catalog, storage: the stores of records and objects.
        sizes: makes the sizes of images.
        workspace_id: the workspace whose images get their sizes; empty: all workspaces.
        width: the only width to make; None: all.

    Attributes:
        made, failed: the number of sizes.
    """

    def __init__(
        self, catalog: Catalog, storage: StorageBackend, sizes: Sizes, workspace_id: str, width: int | None
    ) -> None:
        self._catalog = catalog
        self._storage = storage
        self._sizes = sizes
        self._workspace_id = workspace_id
        self._width = width
        self.made = 0
        self.failed = 0

    def _products(self) -> Iterator[Product]:
        for product in self._catalog.iter_products():
            if self._workspace_id in ("", product.workspace_id):
                yield product

    def _wanted(self, product: Product) -> list[tuple[Image, Size]]:
        return [
            (image, size)
            for image in product.images
            for size in self._sizes.of(image)
            if self._width in (None, size.width)
        ]

    def count(self) -> int:
        """The number of sizes that the images have, whether they are made or not."""
        return sum(len(self._wanted(product)) for product in self._products())

    def run(self) -> Iterator[str]:
        """Makes the sizes that are missing. The server may be running.

        Yields:
            For each size, when it is stored: an empty text, or the sentence of its failure.

        Raises:
            StorageUnavailable, CatalogUnavailable: what is done stays done.
        """
        with ThreadPoolExecutor(_JOBS) as pool:
            for product in self._products():
                if wanted := self._wanted(product):
                    prefix = f"{product.workspace_id}/products/{product.id}/images/"
                    stored = {info.key for info in self._storage.list(prefix)}
                    missing = [(image, size) for image, size in wanted if size.key not in stored]
                    yield from [""] * (len(wanted) - len(missing))
                    yield from pool.map(lambda pair: self._make(*pair), missing)

    def _make(self, image: Image, size: Size) -> str:
        """Makes a size. Returns the sentence of its failure, or an empty text."""
        while True:
            try:
                self._sizes.make(image, size)
            except (ServerBusy, ShareUsed):  # the other threads need the memory
                time.sleep(_PAUSE)
                continue
            except (StorageUnavailable, CatalogUnavailable):
                raise
            except ObjectNotFound:
                if not self._is_current(image):
                    return ""
                self.failed += 1
                return f"{image.key} is not in the storage"
            except (DomainError, MemoryError) as error:
                self.failed += 1
                return f"{size.key} can't be made: {error or type(error).__name__}"
            self.made += 1
            return ""

    def _is_current(self, image: Image) -> bool:
        """Whether the product still has the image. A removal deletes the object after the reference."""
        workspace_id, _, product_id, *_ = (image.key or "").split("/")
        try:
            product = self._catalog.get_product(workspace_id, product_id, for_change=True)
        except ProductNotFound:
            return False
        return any(other.key == image.key for other in product.images)


def _run(making: Making) -> None:
    with tqdm(total=making.count(), unit=" sizes", disable=None, file=sys.stderr) as bar:
        try:
            for problem in making.run():
                if problem:
                    tqdm.write(problem, file=sys.stderr)
                bar.update()
        except (CatalogUnavailable, StorageUnavailable) as error:
            raise click.ClickException(
                f"stopped after {making.made} sizes: {error}. Run it again to continue."
            ) from None


def _make_command(catalog: Catalog, storage: StorageBackend, sizes: Sizes) -> click.Command:
    @click.command("make", cls=Command)
    @click.option(
        "--workspace", "workspace_id", default="", metavar="ID", help="Only the images of this one."
    )
    @click.option("--width", type=int, metavar="N", help="Only this width, which IMAGE_SIZES must list.")
    @json_object_option
    def make(*, workspace_id: str, width: int | None, as_json: bool) -> None:
        """Make the sizes that are missing, so that no visitor waits for them.

        The server may be running. Sizes that exist are skipped, so the command can be stopped and run again.
        """
        if sizes.are_cloudflares:
            raise click.ClickException("Cloudflare makes the sizes: R2_TRANSFORMATIONS is 1.")
        if width is not None and width not in sizes.widths:
            listed = ", ".join(map(str, sorted(sizes.widths))) or "none"
            raise click.UsageError(f"IMAGE_SIZES does not list {width}: it is {listed}.")
        try:
            if workspace_id:
                catalog.get_workspace(workspace_id)
            making = Making(catalog, storage, sizes, workspace_id, width)
            _run(making)
        except WorkspaceNotFound:
            raise click.ClickException(f"The workspace {workspace_id} does not exist.") from None
        finally:
            catalog.close()
        text = f"{making.made} sizes made, {making.failed} failed."
        click.echo(json.dumps({"made": making.made, "failed": making.failed}) if as_json else text)
        if making.failed:
            raise SystemExit(1)

    return make


def _clear_command(storage: StorageBackend, sizes: Sizes) -> click.Command:
    @click.command("clear", cls=Command)
    @click.option("--dry-run", is_flag=True, help="Only count the sizes that would be removed.")
    @json_object_option
    def clear(*, dry_run: bool, as_json: bool) -> None:
        """Remove the sizes of widths that IMAGE_SIZES no longer lists.

        If Cloudflare makes the sizes (R2_TRANSFORMATIONS), all are removed. Restart the server with the new
        setting first. The command can be stopped and run again.
        """
        listed = frozenset[int]() if sizes.are_cloudflares else sizes.widths
        count = size = 0
        for info in storage.list():
            width = width_of(info.key)
            if width is not None and width not in listed:
                if not dry_run:
                    storage.delete(info.key)
                count, size = count + 1, size + info.size
        text = f"{count} sizes, {size} bytes {'to remove' if dry_run else 'removed'}."
        click.echo(json.dumps({"sizes": count, "bytes": size}) if as_json else text)

    return clear


def sizes_commands(catalog: Catalog, storage: StorageBackend, sizes: Sizes) -> click.Group:
    """The commands that make and remove the sizes of images.

    Args:
        catalog: the catalog that references the images.
        storage: the configured backend.
        sizes: makes the sizes of images.
    """

    @click.group("sizes", cls=Group)
    def group() -> None:
        """Make the sizes of images beforehand, or remove them."""

    group.add_command(_make_command(catalog, storage, sizes))
    group.add_command(_clear_command(storage, sizes))
    return group
