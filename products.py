"""Creation, change and deletion of products, with the objects of their images.

The catalog is changed first and the objects are deleted after it, as in ``uploads.py``, so no URL of a
product ever lacks its object. The sizes of an image (``sizes.py``) are deleted with it. A new list of images
replaces the list that the product has when the change is applied: an upload that committed before is dropped
with its object, and one that commits later is appended. What each failure leaves:

==========================================  =====================================================
the catalog refuses or fails                nothing has changed
the product changes between its read and    the catalog refuses by the version, and the list is made
its change                                  again from the new state; with If-Match: 412
the catalog does not answer                 unknown: the change may have happened. No object is
                                            deleted; the sweep removes unreferenced ones
the store fails or is too slow, or the      the change is done: 200. The sweep removes the objects
process dies, after the catalog             that are left
an upload to a deleted product is running   its object is deleted here, or by the upload when the
                                            catalog refuses the append: 404
==========================================  =====================================================
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from catalog.attempts import attempts
from catalog.base import Catalog, Image, Product, ProductChanges
from catalog.errors import ImageNotFound, VersionMismatch
from catalog.identity import Plan
from catalog.ids import new_id, now
from errors import DomainError, InvalidFields
from references import host_of, is_https_url
from sizes import keys_with_sizes, width_of
from storage.base import CONTENT_TYPES, StorageBackend, UrlSpace, delete_unreferenced
from turns import REQUESTER, Bounds, Turns, asking_as

#: How long a change of the images waits for another one of its process, and is then retried while changes of
#: other processes conflict with it, in seconds.
_CHANGE_PATIENCE: Final = 0.8

#: Turns for such changes: those of one product follow each other within a process, so that they make only
#: those of other processes repeat. Here the products take turns, not the workspaces.
_MOST_CHANGES: Final = 1000
_CHANGES: Final = Turns(
    Bounds(requests=_MOST_CHANGES, own_requests=_MOST_CHANGES, own_turns=1, seconds=_CHANGE_PATIENCE),
    of="changes to one product",
)

#: Changes of an image's alternative text: of each language, where None removes the text; the text in the
#: product's ``source_locale``; or None, which removes all.
AltChanges: TypeAlias = Mapping[str, str | None] | str | None

#: The most bytes of a product's alternative texts, as UTF-8 and with their tags. A page of a list has 100
#: products.
_MAX_ALT_BYTES: Final = 128 * 1024

_OF_ANOTHER: Final = "An image of another product can't be used: upload it to this one"
_DELETED: Final = "This product's image has been deleted: upload it again"
_NOT_AS_ISSUED: Final = "A URL of this server must be exactly the URL of one of this product's images"

log = logging.getLogger(__name__)


class ImageUrlsRefused(InvalidFields):
    """A list of URLs that a product can't have.

    Args:
        sentences: one for each thing that is wrong.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__({"imageUrls": sentences})


class NotInPlan(DomainError):
    """The workspace's plan lacks the feature."""

    code = "not_in_plan"
    message = "Deleting products permanently requires a paid plan. Archive the product instead."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProduct:
    """The fields of a product to create. All values are valid; only ``image_urls`` are still unchecked."""

    name: str
    model: str
    category: str
    description: str | None
    default_field_values: Mapping[str, Any]
    image_urls: Sequence[str]
    source_locale: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """The outcome of a deletion: the product as it was before, and the number of deleted objects."""

    product: Product
    objects: int


