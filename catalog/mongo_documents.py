"""The catalog's records as MongoDB's documents, and back.

Field names are the contract's. A value that is None is left out. Times are BSON dates: milliseconds,
UTC. ``defaultFieldValues`` is JSON text, because its keys may be empty or have dots and dollars, and
its numbers may be beyond 64 bits. A product also has what a search looks at (``catalog/mongo_search.py``).
"""

from __future__ import annotations

import json
from typing import Any, Final

from catalog.base import Image, Product
from catalog.grams import grams_of

#: The projection that leaves out what only a search looks at.
WITHOUT_SEARCH: Final = {"foldedName": False, "foldedModel": False, "grams": False}


def without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def image_to_document(image: Image) -> dict[str, Any]:
    """An element of a product's ``images``."""
    return without_none(
        {
            "url": image.url,
            "key": image.key,
            "sha256": image.sha256,
            "contentType": image.content_type,
            "size": image.size,
            "width": image.width,
            "height": image.height,
            "createdAt": image.created_at,
            "metadataRemoved": None if image.metadata_removed is None else list(image.metadata_removed),
        }
    )


def image_of(document: dict[str, Any]) -> Image:
    """The image of an element."""
    removed = document.get("metadataRemoved")
    return Image(
        url=document["url"],
        key=document.get("key"),
        sha256=document.get("sha256"),
        content_type=document.get("contentType"),
        size=document.get("size"),
        width=document.get("width"),
        height=document.get("height"),
        created_at=document.get("createdAt"),
        metadata_removed=None if removed is None else tuple(removed),
    )


def product_to_document(product: Product) -> dict[str, Any]:
    """A document of the collection ``products``."""
    folded_name, folded_model = product.name.casefold(), product.model.casefold()
    return without_none(
        {
            "_id": product.id,
            "companyId": product.workspace_id,
            "name": product.name,
            "model": product.model,
            "category": product.category,
            "description": product.description,
            "defaultFieldValues": json.dumps(product.default_field_values, ensure_ascii=False),
            "images": [image_to_document(image) for image in product.images],
            "status": product.status,
            "sourceLocale": product.source_locale,
            "version": product.version,
            "createdAt": product.created_at,
            "updatedAt": product.updated_at,
            "foldedName": folded_name,
            "foldedModel": folded_model,
            "grams": sorted(grams_of(folded_name, folded_model)),
        }
    )


def product_of(document: dict[str, Any]) -> Product:
    """The product of a document."""
    return Product(
        id=document["_id"],
        workspace_id=document["companyId"],
        name=document["name"],
        model=document["model"],
        category=document["category"],
        description=document.get("description"),
        default_field_values=json.loads(document["defaultFieldValues"]),
        images=tuple(image_of(image) for image in document["images"]),
        status=document["status"],
        source_locale=document["sourceLocale"],
        version=document["version"],
        created_at=document["createdAt"],
        updated_at=document["updatedAt"],
    )
