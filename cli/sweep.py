"""``flask --app wsgi storage sweep``: removes what no product references.

A crash between the two writes of an upload, or after the first of a removal, leaves an object that
nothing references (``uploads.py`` tells when). An upload in flight has one too, so only objects older
than a grace period count. The object is listed first and the catalog asked afterwards: what is older
than the grace period and not referenced then never will be, for no key is used twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import click

from catalog.base import Catalog
from catalog.errors import CatalogUnavailable, ProductNotFound
from cli.duration import Duration
from storage.base import ObjectInfo, StorageBackend, StorageUnavailable

# Whatever else is in the store was not put there by us, and stays.
_PRODUCT_KEY: Final = re.compile(r"([0-9a-f]{24})/products/([0-9a-f]{24})/images/[^/]+")
_DOCTOR_KEY: Final = re.compile(r"doctor/[^/]+")

#: How many objects lie between two signs of life on a long run.
_PROGRESS: Final = 1000


def _referenced_keys(catalog: Catalog, workspace_id: str, product_id: str) -> frozenset[str]:
    try:
        product = catalog.get_product(workspace_id, product_id)
    except ProductNotFound:
        return frozenset()
    return frozenset(image.key for image in product.images if image.key)


def _require_acquaintance(catalog: Catalog, infos: Iterable[ObjectInfo]) -> None:
    """Returns if the catalog knows a workspace of the store's, or if there is none to know.

    Beside a catalog that is empty, or another's, each object would look unreferenced: a CATALOG_URL that
    was forgotten must not cost all images.
    """
    stored = {match[1] for info in infos if (match := _PRODUCT_KEY.fullmatch(info.key))}
    if stored and stored.isdisjoint(workspace.id for workspace in catalog.list_workspaces()):
        raise click.ClickException(
            "The catalog knows none of the workspaces whose images are stored: is CATALOG_URL right? "
            "Nothing was removed."
        )


def unreferenced(catalog: Catalog, storage: StorageBackend, older_than: datetime) -> Iterator[ObjectInfo]:
    """The objects written before ``older_than`` that no product references.

    Raises:
        ClickException: the catalog must be that of another store.
        CatalogUnavailable, StorageUnavailable
    """
    infos = list(storage.list())
    _require_acquaintance(catalog, infos)
    old = [info for info in infos if info.modified < older_than]
    # Sorted, the objects of a product come together, and the catalog is asked once a product.
    referenced = lru_cache(maxsize=1)(lambda *ids: _referenced_keys(catalog, *ids))
    for number, info in enumerate(sorted(old, key=lambda info: info.key), 1):
        if match := _PRODUCT_KEY.fullmatch(info.key):
            if info.key not in referenced(*match.groups()):
                yield info
        elif _DOCTOR_KEY.fullmatch(info.key):
            yield info
        if number % _PROGRESS == 0:
            click.echo(f"{number} of {len(old)} objects looked at", err=True)


def sweep_command(catalog: Catalog, storage: StorageBackend) -> click.Command:
    """The command."""

    @click.command("sweep")
    @click.option(
        "--older-than",
        type=Duration(),
        default="24h",
        show_default=True,
        help="Leave younger objects alone: an upload may be about to reference them.",
    )
    @click.option("--dry-run", is_flag=True, help="List the objects, and remove none.")
    def sweep(older_than: timedelta, dry_run: bool) -> None:  # noqa: FBT001  # click passes it so
        """Remove stored objects that no product references. The server may be running."""
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
