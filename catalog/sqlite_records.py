"""The catalog's records as rows of SQLite, and back.

Times are integers, milliseconds since 1970 in UTC; a product's images are one JSON array, so that the
guarded append touches one row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from catalog.base import Image, Product

#: What stands in a row, by the column's name.
Columns: TypeAlias = dict[str, str | bytes | int | None]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """The time as a column holds it."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """The time that a column holds."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def optional_ms(moment: datetime | None) -> int | None:
    """The same for a time that may be never."""
    return None if moment is None else to_ms(moment)


def optional_time(milliseconds: int | None) -> datetime | None:
    """The same for a column that may be NULL."""
    return None if milliseconds is None else from_ms(milliseconds)


def _image_to_json(image: Image) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: value
        for name in ("url", "key", "sha256", "content_type", "size", "width", "height")
        if (value := getattr(image, name)) is not None
    }
    if image.created_at is not None:
        fields["created_at"] = to_ms(image.created_at)
    if image.metadata_removed is not None:
        fields["metadata_removed"] = image.metadata_removed
    return fields


def _image_from_json(fields: dict[str, Any]) -> Image:
    removed = fields.get("metadata_removed")
    return Image(
        **{
            **fields,
            "created_at": optional_time(fields.get("created_at")),
            "metadata_removed": None if removed is None else tuple(removed),
        }
    )


def _images_to_text(images: Sequence[Image]) -> str:
    return json.dumps([_image_to_json(image) for image in images], separators=(",", ":"))


def _images_from_text(text: str) -> list[Image]:
    return [_image_from_json(fields) for fields in json.loads(text)]


def product_of(row: sqlite3.Row) -> Product:
    """The product of a row."""
    return Product(
        id=row["id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        model=row["model"],
        category=row["category"],
        description=row["description"],
        default_field_values=json.loads(row["default_field_values"]),
        images=tuple(_images_from_text(row["images"])),
        status=row["status"],
        source_locale=row["source_locale"],
        version=row["version"],
        created_at=from_ms(row["created_at"]),
        updated_at=from_ms(row["updated_at"]),
    )


def product_columns(product: Product) -> Columns:
    """The columns of a product's row, but for its number."""
    return {
        "id": product.id,
        "workspace_id": product.workspace_id,
        "created_at": to_ms(product.created_at),
        "status": product.status,
        "category": product.category,
        "folded_name": product.name.casefold(),
        "folded_model": product.model.casefold(),
        "name": product.name,
        "model": product.model,
        "description": product.description,
        "default_field_values": json.dumps(product.default_field_values, ensure_ascii=False),
        "images": _images_to_text(product.images),
        "source_locale": product.source_locale,
        "version": product.version,
        "updated_at": to_ms(product.updated_at),
    }
