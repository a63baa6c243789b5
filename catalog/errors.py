"""The errors of a catalog: refusals and failures. ``api/errors.py`` maps each ``code`` to an HTTP status."""

from __future__ import annotations

from errors import DomainError, Unavailable


class CatalogError(DomainError):
    """A catalog refused a call, or failed."""


class WorkspaceNotFound(CatalogError):
    """No workspace has this id."""

    code = "workspace_not_found"
    message = "Workspace not found"


class WorkspaceNotEmpty(CatalogError):
    """The workspace has products, so it can't be deleted."""

    code = "workspace_not_empty"
    message = "The workspace has products"


class CredentialNotFound(CatalogError):
    """No credential has this id."""

    code = "credential_not_found"
    message = "Key not found"


class DuplicateCredential(CatalogError):
    """Another credential has this digest."""

    code = "duplicate_credential"
    message = "This credential exists already"


class CredentialLimitReached(CatalogError):
    """The workspace has as many live credentials of this kind as it can have: ``catalog/bounds.py``."""

    code = "credential_limit_reached"
    message = "This workspace has as many of these as it can have"


class UserNotFound(CatalogError):
    """No user has this id."""

    code = "user_not_found"
    message = "User not found"


class DuplicateEmail(CatalogError):
    """Another user has this address, perhaps in another workspace."""

    code = "duplicate_email"
    message = "A user with this email address already exists"


class LastAdmin(CatalogError):
    """The user is the last active admin of the workspace."""

    code = "last_admin"
    message = "A workspace needs an active admin"


class UserLimitReached(CatalogError):
    """The workspace has as many users as it can have: ``catalog/bounds.py``."""

    code = "user_limit_reached"
    message = "The workspace has as many users as it can have"


class ClientNotFound(CatalogError):
    """No OAuth client has this id, or another workspace has it."""

    code = "client_not_found"
    message = "App not found"


class ClientLimitReached(CatalogError):
    """There are as many OAuth clients as there can be."""

    code = "client_limit_reached"
    message = "There are as many apps as there can be"


class AppLimitReached(CatalogError):
    """The user grants access to as many apps as a user can: ``catalog/bounds.py``."""

    code = "app_limit_reached"
    message = "You have let in as many apps as a user can"


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


class ProductQuotaReached(CatalogError):
    """The workspace has as many products as its quota allows."""

    code = "product_quota_reached"
    message = "This workspace has reached its quota of products. Delete products, or ask for a higher quota."


class ImageQuotaReached(CatalogError):
    """The workspace has as many stored images as its quota allows."""

    code = "image_quota_reached"
    message = "This workspace has reached its quota of images. Delete images, or ask for a higher quota."


class ByteQuotaReached(CatalogError):
    """The workspace's stored images would have more bytes than its quota allows."""

    code = "byte_quota_reached"
    message = "This workspace has reached its quota of bytes. Delete images, or ask for a higher quota."


class IdempotencyKeysUsedUp(CatalogError):
    """The workspace has ``MAX_LIVE_KEYS`` Idempotency-Keys that have not expired."""

    code = "idempotency_keys_used_up"
    message = (
        "This workspace has 10000 Idempotency-Keys of the last 24 hours (max). "
        "Send the request without one, or wait until some have expired."
    )


class QuotaNotSupported(CatalogError):
    """The store can't count exactly under concurrent changes."""

    code = "quota_not_supported"
    message = "Quotas need a MongoDB replica set: a single server has no transactions"


class VersionMismatch(CatalogError):
    """The product is not at the version that the caller expects."""

    code = "version_mismatch"
    message = "The product has changed since: If-Match does not hold"


class CatalogUnavailable(Unavailable, CatalogError):
    """The catalog can't be reached, or it failed. The call has changed nothing."""

    code = "catalog_unavailable"


class OutcomeUnknown(CatalogUnavailable):
    """The catalog did not answer a write, which may have happened or may still happen."""

    code = "outcome_unknown"
