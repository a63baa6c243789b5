"""``flask --app wsgi storage rebase``: stored URLs follow the server to another address.

The catalog stores the URL of each image as it was given out, because it also tells which store has the
image (``cli/migrate.py``). After a change of PUBLIC_URL, or of the bucket's domain, the URLs of earlier
images still have the old address. This command replaces it, and the image keeps the old URL beside it. A URL
is replaced only if it consists of the old address and the image's own key, and if the configured store has
the object. Any other URL stays.

All URLs of a product change in one step, if the product still has the version that was read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import click

from catalog.attempts import attempts
from catalog.base import Catalog, Image, Product
from catalog.errors import ProductNotFound, VersionMismatch
from cli.jobs import in_order, jobs_option
from cli.listing import json_object_option
from cli.stopping import STOPS, reason
from cli.store_errors import Command
from storage.base import PublicUrls, StorageBackend

#: How long the change of one product is retried on conflicts with concurrent changes, in seconds.
_PATIENCE: Final = 60.0

#: The most earlier URLs that an image keeps.
_MOST_EARLIER: Final = 5


class Rebase:
    """Replaces the address in the URLs of hosted images.

    Args:
        catalog: the catalog that has the URLs.
        storage: the configured backend, whose URLs the images get.
        old: the URL spaces whose URLs are replaced.
        dry_run: whether the changes are only counted.

    Attributes:
        images, products: the number of URLs that were replaced, and of their products.
        left: the number of images under an old address that the configured store does not have.
    """

    def __init__(
        self, catalog: Catalog, storage: StorageBackend, old: list[PublicUrls], *, dry_run: bool
    ) -> None:
        self._catalog = catalog
        self._storage = storage
        self._old = old
        self._dry_run = dry_run
        self.images = 0
        self.products = 0
        self.left = 0
        self._counting = threading.Lock()

    def run(self, jobs: int) -> Iterator[list[str]]:
        """Replaces the addresses; yields for each changed product the keys that the store does not have.

        Raises:
            CatalogUnavailable, StorageUnavailable: what is done stays done.
        """
        due = (product for product in self._catalog.iter_products() if self._due_keys(product))
        return in_order(self._rebase, due, jobs)

    def _due_keys(self, product: Product) -> list[str]:
        return [image.key for image in product.images if image.key is not None and self._is_old(image)]

    def _is_old(self, image: Image) -> bool:
        key = image.key or ""
        return image.url != self._storage.public_url(key) and any(
            image.url == space.public_url(key) for space in self._old
        )

    def _rebase(self, product: Product) -> list[str]:
        """Changes a product; returns the keys of its images that the configured store does not have."""
        try:
            for _ in attempts(_PATIENCE):
                due = self._due_keys(product)
                prefix = f"{product.workspace_id}/products/{product.id}/"
                present = {info.key for info in self._storage.list(prefix)}.intersection(due)
                try:
                    self._change(product, present)
                except VersionMismatch:
                    product = self._catalog.get_product(product.workspace_id, product.id, for_change=True)
                    continue
                left = [key for key in due if key not in present]
                self._count(len(present), len(left))
                return left
        except ProductNotFound:
            return []
        raise AssertionError  # the attempts end with an exception

    def _change(self, product: Product, keys: set[str]) -> None:
        """Gives the images with these keys the URLs of the configured store."""
        if keys and not self._dry_run:
            images = [self._with_new_url(image) if image.key in keys else image for image in product.images]
            self._catalog.update_product(
                product.workspace_id, product.id, {"images": images}, expected_version=product.version
            )

    def _with_new_url(self, image: Image) -> Image:
        # Clients that have the earlier URL may send it in a list of the product's images (products.py).
        earlier = (*(image.earlier_urls or ()), image.url)[-_MOST_EARLIER:]
        return replace(image, url=self._storage.public_url(image.key or ""), earlier_urls=earlier)

    def _count(self, changed: int, left: int) -> None:
        with self._counting:
            self.images += changed
            self.products += changed > 0
            self.left += left


def old_spaces(old: str, media_prefix: str, storage: StorageBackend) -> list[PublicUrls]:
    """The URL spaces of an earlier address: with the prefix as a server has it, and without it as a bucket
    has it.

    Args:
        old: the earlier PUBLIC_URL or R2_PUBLIC_URL.
        media_prefix: the path under PUBLIC_URL at which the server serves objects.
        storage: the configured backend.

    Raises:
        UsageError: ``old`` is not such a URL, or it is the current one.
    """
    parts = urlsplit(old)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise click.UsageError(
            "--from takes an earlier PUBLIC_URL or R2_PUBLIC_URL, such as https://old.example.com."
        )
    spaces = [PublicUrls(old), PublicUrls(old.rstrip("/") + media_prefix)]
    if any(space.public_url("x") == storage.public_url("x") for space in spaces):
        raise click.UsageError("--from is the address that the settings have now. Give the earlier one.")
    return spaces


def rebase_command(catalog: Catalog, storage: StorageBackend, media_prefix: str) -> click.Command:
    """The command.

    Args:
        catalog: the catalog that has the URLs.
        storage: the configured backend.
        media_prefix: the path under PUBLIC_URL at which the server serves objects.
    """

    @click.command("rebase", cls=Command)
    @click.option(
        "--from", "old", required=True, metavar="OLD", help="The earlier PUBLIC_URL or R2_PUBLIC_URL."
    )
    @click.option("--dry-run", is_flag=True, help="Only count the URLs that have the earlier address.")
    @jobs_option
    @json_object_option
    def rebase(*, old: str, dry_run: bool, jobs: int, as_json: bool) -> None:
        """Give images that were stored under another address the URLs that the settings give now.

        Restart all servers with the new PUBLIC_URL or R2_PUBLIC_URL first; they may be running. Only URLs of
        stored images change, and only those that are exactly under OLD. Images with the new address are
        skipped, so the command can be stopped and run again.
        """
        run = Rebase(catalog, storage, old_spaces(old, media_prefix, storage), dry_run=dry_run)
        stopped = ""
        try:
            for left in run.run(jobs):
                for key in left:
                    click.echo(f"{key} is not in this store: its URL stays", err=True)
        except STOPS as error:
            stopped = reason(error)
        finally:
            catalog.close()
        if as_json:
            counts = {"images": run.images, "products": run.products, "left": run.left}
            click.echo(json.dumps({**counts, "stopped": stopped or None}))
        else:
            verb = "have an earlier URL" if dry_run else "have their new URL"
            click.echo(
                f"{run.images} images of {run.products} products {verb}, {run.left} are left as they are."
            )
        if stopped:
            click.echo(f"Stopped: {stopped}. Run it again to continue.", err=True)
        if stopped or run.left:
            raise SystemExit(1)

    return rebase
