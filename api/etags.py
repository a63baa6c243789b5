"""Entity tags of products (RFC 9110 section 8.8.3), and the preconditions that clients put on them."""

from __future__ import annotations

from flask import request

from catalog.base import Catalog, Product
from catalog.errors import VersionMismatch


def product_etag(product: Product) -> str:
    """A strong tag without quotes: each change of a product makes a new version."""
    return f"{product.id}-{product.version}"


def expected_version(catalog: Catalog, workspace_id: str, product_id: str) -> int | None:
    """The version that the request's If-Match insists on; None if any will do.

    The catalog compares again when it writes: the product may change in between.

    Raises:
        VersionMismatch: the product is not at a version that If-Match names.
        ProductNotFound, CatalogUnavailable
    """
    if "If-Match" not in request.headers:
        return None
    product = catalog.get_product(workspace_id, product_id)
    if request.if_match.star_tag:
        return None
    if not request.if_match.is_strong(product_etag(product)):
        raise VersionMismatch
    return product.version
