"""``flask --app wsgi storage migrate``: copies all images from one store to the other.

Several products are migrated at once. The images of a product are copied and compared first. Then all its
URLs change in one step, if the product still has the version that was read. If an image was uploaded or
removed meanwhile, the product is read again, so that no change is lost. A crash in between leaves copies
without a reference, which the next run writes again. Copies of images that were removed meanwhile are removed
by the sweep.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import click

from catalog.attempts import attempts
from catalog.base import Catalog, Image, Product
from catalog.errors import ProductNotFound, VersionMismatch
from cli.jobs import in_order, jobs_option
from cli.listing import json_object_option
from cli.stopping import STOPS, reason
from cli.store_errors import Command
from storage.base import ObjectNotFound, StorageBackend, StorageUnavailable

#: The store from which images are copied, by the store to which they are copied.
SOURCES: Final = {"disk": "r2", "r2": "disk"}

#: How long the migration of one product is retried on conflicts with concurrent changes, in seconds.
_PATIENCE: Final = 60.0


class Migration:
    """Copies hosted images from ``source`` to ``target``, product by product.

    Attributes:
        copied: the number of copied images.
        changed: the number of products with new URLs.
        failed: the number of products with an image that could not be copied.
    """

    def __init__(self, catalog: Catalog, source: StorageBackend, target: StorageBackend) -> None:
        self._catalog = catalog
        self._source = source
        self._target = target
        self.copied = 0
        self.changed = 0
        self.failed = 0
        self._counting = threading.Lock()

    def _count(self, *, copied: int = 0, changed: int = 0, failed: int = 0) -> None:
        with self._counting:
            self.copied += copied
            self.changed += changed
            self.failed += failed

    def _due_keys(self, product: Product) -> list[str]:
        return [
            image.key
            for image in product.images
            if image.key is not None and image.url != self._target.public_url(image.key)
        ]

    def count(self) -> tuple[int, int]:
        """The number of images that have to be copied, and of their products."""
        counts = [len(self._due_keys(product)) for product in self._catalog.iter_products()]
        return sum(counts), sum(count > 0 for count in counts)

    def check(self) -> None:
        """Asks both stores whether they answer.

        Raises:
            StorageUnavailable: a store does not answer.
        """
        self._source.check()
        self._target.check()

    def run(self, jobs: int) -> Iterator[tuple[int, str]]:
        """Migrates; returns for each product the number of its finished images and its failure, or "".

        A product that fails does not stop the others, unless a whole store is unavailable. Then the products
        that are under way are finished or fail, and no other is begun.

        Args:
            jobs: the number of products that are migrated at once.

        Raises:
            StorageUnavailable, CatalogUnavailable: a store is unavailable.
        """
        due = (product for product in self._catalog.iter_products() if self._due_keys(product))
        return in_order(self._try, due, jobs)

    def _try(self, product: Product) -> tuple[int, str]:
        """Migrates a product; returns the number of its finished images and its failure, or ""."""
        problem = ""
        try:
            if missing := self._migrate(product):
                problem = f"product {product.id}: not found: {', '.join(missing)}"
        except StorageUnavailable as error:
            self.check()
            problem = f"product {product.id}: {error}"
        self._count(failed=bool(problem))
        return len(self._due_keys(product)), problem

    def _migrate(self, product: Product) -> list[str]:
        """Migrates a product, and returns the keys of its images that neither store has."""
        copied: set[str] = set()
        for _ in attempts(_PATIENCE):
            due = self._due_keys(product)
            images_by_key = {image.key: image for image in product.images}
            copied.update(key for key in due if key not in copied and self._copy(key, images_by_key[key]))
            try:
                if copied.intersection(due):
                    images = [self._moved(image, copied) for image in product.images]
                    product = self._catalog.update_product(
                        product.workspace_id,
                        product.id,
                        {"images": images},
                        expected_version=product.version,
                    )
                    self._count(changed=1)
                # A missing image may have been removed meanwhile.
                product = self._catalog.get_product(product.workspace_id, product.id, for_change=True)
            except VersionMismatch:
                product = self._catalog.get_product(product.workspace_id, product.id, for_change=True)
                continue
            except ProductNotFound:
                return []
            missing = [key for key in self._due_keys(product) if key in due]
            if missing == self._due_keys(product):
                return missing
        raise AssertionError  # the attempts end with an exception

    def _moved(self, image: Image, copied: set[str]) -> Image:
        if image.key not in copied:
            return image
        return replace(image, url=self._target.public_url(image.key))

    def _copy(self, key: str, image: Image) -> bool:
        """Copies an object and compares the copy with it. Returns False if neither store has the object.

        Args:
            key: the key of the object.
            image: the record of its image.

        Raises:
            StorageUnavailable: a store is unavailable, the original is damaged, or the copy differs.
        """
        try:
            data = self._read(self._source, key)
        except ObjectNotFound:
            return self._is_there_already(key, image)
        _require_intact(key, data, image)
        digest = hashlib.sha256(data).digest()
        self._target.put(key, data, sha256=digest)
        try:
            copy = self._read(self._target, key)
        except ObjectNotFound:
            copy = b""
        if hashlib.sha256(copy).digest() != digest:
            raise StorageUnavailable(f"the copy of {key} differs from the original")
        self._count(copied=1)
        return True

    def _is_there_already(self, key: str, image: Image) -> bool:
        """Whether the target has a copy of an object that the source no longer has."""
        try:
            data = self._read(self._target, key)
        except ObjectNotFound:
            return False
        _require_intact(key, data, image)
        return True

    @staticmethod
    def _read(storage: StorageBackend, key: str) -> bytes:
        with storage.open(key) as stored:
            return stored.stream.read()


def _require_intact(key: str, data: bytes, image: Image) -> None:
    """Raises StorageUnavailable if an object has another size or digest than its record says."""
    if image.size not in (None, len(data)):
        raise StorageUnavailable(f"{key} has {len(data)} bytes, and should have {image.size}")
    digest = hashlib.sha256(data).hexdigest()
    if image.stored_sha256 not in (None, digest):
        raise StorageUnavailable(f"{key} is damaged: its SHA-256 is not {image.stored_sha256}")


def _run(migration: Migration, images: int, jobs: int) -> None:
    migration.check()
    with click.progressbar(length=images, label="Copying", file=sys.stderr) as bar:
        for count, problem in migration.run(jobs):
            if problem:
                click.echo(f"\n{problem}", err=True)
            bar.update(count)


def _json(images: int, products: int, failed: int = 0, stopped: str = "") -> str:
    """What is printed with --json. A dry run counts what has to be copied, a run what it has copied."""
    counts = {"images": images, "products": products, "failed": failed}
    return json.dumps({**counts, "stopped": stopped or None})


def migrate_command(catalog: Catalog, make_storage: Callable[[str], StorageBackend]) -> click.Command:
    """The command."""

    @click.command("migrate", cls=Command)
    @click.option("--to", "target", type=click.Choice(list(SOURCES)), required=True, help="The new store.")
    @click.option("--dry-run", is_flag=True, help="Only count the images that have to be copied.")
    @jobs_option
    @json_object_option
    def migrate(*, target: str, dry_run: bool, jobs: int, as_json: bool) -> None:
        """Copy all images to the other store, and point their products to the copies.

        Each copy is read back and compared before its product is changed. Nothing is removed. Finished
        images are skipped, so the command can be stopped and run again. Run it once more after the server
        was restarted with the other STORAGE_BACKEND, for the images that were uploaded in between.
        """
        migration = Migration(catalog, make_storage(SOURCES[target]), make_storage(target))
        stopped = ""
        try:
            images, products = migration.count()
            if dry_run:
                text = f"{images} images of {products} products have to be copied to {target}."
                click.echo(_json(images, products) if as_json else text)
                return
            _run(migration, images, jobs)
        except STOPS as error:
            click.echo(f"\nStopped: {reason(error)}. Run it again to continue.", err=True)
            stopped = reason(error)
        if as_json:
            click.echo(_json(migration.copied, migration.changed, migration.failed, stopped))
        elif not dry_run:
            click.echo(
                f"{migration.copied} images copied to {target}, {migration.changed} products changed, "
                f"{migration.failed} failed."
            )
        if stopped or migration.failed:
            raise SystemExit(1)

    return migrate
