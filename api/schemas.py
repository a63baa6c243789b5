"""The JSON bodies: pydantic models of the requests, and functions that build the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from flask import current_app
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

from api.alternative_text import ISO_639_1, checked_alt
from api.body import MAX_VALUES
from catalog.base import MAX_IMAGES, Image, Product, ProductChanges, ProductPage, ProductQuery, Sort
from products import AltChanges, Deleted, NewProduct
from sizes import CONTENT_TYPE as SIZE_TYPE
from sizes import Sizes

#: The categories of docs/contract.md "Products". The setting CATEGORIES adds others.
CATEGORIES: Final = (
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
    "detergents",
    "paints-coatings",
)

#: Names that published clients send instead.
_CATEGORY_ALIASES: Final = {"battery": "batteries", "textile": "textiles", "steel": "iron-steel"}

_MAX_URL: Final = 2048

_MAX_PAGE: Final = 1_000_000
#: The most products of a page.
_MAX_LIMIT: Final = 100

#: The limits of ``defaultFieldValues`` besides ``MAX_VALUES``: bytes as JSON, and nested levels.
_MAX_FIELD_BYTES: Final = 64 * 1024
_MAX_FIELD_LEVELS: Final = 32

_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def _category(value: object) -> str:
    known: tuple[str, ...] = (*CATEGORIES, *current_app.config["CATEGORIES"])
    name = _CATEGORY_ALIASES.get(value, value) if isinstance(value, str) else ""
    if name not in known:
        *others, last = map(repr, known)
        raise ValueError(f"Input should be {', '.join(others)} or {last}")
    return name


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    levels = values = 0
    while containers := [item for item in level if isinstance(item, dict | list)]:
        levels += 1
        level = [
            inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)
        ]
        values += len(level)
        if levels > _MAX_FIELD_LEVELS:
            raise ValueError(f"Must have at most {_MAX_FIELD_LEVELS} nested levels")
        if values > MAX_VALUES:
            raise ValueError(f"Must have at most {MAX_VALUES} values")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        raise ValueError("Numbers must be finite") from None
    if len(text.encode()) > _MAX_FIELD_BYTES:
        raise ValueError("Must be at most 64 KB as JSON")
    return value


def _iso_639_1(value: str) -> str:
    if value not in ISO_639_1:
        raise ValueError("Not an ISO 639-1 language code")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Model = Annotated[str, StringConstraints(min_length=1, max_length=100)]
CategoryName = Annotated[str, BeforeValidator(_category)]
Description = Annotated[str, StringConstraints(max_length=2000)]
FieldValues = Annotated[dict[str, JsonValue], AfterValidator(_bounded)]
Locale = Annotated[str, AfterValidator(_iso_639_1)]
Status = Literal["active", "archived"]
Url = Annotated[str, StringConstraints(max_length=_MAX_URL)]

_BODY: Final = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class ProductCreate(BaseModel):
    """The body of ``POST /api/v1/products``: docs/contract.md "Products".

    ``products.py`` decides which ``image_urls`` a product may have.
    """

    model_config = _BODY

    name: Name
    model: Model
    category: CategoryName
    description: Description | None = None
    default_field_values: FieldValues = Field(default_factory=dict)
    image_urls: Annotated[list[Url], Field(max_length=MAX_IMAGES)] = Field(default_factory=list)
    source_locale: Locale = "en"

    def new_product(self) -> NewProduct:
        """The product to create."""
        return NewProduct(**{name: getattr(self, name) for name in type(self).model_fields})


class ProductPatch(BaseModel):
    """The body of ``PATCH /api/v1/products/{id}``: every field may be left out.

    The defaults make the fields optional and are not used. ``products.py`` decides which ``image_urls`` the
    product may have.
    """

    model_config = _BODY

    name: Name = ""
    model: Model = ""
    category: CategoryName = "batteries"
    description: Description | None = None
    default_field_values: FieldValues = Field(default_factory=dict)
    image_urls: Annotated[list[Url], Field(max_length=MAX_IMAGES)] = Field(default_factory=list)
    status: Status = "active"
    source_locale: Locale = "en"

    def changes(self) -> ProductChanges:
        """The fields that were sent, except ``image_urls``."""
        sent = {name: getattr(self, name) for name in self.model_fields_set - {"image_urls"}}
        return cast("ProductChanges", sent)

    def urls(self) -> list[str] | None:
        """The ``image_urls``, if they were sent."""
        return self.image_urls if "image_urls" in self.model_fields_set else None


class ImagePatch(BaseModel):
    """The body of ``PATCH /api/v1/products/{id}/images/{index}``: docs/contract.md "Alternative text"."""

    model_config = _BODY

    alt: Annotated[Any, BeforeValidator(checked_alt)] = None

    def changes(self) -> AltChanges:
        """What was sent; no changes if nothing was."""
        return cast("AltChanges", self.alt) if "alt" in self.model_fields_set else {}


def _whole_number(value: object, maximum: int) -> int:
    # Stricter than int(), which accepts signs, blanks, underscores and the digits of other scripts.
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,100}", value) else 0
    if number < 1:
        raise ValueError(f"Must be a whole number from 1 to {maximum}")
    return number


def _page(value: object) -> int:
    page = _whole_number(value, _MAX_PAGE)
    if page > _MAX_PAGE:
        raise ValueError(f"Must be a whole number from 1 to {_MAX_PAGE}")
    return page


def _limit(value: object) -> int:
    """A larger limit means the largest one; the answer says which one was used."""
    return min(_MAX_LIMIT, _whole_number(value, _MAX_LIMIT))


def _models(value: object) -> object:
    models = value if isinstance(value, list) else [value]
    if len(models) > _MAX_LIMIT:
        raise ValueError(f"Must be given at most {_MAX_LIMIT} times")
    return models


def _flag(value: object) -> bool:
    if not isinstance(value, str) or value not in _FLAGS:
        raise ValueError("Must be 'true', 'false', '1' or '0'")
    return _FLAGS[value]


class ProductListQuery(BaseModel):
    """The query of ``GET /api/v1/products``: each parameter at most once, except ``model``.

    Unknown parameters are ignored: some clients add parameters to every request.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    page: Annotated[int, BeforeValidator(_page)] = 1
    limit: Annotated[int, BeforeValidator(_limit)] = 20
    category: CategoryName | None = None
    status: Status | None = None
    search: Annotated[str, StringConstraints(max_length=200)] = ""
    show_archived: Annotated[bool, BeforeValidator(_flag)] = False
    missing_alt: Annotated[bool, BeforeValidator(_flag)] = False
    model: Annotated[list[Model], BeforeValidator(_models)] = Field(default_factory=list)
    missing_images: Annotated[bool, BeforeValidator(_flag)] = False
    sort: Sort = Sort.NEWEST

    @classmethod
    def of(cls, sent: Mapping[str, Sequence[str]]) -> ProductQuery:
        """The query for the catalog.

        Args:
            sent: the values of each parameter.

        Raises:
            ValidationError
        """
        parameters = {name: values[0] if len(values) == 1 else values for name, values in sent.items()}
        query = cls.model_validate(parameters).model_dump()
        return ProductQuery(models=tuple(query.pop("model")), **query)