class Products:
    """Creates, changes and deletes products, and deletes the objects that they no longer reference.

    Args:
        storage, catalog: the stores of objects and records.
        hosts: further URL spaces of this server, such as that of the other store before or after a migration.
        on_left: called when the store fails to delete objects.
    """

    def __init__(
        self,
        storage: StorageBackend,
        catalog: Catalog,
        *,
        hosts: Sequence[UrlSpace] = (),
        on_left: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._hosts = (storage, *hosts)
        self._own_hosts = {host_of(host.public_url("x")) for host in self._hosts}
        self._on_left = on_left

    def create(self, workspace_id: str, new: NewProduct) -> Product:
        """Creates a product.

        Raises:
            DuplicateModel, ProductQuotaReached, WorkspaceNotFound, CatalogUnavailable
            ImageUrlsRefused: a URL is not an external one.
        """
        refusals = dict.fromkeys(why for url in new.image_urls for why in self._refusals(url))
        if refusals:
            raise ImageUrlsRefused(list(refusals))
        created_at = now()
        product = Product(
            id=new_id(),
            workspace_id=workspace_id,
            name=new.name,
            model=new.model,
            category=new.category,
            description=new.description,
            default_field_values=new.default_field_values,
            images=tuple(Image(url=url) for url in new.image_urls),
            source_locale=new.source_locale,
            created_at=created_at,
            updated_at=created_at,
        )
        self._catalog.create_product(product)
        return product

    def change(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        image_urls: Sequence[str] | None = None,
        expected_version: int | None = None,
    ) -> Product:
        """Changes fields of a product and, with ``image_urls``, its whole list of images.

        An image that is in both lists keeps its attributes. A hosted image that is not in the new list is
        removed.

        Raises:
            ProductNotFound, DuplicateModel, VersionMismatch, CatalogUnavailable
            ImageUrlsRefused: a URL is neither one of this product's images nor an external one.
        """
        if image_urls is None:
            return self._catalog.update_product(
                workspace_id, product_id, changes, expected_version=expected_version
            )

        def change(before: Product) -> ProductChanges:
            return {**changes, "images": self._images(before, image_urls)}

        before, after = self._change(workspace_id, product_id, change, expected_version)
        kept = {image.key for image in after.images}
        dropped = [image.key for image in before.images if image.key and image.key not in kept]
        _log_removal(product_id, dropped)
        keys = (key for image_key in dropped for key in keys_with_sizes(self._storage, image_key))
        delete_unreferenced(self._storage, keys, self._on_left)
        return after

    def describe(
        self,
        workspace_id: str,
        product_id: str,
        index: int,
        alt: AltChanges,
        *,
        expected_version: int | None = None,
    ) -> Product:
        """Changes the alternative text of the image at a zero-based index.

        Returns:
            The product after the change; at its old version if the texts are what they were.

        Raises:
            ProductNotFound, ImageNotFound, VersionMismatch, CatalogUnavailable
            InvalidFields: the texts of the product would be too long.
        """

        def change(before: Product) -> ProductChanges:
            if index >= len(before.images):
                raise ImageNotFound
            image = before.images[index]
            described = replace(image, alt=_merged(image.alt, alt, before.source_locale))
            if described == image:
                return {}
            images = (*before.images[:index], described, *before.images[index + 1 :])
            _require_short(images)
            return {"images": images}

        return self._change(workspace_id, product_id, change, expected_version)[1]

    def _change(
        self,
        workspace_id: str,
        product_id: str,
        change: Callable[[Product], ProductChanges],
        expected_version: int | None,
    ) -> tuple[Product, Product]:
        """Makes a change that depends on the product. Returns the product before and after the change.

        Raises:
            ProductNotFound, DuplicateModel, VersionMismatch, CatalogUnavailable
            ShareUsed, ServerBusy, ClientGone: see Turns.
            DomainError: what ``change`` raises.
        """
        end = time.monotonic() + _CHANGE_PATIENCE
        with asking_as(replace(REQUESTER.get(), owner=product_id)), _CHANGES.turn(1, _MOST_CHANGES):
            for _ in attempts(end - time.monotonic()):
                before = self._catalog.get_product(workspace_id, product_id, for_change=True)
                if expected_version not in (None, before.version):
                    raise VersionMismatch
                changes = change(before)
                try:
                    after = self._catalog.update_product(
                        workspace_id, product_id, changes, expected_version=before.version, seen=before
                    )
                except VersionMismatch:
                    if expected_version is None:  # another change was done meanwhile
                        continue
                    raise
                return before, after
        raise AssertionError  # the attempts end with an exception

    def _images(self, product: Product, urls: Sequence[str]) -> list[Image]:
        """The images of a product's new list.

        An image of the product is identified by exactly a URL that was issued for it, or by the URL that its
        key has now: the server or the bucket may have got another address since.

        Raises:
            ImageUrlsRefused
        """
        by_url: dict[str, list[Image]] = {}
        for image in product.images:
            by_url.setdefault(image.url, []).append(image)
        by_key = {image.key: image for image in product.images if image.key}
        by_earlier_url = {url: image for image in product.images for url in image.earlier_urls or ()}
        images: list[Image] = []
        reasons: dict[str, None] = {}  # an ordered set
        for url in urls:
            # Images of the same external URL keep their order, and their alternative texts with it.
            same = by_url.get(url) or [
                by_earlier_url.get(url) or by_key.get(self._key_of(url) or "") or Image(url=url)
            ]
            image = same.pop(0) if len(same) > 1 else same[0]
            if image.key and image in images:
                reasons["The same image is in the list twice"] = None
            elif image.url not in by_url:
                reasons |= dict.fromkeys(self._refusals(url, product))
            images.append(image)
        if reasons:
            raise ImageUrlsRefused(list(reasons))
        return images

    def _refusals(self, url: str, product: Product | None = None) -> list[str]:
        """The reasons why a product can't have this URL as a new one; none if it is an https URL elsewhere.

        A URL of our own hosts is refused however it is spelt: docs/contract.md "Products".

        Args:
            url: a URL that no image of the product has.
            product: None if the product does not exist yet.
        """
        if host_of(url) in self._own_hosts:
            key = self._key_of(url)
            if key is None or key.rpartition(".")[2] not in CONTENT_TYPES or width_of(key):
                return [_NOT_AS_ISSUED]
            if product and key.startswith(f"{product.workspace_id}/products/{product.id}/"):
                return [_DELETED]
            return [_OF_ANOTHER]
        return [] if is_https_url(url) else ["Not an https URL"]

    def _key_of(self, url: str) -> str | None:
        return next((key for host in self._hosts if (key := host.key_of(url)) is not None), None)

    def delete(self, workspace_id: str, product_id: str, *, expected_version: int | None = None) -> Deleted:
        """Deletes a product permanently, with every object under its prefix.

        Raises:
            NotInPlan: the workspace is on the Free plan.
            ProductNotFound, VersionMismatch, CatalogUnavailable
        """
        if self._catalog.get_workspace(workspace_id).plan is Plan.FREE:
            raise NotInPlan
        product = self._catalog.delete_product(workspace_id, product_id, expected_version=expected_version)
        _log_removal(product_id, [image.key for image in product.images if image.key])
        return Deleted(product, delete_unreferenced(self._storage, self._keys_of(product), self._on_left))

    def _keys_of(self, product: Product) -> Iterator[str]:
        # A file with another extension belongs to a write in progress, which would fail without it. That
        # upload deletes its object itself when the catalog reports that the product is gone.
        for info in self._storage.list(f"{product.workspace_id}/products/{product.id}/"):
            if info.key.rpartition(".")[2] in CONTENT_TYPES:
                yield info.key


def _merged(before: Mapping[str, str] | None, changes: AltChanges, locale: str) -> Mapping[str, str] | None:
    """An alternative text after the changes; None if no language is left."""
    if changes is None:
        return None
    if isinstance(changes, str):
        changes = {locale: changes}
    merged = {**(before or {}), **changes}
    return {language: text for language, text in merged.items() if text is not None} or None


def _require_short(images: Sequence[Image]) -> None:
    """Raises InvalidFields if the alternative texts of a product are longer than ``_MAX_ALT_BYTES``."""
    texts = [item for image in images for pair in (image.alt or {}).items() for item in pair]
    if sum(len(text.encode()) for text in texts) > _MAX_ALT_BYTES:
        raise InvalidFields({"alt": ["The texts of a product must be at most 128 KB together"]})


def _log_removal(product_id: str, keys: Sequence[str]) -> None:
    """Logs the images that a change has removed, each on a line. An upload's removal has its access line."""
    for key in keys:
        image_id = key.rpartition("/")[2].partition(".")[0]
        fields = {"productId": product_id, "imageId": image_id}
        log.info("image removed from its product", extra={"fields": fields})
