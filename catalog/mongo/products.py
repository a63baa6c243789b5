"""The products of the MongoDB catalog, and their images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database

from catalog.appends import outcome_without_append
from catalog.base import (
    MAX_IMAGES,
    PAGE,
    Appended,
    Image,
    Product,
    ProductChanges,
    ProductPage,
    ProductQuery,
)
from catalog.changes import addition, change_between, creation
from catalog.errors import DuplicateModel, ImageNotFound, OutcomeUnknown, ProductNotFound, VersionMismatch
from catalog.history import MAX_CHANGES, Change
from catalog.identity import Usage
from catalog.ids import now
from catalog.mongo.connection import Document, MongoConnection, Refusals, latest
from catalog.mongo.identity import require_workspace
from catalog.mongo.quotas import USAGE_INDEX, with_usage
from catalog.mongo.records import CHANGE, IMAGE, OBSOLETE_FIELDS, OF_RECORD, PRODUCT
from catalog.mongo.search import SEARCH_INDEXES, find_page

PRODUCT_INDEXES: Final = [
    IndexModel({"companyId": ASCENDING, "model": ASCENDING}, name="companyId_model", unique=True),
    *SEARCH_INDEXES,
    USAGE_INDEX,
]

_REFUSALS: Final[Refusals] = {("companyId", "model"): DuplicateModel}


class MongoProducts:
    """See Catalog."""

    _mongo: MongoConnection

    def create_product(self, product: Product) -> None:
        with self._mongo.call(_REFUSALS) as database:
            require_workspace(database, product.workspace_id)

            document = PRODUCT.encode(product) | {"history": [CHANGE.encode(creation(product))]}

            def insert(session: ClientSession | None) -> bool:
                self._mongo.insert(database.products, document, session)
                return True

            with_usage(self._mongo, database, product.workspace_id, product.usage, insert)

    def get_product(self, workspace_id: str, product_id: str, *, for_change: bool = False) -> Product:
        with self._mongo.call() as database:
            products = latest(database.products) if for_change else database.products
            document = products.find_one({"_id": product_id, "companyId": workspace_id}, OF_RECORD)
        if document is None:
            raise ProductNotFound
        return PRODUCT.decode(document)

    def find_product(self, workspace_id: str, model: str) -> Product | None:
        with self._mongo.call() as database:
            document = database.products.find_one({"companyId": workspace_id, "model": model}, OF_RECORD)
        return None if document is None else PRODUCT.decode(document)

    def iter_products(self, *, after: str = "") -> Iterator[Product]:
        last = after
        while True:
            with self._mongo.call() as database:
                found = database.products.find({"_id": {"$gt": last}}, OF_RECORD, limit=PAGE).sort("_id")
                page = [PRODUCT.decode(document) for document in found]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].id

    def list_products(self, workspace_id: str, query: ProductQuery) -> ProductPage:
        with self._mongo.call() as database:
            return find_page(database.products, self._mongo.indexes, workspace_id, query)

    def get_history(self, workspace_id: str, product_id: str) -> list[Change]:
        with self._mongo.call() as database:
            document = database.products.find_one(
                {"_id": product_id, "companyId": workspace_id}, {"history": True}
            )
        if document is None:
            raise ProductNotFound
        return [CHANGE.decode(entry) for entry in reversed(document.get("history", []))]

    def update_product(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        expected_version: int | None = None,
        seen: Product | None = None,
    ) -> Product:
        known = seen if changes else None
        with self._mongo.call(_REFUSALS) as database:
            for _ in self._mongo.attempts():
                product = known or _current(database, workspace_id, product_id, expected_version)
                if not changes:
                    return product
                if after := self._change(database, product, changes):
                    return after
                known = None
        raise AssertionError  # the attempts end with an exception

    def delete_product(
        self, workspace_id: str, product_id: str, *, expected_version: int | None = None
    ) -> Product:
        with self._mongo.call() as database:
            for _ in self._mongo.attempts():
                product = _current(database, workspace_id, product_id, expected_version)
                if self._delete(database, product):
                    return product
                self._require_certainty()
        raise AssertionError

    # --- images

    def append_image(
        self,
        workspace_id: str,
        product_id: str,
        image: Image,
        *,
        unless_present: bool = False,
        seen: Product | None = None,
    ) -> Appended:
        at = now()
        change = _new_version(at, addition(image, at))
        change["$push"]["images"] = IMAGE.encode(image)
        change["$set"] = {"missingImages": False} | ({"missingAlt": True} if image.alt is None else {})
        if image.key is not None:
            change["$inc"] |= {"storedImages": 1, "storedBytes": image.size or 0}
        room = _room_for(workspace_id, product_id, image, unless_present=unless_present)
        added = image.usage
        with self._mongo.call() as database:

            def append(session: ClientSession | None) -> Document | None:
                return _find_and_change(database, room, change, session)

            for _ in self._mongo.attempts():
                if after := with_usage(self._mongo, database, workspace_id, added, append):
                    return Appended(PRODUCT.decode(after), image)
                # Find out why nothing was changed. If there is no reason any more, an image was removed
                # meanwhile: try again.
                product = _current(database, workspace_id, product_id)
                if outcome := outcome_without_append(product, image, unless_present=unless_present):
                    return outcome
        raise AssertionError

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        with self._mongo.call() as database:
            for _ in self._mongo.attempts():
                product = _current(database, workspace_id, product_id, expected_version)
                if not 0 <= index < len(product.images):
                    raise ImageNotFound
                images = list(product.images)
                removed = images.pop(index)
                if after := self._change(database, product, {"images": tuple(images)}):
                    return after, removed
        raise AssertionError

    def _change(
        self, database: Database[Document], before: Product, changes: ProductChanges
    ) -> Product | None:
        """Changes a product; returns its next version, or None if it is at another version by now."""
        changed_product = replace(before, **changes)
        old, new = PRODUCT.encode(before), PRODUCT.encode(changed_product)
        at = now()
        change = _new_version(at, change_between(before, changed_product, at))
        if changed := {name: value for name, value in new.items() if value != old.get(name)}:
            change["$set"] = changed
        gone = old.keys() - new.keys()
        if "folded" in changed:
            gone.update(OBSOLETE_FIELDS)
        if gone:
            change["$unset"] = dict.fromkeys(gone, "")
        added = changed_product.usage - before.usage

        def execute(session: ClientSession | None) -> Document | None:
            return _find_and_change(database, _at_version(before), change, session)

        if document := with_usage(self._mongo, database, before.workspace_id, added, execute):
            return PRODUCT.decode(document)
        self._require_certainty()
        return None

    def _delete(self, database: Database[Document], product: Product) -> bool:
        """Deletes a product unless it is at another version by now; returns whether it did."""

        def delete(session: ClientSession | None) -> bool:
            return database.products.delete_one(_at_version(product), session=session).deleted_count > 0

        return with_usage(self._mongo, database, product.workspace_id, Usage() - product.usage, delete)

    def _require_certainty(self) -> None:
        """Raises OutcomeUnknown if a write matched nothing but an earlier attempt of it may have succeeded.

        The new version of the product may then come from another client or from that attempt: a further
        attempt could remove a second image.
        """
        if self._mongo.repeated:
            raise OutcomeUnknown


def _current(
    database: Database[Document], workspace_id: str, product_id: str, expected_version: int | None = None
) -> Product:
    """The product before a change, with all writes that the primary has done.

    Raises:
        ProductNotFound, VersionMismatch
    """
    document = latest(database.products).find_one({"_id": product_id, "companyId": workspace_id}, OF_RECORD)
    if document is None:
        raise ProductNotFound
    if expected_version not in (None, document["version"]):
        raise VersionMismatch
    return PRODUCT.decode(document)


def _find_and_change(
    database: Database[Document], wanted: Document, change: Document, session: ClientSession | None
) -> Document | None:
    """Changes the product that a filter finds, in one atomic step; returns the changed product."""
    document: Document | None = database.products.find_one_and_update(
        wanted, change, OF_RECORD, return_document=ReturnDocument.AFTER, session=session
    )
    return document


def _room_for(workspace_id: str, product_id: str, image: Image, *, unless_present: bool) -> Document:
    """The filter that finds a product to which an image is to be appended: see ``outcome_without_append``."""
    room: dict[str, Any] = {
        "_id": product_id,
        "companyId": workspace_id,
        f"images.{MAX_IMAGES - 1}": {"$exists": False},
    }
    if image.key:
        room["images.key"] = {"$ne": image.key}
    if unless_present and image.sha256:
        room["images.sha256"] = {"$ne": image.sha256}
    return room


def _at_version(product: Product) -> Document:
    """The filter that finds a product unless it is at another version."""
    return {"_id": product.id, "companyId": product.workspace_id, "version": product.version}


def _new_version(at: datetime, change: Change | None) -> dict[str, Any]:
    """The part of every change that makes a new version. ``updatedAt`` never decreases.

    Args:
        at: the time of the change.
        change: the entry for the history; None if nothing is different.
    """
    update: dict[str, Any] = {"$inc": {"version": 1}, "$max": {"updatedAt": at}}
    if change is not None:
        update["$push"] = {"history": {"$each": [CHANGE.encode(change)], "$slice": -MAX_CHANGES}}
    return update
