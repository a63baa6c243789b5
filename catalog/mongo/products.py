"""The products of the catalog in MongoDB, and their images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from catalog.base import MAX_IMAGES, Appended, Image, Product, ProductChanges, ProductPage, ProductQuery
from catalog.errors import (
    DuplicateModel,
    ImageNotFound,
    OutcomeUnknown,
    ProductFull,
    ProductNotFound,
    VersionMismatch,
)
from catalog.ids import now
from catalog.mongo.connection import Document, MongoConnection, latest
from catalog.mongo.identity import require_workspace
from catalog.mongo.records import (
    WITHOUT_SEARCH,
    image_to_document,
    product_of,
    product_to_document,
)
from catalog.mongo.search import SEARCH_INDEXES, find_page

#: How many products are read at once by what goes through all of them.
PAGE: Final = 50

PRODUCT_INDEXES: Final = [
    IndexModel({"companyId": ASCENDING, "model": ASCENDING}, name="companyId_model", unique=True),
    *SEARCH_INDEXES,
]


class MongoProducts:
    """See Catalog."""

    _mongo: MongoConnection

    def create_product(self, product: Product) -> None:
        with self._mongo.call() as database:
            require_workspace(database, product.workspace_id)
            try:
                self._mongo.insert(database.products, product_to_document(product))
            except DuplicateKeyError:
                raise DuplicateModel from None

    def get_product(self, workspace_id: str, product_id: str) -> Product:
        with self._mongo.call() as database:
            document = database.products.find_one(
                {"_id": product_id, "companyId": workspace_id}, WITHOUT_SEARCH
            )
        if document is None:
            raise ProductNotFound
        return product_of(document)

    @staticmethod
    def _newest(
        database: Database[Document], workspace_id: str, product_id: str, expected_version: int | None = None
    ) -> Product:
        """The product as a filter finds it, raising VersionMismatch if it is at another version."""
        document = latest(database.products).find_one(
            {"_id": product_id, "companyId": workspace_id}, WITHOUT_SEARCH
        )
        if document is None:
            raise ProductNotFound
        if expected_version not in (None, document["version"]):
            raise VersionMismatch
        return product_of(document)

    def iter_products(self) -> Iterator[Product]:
        last = ""
        while True:
            with self._mongo.call() as database:
                found = database.products.find({"_id": {"$gt": last}}, WITHOUT_SEARCH, limit=PAGE).sort("_id")
                page = [product_of(document) for document in found]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].id

    def list_products(self, workspace_id: str, query: ProductQuery) -> ProductPage:
        with self._mongo.call() as database:
            return find_page(database.products, workspace_id, query)

    def update_product(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        expected_version: int | None = None,
    ) -> Product:
        with self._mongo.call() as database:
            while True:
                product = self._newest(database, workspace_id, product_id, expected_version)
                if not changes:
                    return product
                try:
                    after = self._replace(database, product, replace(product, **changes))
                except DuplicateKeyError:
                    raise DuplicateModel from None
                if after is not None:
                    return after

    def delete_product(
        self, workspace_id: str, product_id: str, *, expected_version: int | None = None
    ) -> Product:
        with self._mongo.call() as database:
            while True:
                product = self._newest(database, workspace_id, product_id, expected_version)
                deleted = database.products.delete_one(_at_version(product)).deleted_count
                if deleted:
                    return product
                self._require_certainty()

    # --- images

    def append_image(
        self, workspace_id: str, product_id: str, image: Image, *, unless_present: bool = False
    ) -> Appended:
        room: dict[str, Any] = {
            "_id": product_id,
            "companyId": workspace_id,
            f"images.{MAX_IMAGES - 1}": {"$exists": False},
        }
        if image.key:
            room["images.key"] = {"$ne": image.key}  # not twice
        sha256 = image.sha256 if unless_present else None
        if sha256:
            room["images.sha256"] = {"$ne": sha256}
        change = {"$push": {"images": image_to_document(image)}, **_new_version()}
        with self._mongo.call() as database:
            while True:
                after = database.products.find_one_and_update(
                    room, change, WITHOUT_SEARCH, return_document=ReturnDocument.AFTER
                )
                if after is not None:
                    return Appended(product_of(after), image)
                # Why not? If there is no reason any more, an image was removed since: again.
                product = self._newest(database, workspace_id, product_id)
                if image.key and image.key in [other.key for other in product.images]:
                    return Appended(product, image)
                if sha256 and (present := product.image_with(sha256)):
                    return Appended(product, present)
                if len(product.images) >= MAX_IMAGES:
                    raise ProductFull

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        with self._mongo.call() as database:
            while True:
                product = self._newest(database, workspace_id, product_id, expected_version)
                if not 0 <= index < len(product.images):
                    raise ImageNotFound
                images = list(product.images)
                removed = images.pop(index)
                if after := self._replace(database, product, replace(product, images=tuple(images))):
                    return after, removed

    def _replace(self, database: Database[Document], before: Product, after: Product) -> Product | None:
        """Makes a product another, unless it is not at its version any more: then None.

        Of those who replace a version at once one succeeds, so whoever looks and tries again gets
        there, or to the end of the call's time with nothing done.
        """
        old, new = product_to_document(before), product_to_document(after)
        change = _new_version()
        if changed := {name: value for name, value in new.items() if value != old.get(name)}:
            change["$set"] = changed
        if gone := old.keys() - new.keys():
            change["$unset"] = dict.fromkeys(gone, "")
        document = database.products.find_one_and_update(
            _at_version(before), change, WITHOUT_SEARCH, return_document=ReturnDocument.AFTER
        )
        if document is not None:
            return product_of(document)
        self._require_certainty()
        return None

    def _require_certainty(self) -> None:
        """Raises OutcomeUnknown if the write that has just found nothing may have done it before.

        Another's change, or our own first attempt? Trying again could take a second image.
        """
        if self._mongo.repeated:
            raise OutcomeUnknown


def _at_version(product: Product) -> Document:
    """The filter that finds a product unless it has changed."""
    return {"_id": product.id, "companyId": product.workspace_id, "version": product.version}


def _new_version() -> Document:
    """What each change of a product does besides. A clock set back does not turn time round."""
    return {"$inc": {"version": 1}, "$max": {"updatedAt": now()}}
