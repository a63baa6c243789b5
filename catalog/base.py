"""What is known of the images: the protocol that every catalog implements.

A catalog keeps products, and who may touch them (``catalog/identity.py``). A product holds its images in
order; each change of a product is one atomic step that makes a new ``version``, and no step loses
another's.

An implementation is safe to share between threads and to build before a fork: its connections are
made at first use. It takes plain constructor arguments, keeps its driver's exceptions to itself,
and raises those of ``catalog/errors.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypedDict

from catalog.identity import Identities, Usage

#: The most images of a product, external URLs included: docs/contract.md "Upload one image".
MAX_IMAGES: Final = 20

#: How many products are read at once by what goes through all of them.
PAGE: Final = 50

#: The most Idempotency-Keys of a workspace that have not expired.
MAX_LIVE_KEYS: Final = 10_000

#: The statuses of a product.
ACTIVE: Final = "active"
ARCHIVED: Final = "archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One entry of a product's ``imageUrls``.

    Attributes:
        url: what clients are given.
        key: the storage key of a hosted image; None for a URL on someone else's server, of which
            nothing else is known either.
        sha256: the hex digest of the bytes that the client sent.
        content_type: the media type it is served with.
        size: of the stored object, in bytes.
        width, height: in pixels.
        created_at: UTC.
        metadata_removed: names of the kinds of metadata that the stored object lacks; None for images
            from before they were told.
    """

    url: str
    key: str | None = None
    sha256: str | None = None
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    created_at: datetime | None = None
    metadata_removed: tuple[str, ...] | None = None

    @property
    def usage(self) -> Usage:
        """What it adds to the usage of its workspace: nothing if it is on someone else's server."""
        return Usage() if self.key is None else Usage(images=1, bytes=self.size or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product and its images, as of one version.

    Attributes:
        version: counts the changes, from 1.
        category, status, source_locale: as the contract's "Products" lists them.
        default_field_values: any JSON object.
    """

    id: str
    workspace_id: str
    name: str
    model: str
    category: str
    description: str | None = None
    default_field_values: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[Image] = ()
    status: str = ACTIVE
    source_locale: str = "en"
    version: int = 1
    created_at: datetime
    updated_at: datetime

    @property
    def image_urls(self) -> list[str]:
        """The URLs of the images, in order."""
        return [image.url for image in self.images]

    @property
    def usage(self) -> Usage:
        """What it adds to the usage of its workspace."""
        return sum((image.usage for image in self.images), Usage(products=1))

    def image_with(self, sha256: str) -> Image | None:
        """The first image whose bytes, as they were sent, have this hex digest."""
        return next((image for image in self.images if image.sha256 == sha256), None)


@dataclass(frozen=True, slots=True)
class Appended:
    """The outcome of an append: the product after it, and the image that has the bytes.

    ``image`` is the appended one, or the one that was there already.
    """

    product: Product
    image: Image


class ProductChanges(TypedDict, total=False):
    """The fields of a product that change; ``images`` is a whole list, of at most ``MAX_IMAGES``."""

    name: str
    model: str
    category: str
    description: str | None
    default_field_values: Mapping[str, Any]
    images: Sequence[Image]
    status: str
    source_locale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductQuery:
    """Which of a workspace's products are wanted.

    Attributes:
        page: from 1.
        limit: products a page.
        category, status: those of this one only; None: of any, but archived ones as below.
        search: those whose name or model has these characters, all taken literally, in any case
            (Unicode's full case folding); empty: those of any name.
        show_archived: whether archived ones come without being asked for by ``status``.
    """

    page: int = 1
    limit: int = 20
    category: str | None = None
    status: str | None = None
    search: str = ""
    show_archived: bool = False

    @property
    def only_status(self) -> str | None:
        """The one status that is wanted; None if any is."""
        return self.status or (None if self.show_archived else ACTIVE)

    @property
    def offset(self) -> int:
        """How many products come before the page."""
        return (self.page - 1) * self.limit


@dataclass(frozen=True, slots=True)
class ProductPage:
    """A page of products, and how many there are on all pages together."""

    items: Sequence[Product]
    total: int


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a request was answered with: enough to answer it again, byte for byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyClaim:
    """The right to run the first request of an Idempotency-Key, or what became of it.

    Attributes:
        workspace_id, key: what it is a claim to.
        fingerprint: of the request; another one is not the same request.
        token: tells this claim from a later one to the same key.
        lease_until: when a request that has neither completed nor released it counts as dead.
        expires_at: when the key may be used anew.
        answer: None while the request runs.
    """

    workspace_id: str
    key: str
    fingerprint: bytes
    token: str
    lease_until: datetime
    expires_at: datetime
    answer: StoredAnswer | None = None


class Catalog(Identities, Protocol):
    """A store of records.

    Every method may raise CatalogUnavailable. A method that writes raises OutcomeUnknown instead
    where the write may have happened all the same.
    """

    def create_product(self, product: Product) -> None:
        """Adds a product.

        Raises:
            DuplicateModel, WorkspaceNotFound
            ProductQuotaReached, ImageQuotaReached, ByteQuotaReached
        """

    def get_product(self, workspace_id: str, product_id: str) -> Product:
        """Raises ProductNotFound, also when another workspace has the product."""

    def iter_products(self) -> Iterator[Product]:
        """All products of all workspaces, by id, for work that goes through the whole catalog.

        They are read in pages, and nothing is held between them: the caller may take its time, and
        may write. A product that is there from the first to the last comes exactly once, at a
        version that it had meanwhile; one that is created or deleted meanwhile may come or not.
        """

    def list_products(self, workspace_id: str, query: ProductQuery) -> ProductPage:
        """A page of a workspace's products, newest first; one past the last page has no items.

        Products of the same millisecond come by id, so that pages neither overlap nor have gaps.
        """

    def update_product(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        expected_version: int | None = None,
    ) -> Product:
        """Changes some fields of a product, in one atomic step; no changes make no new version.

        Returns:
            The product after it.

        Raises:
            ProductNotFound, DuplicateModel, ImageQuotaReached, ByteQuotaReached
            VersionMismatch: the product is not at ``expected_version``; checked first.
        """

    def delete_product(
        self, workspace_id: str, product_id: str, *, expected_version: int | None = None
    ) -> Product:
        """Removes a product for good.

        Returns:
            The product as it was.

        Raises:
            ProductNotFound
            VersionMismatch: the product is not at ``expected_version``.
        """

    def append_image(
        self, workspace_id: str, product_id: str, image: Image, *, unless_present: bool = False
    ) -> Appended:
        """Appends an image if the product has fewer than ``MAX_IMAGES``, in one atomic step.

        With ``unless_present``, a product that has an image of the same ``sha256`` is left as it
        is, even when it is full.

        Raises:
            ProductNotFound, ProductFull, ImageQuotaReached, ByteQuotaReached
        """

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        """Removes the image at a zero-based index, in one atomic step.

        Returns:
            The product after it, and the removed image.

        Raises:
            ProductNotFound, ImageNotFound
            VersionMismatch: the product is not at ``expected_version``; checked before the index.
        """

    def claim_idempotency_key(self, claim: IdempotencyClaim, at: datetime) -> IdempotencyClaim | None:
        """Claims a key, in one atomic step, unless there is a claim that has not expired at this time.

        A claim without an answer whose lease is over gives way to one of the same fingerprint.

        Returns:
            None if it is claimed now; else the claim that stands.

        Raises:
            IdempotencyKeysUsedUp: the workspace has ``MAX_LIVE_KEYS``. Claims that are made at the same time
                may exceed that by their number.
        """

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        """Stores the answer of a claim, unless the key has been claimed anew."""

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        """Gives a claim up, so that the next request runs, unless the key has been claimed anew."""

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        """Removes some of the records that have expired at this time: a batch that holds up nobody.

        Idempotency-Keys, sessions and access tokens are removed when they have expired; other credentials and
        grants ``EXPIRED_KEPT_FOR`` later.

        Args:
            at: UTC.
            limit: of records of each kind.

        Returns:
            How many ``idempotencyKeys``, ``credentials`` and ``grants`` were removed. None is left if all
            are 0.
        """

    def check(self) -> None:
        """Returns if the catalog answers; quick, for a start or a probe."""

    def close(self) -> None:
        """Closes the connections that are idle; the next call opens what it needs."""
