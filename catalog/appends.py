"""When an image need not, or can't, be appended to a product: the same rules for every catalog."""

from __future__ import annotations

from catalog.base import MAX_IMAGES, Appended, Image, Product
from catalog.errors import ProductFull


def outcome_without_append(product: Product, image: Image, *, unless_present: bool) -> Appended | None:
    """The outcome of an append that changes nothing; None if the image is to be appended.

    The product already has the image after an attempt whose answer was lost or, with ``unless_present``, if
    it has an image of the same ``sha256``.

    Raises:
        ProductFull
    """
    if image.key and any(other.key == image.key for other in product.images):
        return Appended(product, image)
    if unless_present and image.sha256 and (present := product.image_with(image.sha256)):
        return Appended(product, present)
    if len(product.images) >= MAX_IMAGES:
        raise ProductFull
    return None


def can_append(product: Product, image: Image, *, unless_present: bool) -> bool:
    """Whether the image is to be appended to this version of the product."""
    try:
        return outcome_without_append(product, image, unless_present=unless_present) is None
    except ProductFull:
        return False
