"""The JSON bodies: what clients may send (pydantic models), and what a product looks like."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
)
from pydantic.alias_generators import to_camel

from catalog.base import MAX_IMAGES, Image, Product

Category = Literal[
    "batteries",
    "textiles",
    "jewelry",
    "electronics",
    "furniture",
    "chemicals",
    "packaging",
    "toys",
    "fmcg",
    "tyres",
    "iron-steel",
    "construction",
]

#: Spellings that published clients send.
_CATEGORY_ALIASES: Final = {"battery": "batteries", "textile": "textiles", "steel": "iron-steel"}

_ISO_639_1: Final = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
    de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
    ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
    lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
    pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
    tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)

_MAX_URL: Final = 2048


def _canonical_category(value: object) -> object:
    return _CATEGORY_ALIASES.get(value, value) if isinstance(value, str) else value


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("Numbers must be finite") from None
    return value


def _iso_639_1(value: str) -> str:
    if value not in _ISO_639_1:
        raise ValueError("Not an ISO 639-1 language code")
    return value


def _image_url(value: str, info: ValidationInfo) -> str:
    context: Mapping[str, Callable[[str], str | None]] = info.context or {}
    if context["key_of"](value) is not None:
        raise ValueError("An image of another product can't be used: upload it to this one")
    try:
        parts = urlsplit(value)
        good = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not value.isprintable() or " " in value:
        raise ValueError("Not an https URL")
    return value


ImageUrl = Annotated[str, StringConstraints(max_length=_MAX_URL), AfterValidator(_image_url)]


class ProductCreate(BaseModel):
    """The body of ``POST /api/v1/products``: CONTRACT "Products".

    Validate it with the context ``{"key_of": StorageBackend.key_of}``, which tells hosted URLs.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    model: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    category: Annotated[Category, BeforeValidator(_canonical_category)]
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    default_field_values: Annotated[dict[str, JsonValue], AfterValidator(_finite)] = Field(
        default_factory=dict
    )
    image_urls: Annotated[list[ImageUrl], Field(max_length=MAX_IMAGES)] = Field(default_factory=list)
    source_locale: Annotated[str, AfterValidator(_iso_639_1)] = "en"


def time_json(moment: datetime) -> str:
    """UTC ISO 8601 with milliseconds and ``Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _image_json(image: Image) -> dict[str, Any]:
    if image.created_at is None:  # external: nothing is known but where it is
        return {"url": image.url}
    return {
        "url": image.url,
        "sha256": image.sha256,
        "contentType": image.content_type,
        "size": image.size,
        "width": image.width,
        "height": image.height,
        "createdAt": time_json(image.created_at),
        "metadataRemoved": list(image.metadata_removed or ()),
    }


def product_json(product: Product) -> dict[str, Any]:
    """A product as clients see it."""
    return {
        "_id": product.id,
        "name": product.name,
        "model": product.model,
        "category": product.category,
        "description": product.description,
        "defaultFieldValues": dict(product.default_field_values),
        "imageUrls": product.image_urls,
        "images": [_image_json(image) for image in product.images],
        "passportCount": 0,
        "status": product.status,
        "sourceLocale": product.source_locale,
        "createdAt": time_json(product.created_at),
        "updatedAt": time_json(product.updated_at),
    }
