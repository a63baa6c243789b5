"""``flask --app wsgi storage sweep``: removes the objects that no product references.

A crash between the two writes of an upload, or after the first write of a removal, leaves an object that no
product references (``uploads.py`` lists the cases). The object of an upload in flight has no reference
either, so only objects older than a grace period are removed. Beside a running server this period must be at
least the longest time that a request can take: an upload whose append waits for a lock has an object already.
An object is listed before the catalog is asked about it. No key is used twice, so an old object without a
reference never gets one.

The sizes of a referenced image stay. Those of any other image are removed at any age, because a size is made
only for an image that a product references (``sizes.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import ProductNotFound
from cli.duration import Duration
from cli.listing import LongList, json_object_option
from cli.stopping import STOPS, reason
from sizes import stem_of, width_of
from storage.base import ObjectInfo, ObjectLocked, StorageBackend

# The keys that this server writes. Other objects in the store are left alone.
_PRODUCT_KEY: Final = re.compile(r"([0-9a-f]{24})/products/([0-9a-f]{24})/images/[^/]+")
_DOCTOR_KEY: Final = re.compile(r"doctor/[^/]+")

#: The number of objects between two lines of progress.
_PROGRESS: Final = 10_000


class OtherCatalog(click.ClickException):
    """The catalog has none of the workspaces whose images are stored."""

    def __init__(self) -> None:
        super().__init__("The catalog has none of the workspaces whose images are stored: check CATALOG_URL.")


def _referenced_keys(catalog: Catalog, workspace_id: str, product_id: str) -> frozenset[str]:
    """The keys of the images of a product, and what their sizes' keys start with."""
    try:
        product = catalog.get_product(workspace_id, product_id)
    except ProductNotFound:
        return frozenset()
    keys = [image.key for image in product.images if image.key]
    return frozenset([*keys, *map(stem_of, keys)])


def _require_own_catalog(catalog: Catalog, storage: StorageBackend, stored: str) -> None:
    """Checks that the catalog has a workspace whose images are stored.

    With an empty catalog, or with that of another server, every object would look unreferenced. A missing
    CATALOG_URL must not cost all images.

    Args:
        catalog, storage: the stores that are compared.
        stored: the id of a workspace whose images are stored.

    Raises:
        OtherCatalog
    """
    known = [workspace.id for workspace in catalog.list_workspaces()]
    if stored not in known and not any(_has_images(storage, workspace_id) for workspace_id in known):
        raise OtherCatalog


def _has_images(storage: StorageBackend, workspace_id: str) -> bool:
    return any(_PRODUCT_KEY.fullmatch(info.key) for info in storage.list(f"{workspace_id}/products/"))


def product_of(info: ObjectInfo) -> tuple[str, str] | None:
    """The ids of the workspace and the product that an object belongs to; None if it belongs to none."""
    match = _PRODUCT_KEY.fullmatch(info.key)
    return (match[1], match[2]) if match else None


@dataclass
class Sweep:
    """One run over the objects of a store.

    The objects are read in the order of their keys, so the memory that a run takes does not depend on their
    number.

    Attributes:
        examined: the number of objects until now.
        after: the key of the last object that is done with. A run can go on after it.
    """

    catalog: Catalog
    storage: StorageBackend
    older_than: datetime
    after: str = ""
    examined: int = 0

    def unreferenced(self) -> Iterator[ObjectInfo]:
        """The objects written before ``older_than``, and the sizes of any age, that no product references.

        Raises:
            OtherCatalog: the catalog belongs to another store.
            CatalogUnavailable, StorageUnavailable
        """
        is_own_catalog = False
        # In the order of keys the objects of a product are neighbours: the catalog is asked once for each.
        referenced = lru_cache(maxsize=1)(lambda *ids: _referenced_keys(self.catalog, *ids))
        for info in self.storage.list(after=self.after):
            product = product_of(info)
            if product and not is_own_catalog:
                _require_own_catalog(self.catalog, self.storage, product[0])
                is_own_catalog = True
            is_old = info.modified < self.older_than
            if product and (is_old or width_of(info.key)):
                name = stem_of(info.key) if width_of(info.key) else info.key
                if name not in referenced(*product) and (
                    # The image of a young size may be younger than the last look-up.
                    is_old or name not in _referenced_keys(self.catalog, *product)
                ):
                    yield info
            elif is_old and _DOCTOR_KEY.fullmatch(info.key):
                yield info
            self._note(info.key)

    def _note(self, key: str) -> None:
        self.after = key
        self.examined += 1
        if self.examined % _PROGRESS == 0:
            click.echo(f"{self.examined} objects examined, up to {key}", err=True)


