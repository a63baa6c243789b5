"""The entity tags of products (RFC 9110 section 8.8.3), and the If-Match of requests."""

from __future__ import annotations

from flask import request

from catalog.base import Catalog, Product
from catalog.errors import VersionMismatch


def product_etag(product: Product) -> str:
    """A strong tag, without quotes. Each change of a product increments its version."""
    return f"{product.id}-{product.version}"


def expected_version(catalog: Catalog, workspace_id: str, product_id: str) -> int | None:
    """The version that the request's If-Match requires; None if it requires none.

    The product may change before the write, so the catalog compares the version again. A weak tag with the
    same opaque part matches too, although RFC 9110 section 13.1.1 demands a strong comparison: a proxy that
    compresses an answer weakens its tag, and the client behind it has no other tag.

    Raises:
        VersionMismatch: the product is not at a version that If-Match names.
        ProductNotFound, CatalogUnavailable
    """
    if "If-Match" not in request.headers:
        return None
    product = catalog.get_product(workspace_id, product_id)
    require_match(product)
    return None if request.if_match.star_tag else product.version


def require_match(product: Product) -> None:
    """Returns if the request has no If-Match, or one that names the product as it is.

    Raises:
        VersionMismatch
    """
    named = request.if_match
    if "If-Match" in request.headers and not (named.star_tag or named.contains_weak(product_etag(product))):
        raise VersionMismatch
