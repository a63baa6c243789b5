"""The protocol that every catalog implements, and its records.

A catalog stores products, and the identities that may access them (``catalog/identity.py``). A product holds
its images in order. Each change of a product is one atomic step that increments ``version`` and adds an entry
to the product's history (``catalog/history.py``). No change overwrites a concurrent one.

An implementation can be shared between threads and built before a fork: it opens its connections at first
use. It takes plain constructor arguments. It raises the errors of ``catalog/errors.py`` and never those of
its driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypedDict

from catalog.daily_usage import DailyUsage
from catalog.history import Change
from catalog.identity import Identities, Usage
from catalog.purges import PurgeQueue

#: The most images of a product, external URLs included: docs/contract.md "Upload one image".
MAX_IMAGES: Final = 20

#: How many products ``iter_products`` reads at once.
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
        url: the public URL.
        earlier_urls: the URLs that the image had before the server or the bucket got another address, oldest
            first.
        key: the storage key of a hosted image. None for an external URL, which has no other attribute but
            ``alt``.
        sha256: the hex digest of the bytes that the client sent.
        stored_sha256: the hex digest of the stored bytes, from which metadata may have been removed. None for
            images that were stored before it was recorded.
        content_type: the media type it is served with.
        size: the size of the stored object, in bytes.
        width, height: in pixels, as a viewer sees the picture; as it is stored if ``orientation`` is None.
        created_at: UTC.
        metadata_removed: names of the kinds of metadata that were removed; None for images that were stored
            before these names were recorded.
        digital_source_type: how the picture was made, as the file says: a term of IPTC's vocabulary.
        orientation: how a viewer turns and mirrors the stored picture: 1 (not at all) to 8, as in Exif. None
            in records of versions that did not apply it to ``width`` and ``height``.
        alt: the alternative text in each language, by BCP 47 tag in its canonical case; never empty. None if
            there is no text.
    """

    url: str
    key: str | None = None
    sha256: str | None = None
    stored_sha256: str | None = None
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    created_at: datetime | None = None
    metadata_removed: tuple[str, ...] | None = None
    digital_source_type: str | None = None
    orientation: int | None = None
    alt: Mapping[str, str] | None = None
    earlier_urls: tuple[str, ...] | None = None

    @property
    def usage(self) -> Usage:
        """What the image adds to the usage of its workspace: nothing if it is an external URL."""
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
        """What the product adds to the usage of its workspace."""
        return sum((image.usage for image in self.images), Usage(products=1))

    @property
    def missing_alt(self) -> bool:
        """Whether an image has no alternative text in any language."""
        return any(image.alt is None for image in self.images)

    @property
    def missing_images(self) -> bool:
        """Whether there is no image."""
        return not self.images

    def image_with(self, sha256: str) -> Image | None:
        """The first image whose bytes, as they were sent, have this hex digest."""
        return next((image for image in self.images if image.sha256 == sha256), None)