def _require_longer_than_a_request(older_than: timedelta, longest_request: timedelta) -> None:
    """Checks that no object of an upload in flight is older than ``older_than``.

    Raises:
        UsageError: the period is too short.
    """
    if older_than < longest_request:
        least = -(-longest_request // timedelta(minutes=1))  # rounded up
        raise click.UsageError(
            "An upload in flight can be older than --older-than, and its object would be removed. "
            f"Give at least {least}m, or stop the server and add --offline."
        )


@dataclass
class _Removed:
    """What a run has removed, and what it could not remove."""

    objects: int = 0
    size: int = 0
    locked: int = 0

    @property
    def summary(self) -> str:
        locked = f"; {self.locked} are locked" if self.locked else ""
        return f"{self.objects} objects, {self.size} bytes{locked}"

    def remove(self, run: Sweep, show: Callable[[str], None], *, dry_run: bool) -> None:
        """Removes, or only lists, what the run finds.

        Args:
            run: finds the objects.
            show: called with the key of each object.
            dry_run: whether nothing is removed.

        Raises:
            ClickException: a store is unavailable, the catalog belongs to another one, or the run was
                interrupted.
        """
        try:
            for info in run.unreferenced():
                try:
                    if not dry_run:
                        run.storage.delete(info.key)
                except ObjectLocked as error:
                    click.echo(str(error), err=True)
                    self.locked += 1
                    continue
                show(info.key)
                self.objects += 1
                self.size += info.size
        except OtherCatalog as error:
            raise click.ClickException(f"{error.message} Nothing was removed.") from None
        except STOPS as error:
            go_on = f". Go on with --after {run.after}" if run.after else ""
            raise click.ClickException(
                f"stopped after {self.objects} objects: {reason(error)}{go_on}"
            ) from None


def sweep_command(
    catalog: Catalog, storage: StorageBackend, longest_request: Callable[[], timedelta]
) -> click.Command:
    """The command.

    Args:
        catalog: the catalog that references the objects of ``storage``.
        storage: the configured backend.
        longest_request: returns the longest that a request of the server can take. A shorter grace period
            needs ``--offline``.
    """

    @click.command("sweep")
    @click.option(
        "--older-than",
        type=Duration(),
        default="24h",
        show_default=True,
        help="Leave younger objects alone: an upload may still reference them.",
    )
    @click.option("--dry-run", is_flag=True, help="List the objects without removing them.")
    @click.option("--offline", is_flag=True, help="The server is stopped: any --older-than is safe.")
    @click.option(
        "--after", default="", metavar="KEY", help="Go on after this key: an earlier run has come so far."
    )
    @json_object_option
    def sweep(*, older_than: timedelta, dry_run: bool, offline: bool, after: str, as_json: bool) -> None:
        """Remove stored objects that no product references. The server may be running."""
        if not (dry_run or offline):
            _require_longer_than_a_request(older_than, longest_request())
        run = Sweep(catalog, storage, datetime.now(UTC) - older_than, after)
        removed = _Removed()
        stopped = ""
        listed = LongList("keys") if as_json else None
        try:
            removed.remove(run, listed.add if listed else click.echo, dry_run=dry_run)
        except click.ClickException as error:
            stopped = error.message
            raise
        finally:
            catalog.close()
            if listed:
                counts = {"objects": removed.objects, "bytes": removed.size, "locked": removed.locked}
                after = run.after if stopped else ""
                listed.end({**counts, "stopped": stopped or None, "after": after or None})
        if not listed:
            click.echo(f"{'would remove' if dry_run else 'removed'} {removed.summary}", err=True)
        if removed.locked:
            raise SystemExit(1)

    return sweep
