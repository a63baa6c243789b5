"""The catalog's records as documents of MongoDB.

Field names are those of the HTTP contract. A field that is None is left out. Times are BSON dates:
milliseconds, UTC. ``defaultFieldValues`` is JSON text, because its keys may be empty or contain dots and
dollar signs, and its numbers may need more than 64 bits. A product also has the fields that a search reads
(``catalog/mongo/search.py``), and its ``history``, oldest change first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from pymongo import ASCENDING

from catalog.base import Image, Product
from catalog.codec import Codec, Conversion, camel_case
from catalog.grams import LONGEST, fold, grams_of
from catalog.history import Action, Actor, ActorKind, Change, Touch, TouchedImage
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace

#: Fields of products that an earlier version wrote. Only that version's search reads them.
OBSOLETE_FIELDS: Final = ("foldedName", "foldedModel")

#: Fields of products that are computed from the record. Only lists and counts read them.
SEARCH_FIELDS: Final = (
    *("folded", "sortName", "sortModel", "grams", "missingAlt", "missingImages"),
    *("storedImages", "storedBytes"),
)

#: The projection that leaves out the fields that are not of the record.
OF_RECORD: Final = dict.fromkeys((*SEARCH_FIELDS, *OBSOLETE_FIELDS, "history"), False)

#: Separates name and model in ``folded``. Folded text has no capital letters, so no search matches the
#: separator or extends across it.
SEPARATOR: Final = "MODEL"

#: Within a millisecond, new ids sort by their creation (``catalog.ids.new_id``).
OLDEST_FIRST: Final = {"createdAt": ASCENDING, "_id": ASCENDING}

_RENAMED: Final = {"id": "_id", "workspace_id": "companyId"}


def stored_name(field: str) -> str:
    """The name that a field of a record has in a document."""
    return _RENAMED.get(field) or camel_case(field)


def _trigrams(*texts: str) -> list[str]:
    return sorted(gram for gram in grams_of(*texts) if len(gram) == LONGEST)


def _member_of(enum: type[StrEnum]) -> Conversion:
    return Conversion(attrgetter("value"), enum)


_LIST: Final = Conversion(list, tuple)

#: Elements of a product's ``images``.
IMAGE: Final = Codec(Image, {tuple[str, ...]: _LIST}, rename=stored_name, omit_none=True)


def _images_to_list(images: Sequence[Image]) -> list[dict[str, Any]]:
    return [IMAGE.encode(image) for image in images]


def _images_from_list(documents: Sequence[dict[str, Any]]) -> tuple[Image, ...]:
    return tuple(IMAGE.decode(document) for document in documents)


def _object_to_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


_CONVERSIONS: Final = {
    Plan: _member_of(Plan),
    Role: _member_of(Role),
    CredentialKind: _member_of(CredentialKind),
    frozenset[str]: Conversion(sorted, frozenset),
    tuple[str, ...]: _LIST,
    Sequence[Image]: Conversion(_images_to_list, _images_from_list),
    Mapping[str, Any]: Conversion(_object_to_text, json.loads),
}

#: Documents of ``products``.
PRODUCT: Final = Codec(
    Product,
    _CONVERSIONS,
    rename=stored_name,
    derived={
        "folded": lambda product: fold(product.name) + SEPARATOR + fold(product.model),
        "sortName": lambda product: fold(product.name),
        "sortModel": lambda product: fold(product.model),
        "grams": lambda product: _trigrams(fold(product.name), fold(product.model)),
        "missingAlt": attrgetter("missing_alt"),
        "missingImages": attrgetter("missing_images"),
        "storedImages": lambda product: sum(image.key is not None for image in product.images),
        "storedBytes": lambda product: sum(image.size or 0 for image in product.images if image.key),
    },
    omit_none=True,
)
_TOUCHED: Final = Codec(TouchedImage, {Touch: _member_of(Touch)}, rename=stored_name, omit_none=True)
_ACTOR: Final = Codec(Actor, {ActorKind: _member_of(ActorKind)}, rename=stored_name, omit_none=True)
#: Elements of a product's ``history``.
CHANGE: Final = Codec(
    Change,
    {
        Action: _member_of(Action),
        Actor: Conversion(_ACTOR.encode, _ACTOR.decode),
        tuple[str, ...]: _LIST,
        tuple[TouchedImage, ...]: Conversion(
            lambda images: [_TOUCHED.encode(image) for image in images],
            lambda images: tuple(_TOUCHED.decode(document) for document in images),
        ),
    },
    rename=stored_name,
    omit_none=True,
)
#: Documents of ``workspaces``, ``users``, ``clients``, ``grants`` and ``credentials``.
WORKSPACE: Final = Codec(Workspace, _CONVERSIONS, rename=stored_name, omit_none=True)
USER: Final = Codec(User, _CONVERSIONS, rename=stored_name, omit_none=True)
CLIENT: Final = Codec(OAuthClient, _CONVERSIONS, rename=stored_name, omit_none=True)
GRANT: Final = Codec(Grant, _CONVERSIONS, rename=stored_name, omit_none=True)
CREDENTIAL: Final = Codec(Credential, _CONVERSIONS, rename=stored_name, omit_none=True)
