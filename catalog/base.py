"""What is known of the images, and of who may touch them: the protocol that every catalog implements.

A catalog keeps workspaces, credentials and products. A product holds its images in order; each
change of a product is one atomic step that makes a new ``version``, and no step loses another's.

An implementation is safe to share between threads and to build before a fork: its connections are
made at first use. It takes plain constructor arguments, keeps its driver's exceptions to itself,
and raises the errors below.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypedDict

#: The most images of a product, external URLs included: CONTRACT "at most 20 images a product".
MAX_IMAGES: Final = 20

#: The statuses of a product.
ACTIVE: Final = "active"
ARCHIVED: Final = "archived"


class CatalogError(Exception):
    """What a catalog refuses. ``code`` is a stable name; ``api/errors.py`` maps it to a status."""

    code = "catalog_error"
    message = "Internal server error"

    def __str__(self) -> str:
        return super().__str__() or self.message


class WorkspaceNotFound(CatalogError):
    """No workspace has this id."""

    code = "workspace_not_found"
    message = "Workspace not found"


class CredentialNotFound(CatalogError):
    """No credential has this id."""

    code = "credential_not_found"
    message = "Key not found"


class ProductNotFound(CatalogError):
    """The workspace has no product with this id; another workspace may."""

    code = "product_not_found"
    message = "Product not found"


class ImageNotFound(CatalogError):
    """The product has no image at this index."""

    code = "image_not_found"
    message = "Image not found"


class ProductFull(CatalogError):
    """The product has ``MAX_IMAGES`` images."""

    code = "product_full"
    message = "Product already has 20 images (max). Delete one first."


class DuplicateModel(CatalogError):
    """The workspace already has a product of this model."""

    code = "duplicate_model"
    message = "A product with this model already exists"


class VersionMismatch(CatalogError):
    """The product is not at the version that the caller expects."""

    code = "version_mismatch"
    message = "The product has changed since: If-Match does not hold"


class CatalogUnavailable(CatalogError):
    """The catalog can't be reached or fails; what was asked has not happened."""

    code = "catalog_unavailable"
    message = "The catalog is unavailable"


class OutcomeUnknown(CatalogUnavailable):
    """The catalog did not answer a write: it may have happened, or may yet."""

    code = "outcome_unknown"


class Plan(StrEnum):
    """What a workspace may do: CONTRACT "Plans"."""

    FREE = "free"
    BASIC = "basic"
    STARTER = "starter"
    GROWTH = "growth"
    SCALE = "scale"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class CredentialKind(StrEnum):
    """What a secret is for."""

    API_KEY = "api_key"


def new_id() -> str:
    """A new id in the shape of a MongoDB ObjectId: 24 hex digits, the first 8 the Unix time.

    The next 8 are the fraction of that second, so that ids sort by their making, even within a
    millisecond; the last 8 are random.
    """
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{seconds:08x}{(nanoseconds << 32) // 10**9:08x}{secrets.token_hex(4)}"


def now() -> datetime:
    """The time in UTC, cut to the milliseconds that every catalog keeps."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A tenant; ids and keys call it a company."""

    id: str
    name: str
    plan: Plan
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret that someone holds. Only its SHA-256 is known here.

    Attributes:
        id: names the credential where it is listed and revoked.
        digest: the 32-byte SHA-256 of the secret.
        kind: what the secret is for.
        workspace_id: whose data it opens.
        scopes: what it allows.
        label: the owner's word for it.
        created_at, expires_at, revoked_at: UTC; None is never.
    """

    id: str
    digest: bytes
    kind: CredentialKind
    workspace_id: str
    scopes: frozenset[str]
    label: str = ""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_live(self, at: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


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


class Catalog(Protocol):
    """A store of records.

    Every method may raise CatalogUnavailable. A method that writes raises OutcomeUnknown instead
    where the write may have happened all the same.
    """

    def create_workspace(self, workspace: Workspace) -> None:
        """Adds a workspace."""

    def get_workspace(self, workspace_id: str) -> Workspace:
        """Raises WorkspaceNotFound."""

    def list_workspaces(self) -> list[Workspace]:
        """All workspaces, oldest first."""

    def create_credential(self, credential: Credential) -> None:
        """Adds a credential. Raises WorkspaceNotFound."""

    def find_credential(self, digest: bytes) -> Credential | None:
        """The credential whose secret has this SHA-256, live or not."""

    def list_credentials(self, workspace_id: str | None = None) -> list[Credential]:
        """The credentials of a workspace, or of all, oldest first."""

    def revoke_credential(self, credential_id: str, at: datetime) -> None:
        """Ends a credential's life; if it has ended already, the earlier time stands.

        Raises:
            CredentialNotFound
        """

    def create_product(self, product: Product) -> None:
        """Adds a product.

        Raises:
            DuplicateModel, WorkspaceNotFound
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
            ProductNotFound, DuplicateModel
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
            ProductNotFound, ProductFull
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
        """

    def complete_idempotency_key(self, claim: IdempotencyClaim, answer: StoredAnswer) -> None:
        """Stores the answer of a claim, unless the key has been claimed anew."""

    def release_idempotency_key(self, claim: IdempotencyClaim) -> None:
        """Gives a claim up, so that the next request runs, unless the key has been claimed anew."""

    def check(self) -> None:
        """Returns if the catalog answers; quick, for a start or a probe."""

    def close(self) -> None:
        """Closes the connections that are idle; the next call opens what it needs."""
