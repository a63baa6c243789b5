"""``flask --app wsgi storage sweep``: removes the objects that no product references.

A crash between the two writes of an upload, or after the first write of a removal, leaves an object that no
product references (``uploads.py`` lists the cases). The object of an upload in flight has no reference
either, so only objects older than a grace period are removed. Beside a running server this period must be at
least the longest time that a request can take: an upload whose append waits for a lock has an object already.
The store is listed before the catalog is asked. No key is used twice, so an old object without a reference
never gets one.

The sizes of a referenced image stay. Those of any other image are removed at any age, because a size is made
only for an image that a product references (``sizes.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import CatalogUnavailable, ProductNotFound
from cli.duration import Duration
from sizes import stem_of, width_of
from storage.base import ObjectInfo, StorageBackend, StorageUnavailable

# The keys that this server writes. Other objects in the store are left alone.
_PRODUCT_KEY: Final = re.compile(r"([0-9a-f]{24})/products/([0-9a-f]{24})/images/[^/]+")
_DOCTOR_KEY: Final = re.compile(r"doctor/[^/]+")

#: The number of objects between two lines of progress.
_PROGRESS: Final = 1000


def _referenced_keys(catalog: Catalog, workspace_id: str, product_id: str) -> frozenset[str]:
    """The keys of the images of a product, and what their sizes' keys start with."""
    try:
        product = catalog.get_product(workspace_id, product_id)
    except ProductNotFound:
        return frozenset()
    keys = [image.key for image in product.images if image.key]
    return frozenset([*keys, *map(stem_of, keys)])


def _require_own_catalog(catalog: Catalog, infos: Iterable[ObjectInfo]) -> None:
    """Checks that the catalog has a workspace whose images are stored, unless nothing is stored.

    With an empty catalog, or with that of another server, every object would look unreferenced. A missing
    CATALOG_URL must not cost all images.

    Raises:
        ClickException: the catalog has none of the stored workspaces.
    """
    stored = {match[1] for info in infos if (match := _PRODUCT_KEY.fullmatch(info.key))}
    if stored and stored.isdisjoint(workspace.id for workspace in catalog.list_workspaces()):
        raise click.ClickException(
            "The catalog has none of the workspaces whose images are stored: check CATALOG_URL. "
            "Nothing was removed."
        )


def unreferenced(catalog: Catalog, storage: StorageBackend, older_than: datetime) -> Iterator[ObjectInfo]:
    """The objects written before ``older_than``, and the sizes of any age, that no product references.

    Raises:
        ClickException: the catalog belongs to another store.
        CatalogUnavailable, StorageUnavailable
    """
    infos = list(storage.list())
    _require_own_catalog(catalog, infos)
    old = [info for info in infos if info.modified < older_than or width_of(info.key)]
    # Sorted by key, the objects of a product are neighbours, and the catalog is asked once for each product.
    referenced = lru_cache(maxsize=1)(lambda *ids: _referenced_keys(catalog, *ids))
    for number, info in enumerate(sorted(old, key=lambda info: info.key), 1):
        if match := _PRODUCT_KEY.fullmatch(info.key):
            key = stem_of(info.key) if width_of(info.key) else info.key
            if key not in referenced(*match.groups()):
                yield info
        elif _DOCTOR_KEY.fullmatch(info.key):
            yield info
        if number % _PROGRESS == 0:
            click.echo(f"{number} of {len(old)} objects examined", err=True)


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


def sweep_command(
    catalog: Catalog, storage: StorageBackend, longest_request: Callable[[], timedelta]
) -> click.Command:
    """The command.

    Args:
        catalog: that references the objects of ``storage``.
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
    def sweep(older_than: timedelta, dry_run: bool, offline: bool) -> None:  # noqa: FBT001  # click passes them so
        """Remove stored objects that no product references. The server may be running."""
        if not (dry_run or offline):
            _require_longer_than_a_request(older_than, longest_request())
        count = size = 0
        try:
            for info in unreferenced(catalog, storage, datetime.now(UTC) - older_than):
                if not dry_run:
                    storage.delete(info.key)
                click.echo(info.key)
                count, size = count + 1, size + info.size
        except (CatalogUnavailable, StorageUnavailable) as error:
            raise click.ClickException(f"stopped after {count} objects: {error}") from None
        finally:
            catalog.close()
        click.echo(f"{'would remove' if dry_run else 'removed'} {count} objects, {size} bytes", err=True)

    return sweep