def time_json(moment: datetime) -> str:
    """UTC ISO 8601 with milliseconds and ``Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _image_json(image: Image, sizes: Sizes) -> dict[str, Any]:
    alt = dict(image.alt or {})
    if image.created_at is None:  # external: only its URL is known
        return {"url": image.url, "alt": alt}
    return {
        "url": image.url,
        "sha256": image.sha256,
        "contentType": image.content_type,
        "size": image.size,
        "width": image.width,
        "height": image.height,
        "createdAt": time_json(image.created_at),
        "metadataRemoved": list(image.metadata_removed or ()),
        "digitalSourceType": image.digital_source_type,
        "alt": alt,
        "sizes": [
            {"width": size.width, "height": size.height, "contentType": SIZE_TYPE, "url": size.url}
            for size in sizes.of(image)
        ],
    }


def product_json(product: Product, sizes: Sizes) -> dict[str, Any]:
    """A product as clients see it.

    Args:
        product: the product.
        sizes: knows the sizes of its images.
    """
    return {
        "_id": product.id,
        "name": product.name,
        "model": product.model,
        "category": product.category,
        "templateId": None,
        "description": product.description,
        "defaultFieldValues": dict(product.default_field_values),
        "imageUrls": product.image_urls,
        "images": [_image_json(image, sizes) for image in product.images],
        "passportCount": 0,
        "status": product.status,
        "sourceLocale": product.source_locale,
        "createdAt": time_json(product.created_at),
        "updatedAt": time_json(product.updated_at),
    }


def product_summary_json(product: Product, sizes: Sizes) -> dict[str, Any]:
    """A product as an item of a list: without ``defaultFieldValues``, which can be large."""
    shown = product_json(product, sizes)
    del shown["defaultFieldValues"]
    return shown


def product_list_json(page: ProductPage, query: ProductQuery, sizes: Sizes) -> dict[str, Any]:
    """A page of products as clients see it."""
    return {
        "data": {
            "items": [product_summary_json(product, sizes) for product in page.items],
            "total": page.total,
            "page": query.page,
            "limit": query.limit,
            "totalPages": -(-page.total // query.limit),
        }
    }


def deleted_json(deleted: Deleted) -> dict[str, Any]:
    """The summary of a deletion as clients see it."""
    return {
        "message": "Product permanently deleted",
        "summary": {
            "productId": deleted.product.id,
            "name": deleted.product.name,
            "deletedCounts": {
                "r2ObjectsDeleted": deleted.objects,
                # TracePass's own products have documents. Ours have none, but clients read the counts.
                "documentRefsUnlinked": 0,
                "documentsDeleted": 0,
                "documentR2ObjectsDeleted": 0,
            },
        },
    }
