"""Describes a change of a product for its history: the same rules for every catalog."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from catalog.base import ARCHIVED, Image, Product, ProductChanges
from catalog.codec import camel_case
from catalog.history import Action, Change, Touch, TouchedImage, acting

#: The fields of a product that are compared as they are.
_FIELDS: Final = tuple(name for name in ProductChanges.__annotations__ if name != "images")

#: The words for a change of the list of images alone, by what happened to the images.
_ACTIONS: Final = {
    frozenset({Touch.ADDED}): Action.IMAGES_ADDED,
    frozenset({Touch.REMOVED}): Action.IMAGES_REMOVED,
}

#: The most characters of an external URL in the history.
_MAX_URL: Final = 100


def creation(product: Product) -> Change:
    """The entry for a new product."""
    images = tuple(_touched(image, Touch.ADDED) for image in product.images)
    return Change(at=product.created_at, action=Action.CREATED, actor=acting.get(), images=images)


def addition(image: Image, at: datetime) -> Change:
    """The entry for an image that is appended."""
    return Change(
        at=at,
        action=Action.IMAGES_ADDED,
        actor=acting.get(),
        fields=("imageUrls",),
        images=(_touched(image, Touch.ADDED),),
    )


def change_between(before: Product, after: Product, at: datetime) -> Change | None:
    """The entry for a change; None if both versions have the same content.

    Args:
        before: the version that is replaced.
        after: the new version. Its number and its times are not compared.
        at: UTC.
    """
    fields = [camel_case(name) for name in _FIELDS if _differ(getattr(before, name), getattr(after, name))]
    images: list[TouchedImage] = []
    if before.images != after.images:
        named, images = _of_images(before, after)
        fields += named
    if not fields:
        return None
    action = _action(before, after, fields, images)
    return Change(at=at, action=action, actor=acting.get(), fields=tuple(fields), images=tuple(images))


def _of_images(before: Product, after: Product) -> tuple[list[str], list[TouchedImage]]:
    """The names of what differs in the images, and the images that are added, removed or described.

    Images of the same external URL are compared in their order.
    """
    left: dict[str, deque[Image]] = {}
    for image in before.images:
        left.setdefault(_identity(image), deque()).append(image)
    added: list[Image] = []
    kept: list[tuple[Image, Image]] = []
    for image in after.images:
        if same := left.get(_identity(image)):
            kept.append((same.popleft(), image))
        else:
            added.append(image)
    removed = [image for images in left.values() for image in images]
    described = [new for old, new in kept if old.alt != new.alt]
    differs = {
        "imageUrls": before.image_urls != after.image_urls,
        "alt": bool(described),
        # The server itself has completed something, the size for example.
        "images": any(_details(old) != _details(new) for old, new in kept),
    }
    touches = ((added, Touch.ADDED), (removed, Touch.REMOVED), (described, Touch.DESCRIBED))
    touched = [_touched(image, touch) for images, touch in touches for image in images]
    return [name for name, different in differs.items() if different], touched


def _action(before: Product, after: Product, fields: Sequence[str], images: Sequence[TouchedImage]) -> Action:
    """The word for a change of these fields and images."""
    if fields == ["status"]:
        return Action.ARCHIVED if after.status == ARCHIVED else Action.RESTORED
    if fields == ["alt"]:
        return Action.ALT_UPDATED
    if fields != ["imageUrls"]:
        return Action.UPDATED
    touches = {image.touch for image in images}
    if not touches and [*map(_identity, before.images)] != [*map(_identity, after.images)]:
        return Action.IMAGES_REORDERED
    return _ACTIONS.get(frozenset(touches), Action.UPDATED)


def _differ(old: object, new: object) -> bool:
    """Whether two values differ as JSON. Python takes 1, 1.0 and True for equal."""
    return old is not new and repr(old) != repr(new)


def _details(image: Image) -> Image:
    """An image without its URLs and its alternative text."""
    return replace(image, url="", earlier_urls=None, alt=None)


def _identity(image: Image) -> str:
    return image.key or image.url


def _touched(image: Image, touch: Touch) -> TouchedImage:
    if image.key is None:
        return TouchedImage(touch=touch, url=image.url[:_MAX_URL])
    return TouchedImage(touch=touch, image_id=image.key.rpartition("/")[2].partition(".")[0])
