"""How an import writes: through the products and uploads of the server, or not at all in a dry run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from catalog.base import Catalog, Image, Product, ProductChanges, ProductQuery
from catalog.ids import new_id, now
from errors import DomainError, Unavailable
from moving.items import Stopped
from products import AltChanges, NewProduct, Products
from turns import ServerBusy, ShareUsed
from uploads import Uploads
from validators.base import Upload

#: How often an upload that finds no turn is tried.
_ATTEMPTS: Final = 30


T = TypeVar("T")


class Intake(Protocol):
    """Reads and writes products and pictures for an import."""

    def find(self, model: str) -> Product | None:
        """The product of exactly this model."""

    def similar(self, model: str) -> str | None:
        """Another model of the workspace that differs in case only."""

    def create(self, new: NewProduct) -> Product:
        """Creates a product."""

    def change(
        self, product: Product, changes: ProductChanges, image_urls: Sequence[str] | None = None
    ) -> Product:
        """Changes the product if it is still at the version that ``product`` has."""

    def describe(self, product: Product, index: int, alt: Mapping[str, str]) -> Product:
        """Changes the alternative texts of an image in these languages."""

    def add(self, product: Product, upload: Upload) -> tuple[Product, bool]:
        """Validates and appends a picture that the product does not have.

        Returns:
            The product, and whether this call has added the picture: another client may have done it.

        Raises:
            Rejected: the picture is not acceptable.
        """


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the application that an import needs.

    Attributes:
        new_product: validates the fields of a product, by their names in JSON; raises InvalidFields.
        checked_alt: validates an alternative text, and gives its languages their canonical tags; raises
            InvalidFields.
        spend_write: counts a write in the daily budget of a workspace; raises a DomainError if it is spent.
    """

    catalog: Catalog
    products: Products
    uploads: Uploads
    new_product: Callable[[Mapping[str, object]], NewProduct]
    checked_alt: Callable[[object], AltChanges]
    spend_write: Callable[[str], None]

    def intake(self, workspace_id: str, *, dry_run: bool) -> Intake:
        """The intake for an import into a workspace.

        Raises:
            WorkspaceNotFound
        """
        self.catalog.get_workspace(workspace_id)
        return DryRun(self, workspace_id) if dry_run else ServerIntake(self, workspace_id)


class ServerIntake:
    """Writes through the same code as the API, within the plan and the quota of the workspace."""

    def __init__(self, services: Services, workspace_id: str) -> None:
        self._services = services
        self._catalog = services.catalog
        self._workspace_id = workspace_id

    def find(self, model: str) -> Product | None:
        return self._catalog.find_product(self._workspace_id, model)

    def similar(self, model: str) -> str | None:
        query = ProductQuery(search=model, show_archived=True, limit=100)
        found = self._catalog.list_products(self._workspace_id, query).items
        same = (item.model for item in found if item.model.casefold() == model.casefold())
        return next((other for other in same if other != model), None)

    def create(self, new: NewProduct) -> Product:
        self._spend_write()
        return self._services.products.create(self._workspace_id, new)

    def change(
        self, product: Product, changes: ProductChanges, image_urls: Sequence[str] | None = None
    ) -> Product:
        self._spend_write()
        return self._services.products.change(
            self._workspace_id, product.id, changes, image_urls=image_urls, expected_version=product.version
        )

    def describe(self, product: Product, index: int, alt: Mapping[str, str]) -> Product:
        self._spend_write()
        return self._services.products.describe(
            self._workspace_id, product.id, index, alt, expected_version=product.version
        )

    def add(self, product: Product, upload: Upload) -> tuple[Product, bool]:
        self._spend_write()
        added = _in_turn(lambda: self._services.uploads.add(product, upload, skip_present=True))
        return added.product, added.created

    def _spend_write(self) -> None:
        try:
            self._services.spend_write(self._workspace_id)
        except Unavailable:
            raise
        except DomainError as spent:
            raise Stopped(spent.message) from None


def _in_turn(act: Callable[[], T]) -> T:
    """Calls a function that needs a turn to decode. While there is no turn, it waits and tries again.

    Raises:
        Stopped: no turn came in several attempts.
    """
    for _ in range(_ATTEMPTS):
        try:
            return act()
        except (ServerBusy, ShareUsed) as busy:
            time.sleep(busy.retry_after or 1)
    raise Stopped(ServerBusy.message)


class DryRun(ServerIntake):
    """Reads from the server, validates every picture, and keeps what would change in memory only."""

    def create(self, new: NewProduct) -> Product:
        created_at = now()
        return Product(
            id=new_id(),
            workspace_id=self._workspace_id,
            name=new.name,
            model=new.model,
            category=new.category,
            created_at=created_at,
            updated_at=created_at,
        )

    def change(
        self, product: Product, changes: ProductChanges, image_urls: Sequence[str] | None = None
    ) -> Product:
        changed = replace(product, **changes)
        if image_urls is None:
            return changed
        known = {image.url: image for image in product.images}
        return replace(changed, images=tuple(known.get(url, Image(url=url)) for url in image_urls))

    def describe(self, product: Product, index: int, alt: Mapping[str, str]) -> Product:
        images = list(product.images)
        images[index] = replace(images[index], alt={**(images[index].alt or {}), **alt})
        return replace(product, images=images)

    def add(self, product: Product, upload: Upload) -> tuple[Product, bool]:
        _in_turn(lambda: self._services.uploads.check(upload))
        digest = upload.sha256.hex()
        image = Image(url=f"new:{digest}", key=f"new/{digest}", sha256=digest)
        return replace(product, images=(*product.images, image)), True
