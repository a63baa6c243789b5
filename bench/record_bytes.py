"""The bytes of a product in the catalog, with the records of its images and with its history.

The products of the SQLite file get their images as an upload gives them: one ``append_image`` for each, by
an API key, so that the history and the indexes grow with them. The documents of MongoDB are made with its
record codec and measured as BSON, before compression. The bytes of the index keys in MongoDB are an
estimate: the BSON of each key, and 4 bytes for the number of its record. WiredTiger compresses the prefixes
of keys and leaves space in pages, so its files are smaller or larger than that.

Run it with ``python -m bench.record_bytes``; docs/scale.md has the figures.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import bson

from catalog.base import Image, Product
from catalog.changes import addition, creation
from catalog.history import MAX_CHANGES, Actor, ActorKind, acting
from catalog.identity import Plan, Workspace
from catalog.ids import new_id, now
from catalog.mongo.products import PRODUCT_INDEXES
from catalog.mongo.records import CHANGE, PRODUCT
from catalog.sqlite import SQLiteCatalog
from tests.factories import a_product, new_workspace

PRODUCTS: Final = 1200
#: The images of a product in the SQLite catalog, and in a document of MongoDB.
IMAGES: Final = 8
IMAGES_OF_DOCUMENT: Final = 5
#: The bytes of the number of a record, at the end of each key.
_RECORD_NUMBER: Final = 4


@contextmanager
def _as_api_key() -> Iterator[None]:
    """The changes inside are those of requests with an API key."""
    actor = Actor(
        kind=ActorKind.API_KEY, name="shop", credential_id=new_id(), request_id=secrets.token_hex(8)
    )
    token = acting.set(actor)
    try:
        yield
    finally:
        acting.reset(token)


def recorded_image(product: Product) -> Image:
    """The record of an uploaded JPEG whose EXIF was removed."""
    name = secrets.token_hex(16)
    key = f"{product.workspace_id}/products/{product.id}/images/{name}.jpg"
    return Image(
        url=f"https://images.example.com/{key}",
        key=key,
        sha256=secrets.token_hex(32),
        stored_sha256=secrets.token_hex(32),
        content_type="image/jpeg",
        size=330_000,
        width=1920,
        height=1080,
        orientation=1,
        created_at=now(),
        metadata_removed=("exif",),
    )


def sqlite_bytes(folder: Path, images: int = IMAGES) -> float:
    """The bytes of the SQLite file for each product, indexes and history included."""
    path = folder / f"size-{images}.sqlite3"
    with closing(SQLiteCatalog(path)) as catalog, _as_api_key():
        workspace = new_workspace(catalog)
        for number in range(PRODUCTS):
            product = a_product(workspace, name=f"48V Li-Ion Pack {number}", model=f"BP-{number:06d}")
            catalog.create_product(product)
            for _ in range(images):
                catalog.append_image(workspace.id, product.id, recorded_image(product))
    return path.stat().st_size / PRODUCTS


def document(changes: int) -> dict[str, Any]:
    """A document of MongoDB with five images and this many entries in its history.

    The first entry is the creation. The others are additions of an image: those beyond the five are of images
    that have been removed since.
    """
    workspace = Workspace(id=new_id(), name="Acme", plan=Plan.ENTERPRISE, created_at=now())
    product = a_product(workspace, name="48V Li-Ion Pack 17", model="BP-000017")
    product = replace(product, images=tuple(recorded_image(product) for _ in range(IMAGES_OF_DOCUMENT)))
    with _as_api_key():
        entries = [creation(replace(product, images=()))]
        entries += [addition(recorded_image(product), now()) for _ in range(changes)]
    return PRODUCT.encode(product) | {"history": [CHANGE.encode(entry) for entry in entries[:changes]]}


def _keys(record: Mapping[str, Any], fields: Sequence[str]) -> int:
    """How many keys an index of these fields has for a record: one for each element of a list."""
    counts = [len(record[field]) for field in fields if isinstance(record.get(field), list)]
    return max(counts, default=1)


def index_bytes(record: Mapping[str, Any]) -> int:
    """The estimated bytes of all keys that a record has in the indexes of ``products``."""
    total = len(bson.encode({"": record["_id"]})) + _RECORD_NUMBER
    for index in PRODUCT_INDEXES:
        fields = list(index.document["key"])
        values = [record.get(field) for field in fields]
        one = [value[0] if isinstance(value, list) and value else value for value in values]
        # The names of fields are not part of a key.
        key = bson.encode({str(place): value for place, value in enumerate(one)})
        total += _keys(record, fields) * (len(key) - len(one) + _RECORD_NUMBER)
    return total


def main() -> None:
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as folder:
        for images in (0, IMAGES):
            size = sqlite_bytes(Path(folder).resolve(), images)
            print(f"{size:.0f} bytes of the SQLite file for a product of {images} uploads")
    for changes in (0, 1 + IMAGES_OF_DOCUMENT, MAX_CHANGES):
        size = len(bson.encode(document(changes)))
        print(f"{size} bytes of a MongoDB document of {IMAGES_OF_DOCUMENT} images, {changes} changes")
    count = 1 + len(PRODUCT_INDEXES)
    print(f"about {index_bytes(document(0))} bytes of its keys in {count} indexes (estimated)")


if __name__ == "__main__":
    main()
