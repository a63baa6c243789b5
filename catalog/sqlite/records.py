"""The catalog's records as rows of SQLite.

Columns have the names of the fields. Times are integers: milliseconds since 1970, UTC. The images of a
product are one JSON array, so that an append changes one row; in it, fields that are None are left out.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from catalog.base import Image, Product
from catalog.codec import Codec, Conversion
from catalog.grams import fold
from catalog.history import Action, Actor, ActorKind, Change, Touch, TouchedImage
from catalog.identity import Credential, CredentialKind, Grant, OAuthClient, Plan, Role, User, Workspace

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """A time as a column keeps it."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The time that a column keeps."""
    return _EPOCH + milliseconds * _MILLISECOND


def _member_of(enum: type[StrEnum]) -> Conversion:
    return Conversion(attrgetter("value"), enum)


_TIME: Final = Conversion(to_ms, from_ms)

_IMAGE: Final = Codec(Image, {datetime: _TIME, tuple[str, ...]: Conversion(list, tuple)}, omit_none=True)


def _images_to_text(images: Sequence[Image]) -> str:
    return json.dumps([_IMAGE.encode(image) for image in images], separators=(",", ":"))


def _images_from_text(text: str) -> tuple[Image, ...]:
    return tuple(_IMAGE.decode(fields) for fields in json.loads(text))


def _object_to_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


_CONVERSIONS: Final = {
    datetime: _TIME,
    bool: Conversion(int, bool),
    Plan: _member_of(Plan),
    Role: _member_of(Role),
    CredentialKind: _member_of(CredentialKind),
    frozenset[str]: Conversion(lambda words: " ".join(sorted(words)), lambda text: frozenset(text.split())),
    tuple[str, ...]: Conversion(json.dumps, lambda text: tuple(json.loads(text))),
    Sequence[Image]: Conversion(_images_to_text, _images_from_text),
    Mapping[str, Any]: Conversion(_object_to_text, json.loads),
}

#: Rows of ``products``. The number of a row is not part of the record.
PRODUCT: Final = Codec(
    Product,
    _CONVERSIONS,
    derived={
        "folded_name": lambda product: fold(product.name),
        "folded_model": lambda product: fold(product.model),
        "stored_images": lambda product: sum(image.key is not None for image in product.images),
        "stored_bytes": lambda product: sum(image.size or 0 for image in product.images if image.key),
        "missing_alt": lambda product: int(product.missing_alt),
        "missing_images": lambda product: int(product.missing_images),
    },
)
_TOUCHED: Final = Codec(TouchedImage, {Touch: _member_of(Touch)}, omit_none=True)
_ACTOR: Final = Codec(Actor, {ActorKind: _member_of(ActorKind)}, omit_none=True)
_CHANGE: Final = Codec(
    Change,
    {
        datetime: _TIME,
        Action: _member_of(Action),
        Actor: Conversion(_ACTOR.encode, _ACTOR.decode),
        tuple[str, ...]: Conversion(list, tuple),
        tuple[TouchedImage, ...]: Conversion(
            lambda images: [_TOUCHED.encode(image) for image in images],
            lambda images: tuple(_TOUCHED.decode(fields) for fields in images),
        ),
    },
    omit_none=True,
)
#: Rows of ``workspaces``, ``users``, ``clients``, ``grants`` and ``credentials``.
WORKSPACE: Final = Codec(Workspace, _CONVERSIONS)
USER: Final = Codec(User, _CONVERSIONS)
CLIENT: Final = Codec(OAuthClient, _CONVERSIONS)
GRANT: Final = Codec(Grant, _CONVERSIONS)
CREDENTIAL: Final = Codec(Credential, _CONVERSIONS)


def change_to_text(change: Change) -> str:
    """A change as ``product_changes`` keeps it."""
    return json.dumps(_CHANGE.encode(change), ensure_ascii=False, separators=(",", ":"))


def change_from_text(text: str) -> Change:
    """The change that ``product_changes`` keeps."""
    return _CHANGE.decode(json.loads(text))


def insert(connection: sqlite3.Connection, table: str, columns: Mapping[str, Any]) -> None:
    """Inserts a row with these columns. The other columns get their defaults."""
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(columns.values()))  # noqa: S608  # our own names