@dataclass(frozen=True, slots=True)
class Appended:
    """The outcome of an append: the product after the append, and the image that has the bytes.

    ``image`` is the appended image, or the one that the product already had.
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


class Sort(StrEnum):
    """The order of a list.

    Names and models are compared as the search reads them (``catalog/grams.py``), by code point. Products
    that are equal are ordered by id: the highest first where the latest time is first, otherwise the lowest.
    """

    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"
    MODEL = "model"
    #: The last change first.
    UPDATED = "updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductQuery:
    """A query for products of a workspace.

    Attributes:
        page: from 1.
        limit: products on a page.
        category, status: only products of this category or status. None means any, but see ``show_archived``.
        search: only products whose name or model contains this text, taken literally and without regard to
            case and accents (``catalog/grams.py``). An empty text matches every product.
        show_archived: whether archived products are included if ``status`` is None.
        missing_alt: whether only products are included that have an image without alternative text.
        models: only products whose model is exactly one of these. Empty means any.
        missing_images: whether only products are included that have no image.
        sort: the order.
    """

    page: int = 1
    limit: int = 20
    category: str | None = None
    status: str | None = None
    search: str = ""
    show_archived: bool = False
    missing_alt: bool = False
    models: Sequence[str] = ()
    missing_images: bool = False
    sort: Sort = Sort.NEWEST

    @property
    def only_status(self) -> str | None:
        """The status that is queried for; None means any."""
        return self.status or (None if self.show_archived else ACTIVE)

    @property
    def offset(self) -> int:
        """How many products precede the page."""
        return (self.page - 1) * self.limit


@dataclass(frozen=True, slots=True)
class ProductPage:
    """A page of products, and the number of products on all pages."""

    items: Sequence[Product]
    total: int


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to a request, complete enough to be sent again byte for byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyClaim:
    """The right to run the first request of an Idempotency-Key, and later its answer.

    Attributes:
        workspace_id, key: the key that is claimed.
        fingerprint: the fingerprint of the request. A request with another fingerprint is another request.
        token: distinguishes this claim from a later one of the same key.
        lease_until: from this time on, a request that has neither completed nor released the claim counts as
            dead.
        expires_at: from this time on, the key can be used again.
        answer: None while the request runs.
    """

    workspace_id: str
    key: str
    fingerprint: bytes
    token: str
    lease_until: datetime
    expires_at: datetime
    answer: StoredAnswer | None = None


class Catalog(Identities, DailyUsage, PurgeQueue, Protocol):
    """A store of records.

    Every method may raise CatalogUnavailable. A method that writes raises OutcomeUnknown instead if the write
    may have happened.
    """

    def create_product(self, product: Product) -> None:
        """Adds a product.

        Raises:
            DuplicateModel, WorkspaceNotFound
            ProductQuotaReached, ImageQuotaReached, ByteQuotaReached
        """

    def get_product(self, workspace_id: str, product_id: str, *, for_change: bool = False) -> Product:
        """The product.

        Args:
            workspace_id, product_id: the ids of the workspace and of its product.
            for_change: whether ``update_product`` will compare the version. The product may then include a
                change that a failover would undo.

        Raises:
            ProductNotFound: also if another workspace has the product.
        """

    def find_product(self, workspace_id: str, model: str) -> Product | None:
        """The product of exactly this model; None if the workspace has none."""

    def iter_products(self, *, after: str = "") -> Iterator[Product]:
        """The products of all workspaces whose ids come after ``after``, by id, for commands that process the
        whole catalog.

        They are read in pages. No lock is held between the pages, so the caller may be slow and may
        write. A product that exists during the whole iteration is returned exactly once, at a version that it
        had during the iteration. A product that is created or deleted during the iteration may be returned or
        not.
        """

    def list_products(self, workspace_id: str, query: ProductQuery) -> ProductPage:
        """A page of a workspace's products. A page after the last one has no items.

        No two products are equal in the order (``Sort``), so pages neither overlap nor have gaps.
        """

    def get_history(self, workspace_id: str, product_id: str) -> list[Change]:
        """The last ``MAX_CHANGES`` changes of a product, newest first, each by who was ``acting``.

        A change that made nothing different has no entry, and neither has one that was made before catalogs
        kept a history. The history is deleted with the product.

        Raises:
            ProductNotFound
        """

    def update_product(
        self,
        workspace_id: str,
        product_id: str,
        changes: ProductChanges,
        *,
        expected_version: int | None = None,
        seen: Product | None = None,
    ) -> Product:
        """Changes some fields of a product, in one atomic step. Empty ``changes`` keep the version.

        Args:
            seen: the product at ``expected_version`` as the caller has read it, which saves an implementation
                a read. It may have changed since.

        Returns:
            The product after the change.

        Raises:
            ProductNotFound, DuplicateModel, ImageQuotaReached, ByteQuotaReached
            VersionMismatch: the product is not at ``expected_version``; checked first.
        """

    def delete_product(
        self, workspace_id: str, product_id: str, *, expected_version: int | None = None
    ) -> Product:
        """Deletes a product permanently.

        Returns:
            The product as it was before.

        Raises:
            ProductNotFound
            VersionMismatch: the product is not at ``expected_version``.
        """

    def append_image(
        self,
        workspace_id: str,
        product_id: str,
        image: Image,
        *,
        unless_present: bool = False,
        seen: Product | None = None,
    ) -> Appended:
        """Appends an image if the product has fewer than ``MAX_IMAGES``, in one atomic step.

        With ``unless_present``, a product that has an image of the same ``sha256`` is not changed, even if it
        is full.

        Args:
            seen: the product as the caller has read it, which saves an implementation a read. It may have
                changed since.

        Raises:
            ProductNotFound, ProductFull, ImageQuotaReached, ByteQuotaReached
        """

    def remove_image(
        self, workspace_id: str, product_id: str, index: int, *, expected_version: int | None = None
    ) -> tuple[Product, Image]:
        """Removes the image at a zero-based index, in one atomic step.

        Returns:
            The product after the removal, and the removed image.

        Raises:
            ProductNotFound, ImageNotFound
            VersionMismatch: the product is not at ``expected_version``; checked before the index.
        """

    def claim_idempotency_key(self, claim: IdempotencyClaim, at: datetime) -> IdempotencyClaim | None:
        """Claims a key, in one atomic step, unless it has a claim that has not expired at this time.

        A claim without an answer whose lease is over is replaced by a claim with the same fingerprint.

        Returns:
            None if the key is now claimed; otherwise the existing claim.

        Raises:
            IdempotencyKeysUsedUp: the workspace has ``MAX_LIVE_KEYS``. Concurrent claims may exceed this
                limit by their number.
        """

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        """Stores the answer of a claim, unless a later claim has replaced it."""

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        """Removes a claim, so that the next request runs, unless a later claim has replaced it."""

    def remove_expired(self, at: datetime, limit: int) -> Mapping[str, int]:
        """Removes a batch of expired records, small enough to delay no other write.

        Idempotency-Keys, sessions and access tokens are removed when they have expired; API keys, other
        credentials and grants ``EXPIRED_KEPT_FOR`` later, records of days after ``DAYS_KEPT_FOR``, and
        self-registered clients without a live grant after ``UNUSED_CLIENTS_KEPT_FOR``.

        Args:
            at: UTC.
            limit: the most records of each kind that are removed.

        Returns:
            How many ``idempotencyKeys``, ``apiKeys``, other ``credentials``, ``grants``, ``usageDays`` and
            ``unusedClients`` were removed. If all numbers are 0, none is left.
        """

    def prepare(self) -> Iterator[str]:
        """Builds indexes and updates records of earlier versions, however long it takes.

        It must not run before all servers have this version: it removes what an earlier version may need.

        Yields:
            A sentence for each step, when it is done.

        Raises:
            CatalogUnavailable
        """

    def check(self) -> None:
        """Returns if the catalog answers. It is quick enough for the start of a server and for probes."""

    def close(self) -> None:
        """Closes the idle connections. The next call opens new ones."""
