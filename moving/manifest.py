"""``products.json``: the products of an exported folder, with everything that file names can't say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from catalog.base import ARCHIVED, Product
from moving.files import printable, read_picture
from moving.importer import FIELDS
from moving.items import Item, Picture

#: The name of the file, and the format that it declares.
NAME: Final = "products.json"
FORMAT: Final = "vetrina-products"
VERSION: Final = 1

#: The largest file that is read, in bytes.
_MAX_BYTES: Final = 512 * 1024 * 1024


class ManifestUnusable(Exception):
    """The file has this format but can't be used. The message is one sentence."""


def product_entry(product: Product, images: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """The entry of one product.

    Args:
        product: the product.
        images: the entries of its images: ``{"file", "sha256", "alt", …}`` or ``{"url", "alt"}``, in order.
    """
    fields = {name: getattr(product, attribute) for name, attribute in FIELDS.items()}
    return {
        "model": product.model,
        **fields,
        "status": product.status,
        "createdAt": product.created_at.isoformat(timespec="milliseconds"),
        "updatedAt": product.updated_at.isoformat(timespec="milliseconds"),
        "images": list(images),
    }


@contextmanager
def writing(path: Path) -> Iterator[Callable[[Mapping[str, object]], None]]:
    """Writes the file, entry by entry.

    Yields:
        A function that adds the entry of a product. The file is complete when the block ends.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  "products": [')
        before = "\n    "

        def add(entry: Mapping[str, object]) -> None:
            nonlocal before
            text = json.dumps(entry, ensure_ascii=False, indent=2)
            file.write(before + text.replace("\n", "\n    "))  # no string in JSON has a line end in it
            before = ",\n    "

        yield add
        file.write("\n  ]\n}\n")


def load(root: Path) -> list[Item] | None:
    """The items of an exported folder; None if the folder has no file of this format.

    Raises:
        ManifestUnusable
    """
    try:
        with (root / NAME).open("rb") as file:
            content = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    if content.get("version") != VERSION:
        raise ManifestUnusable(f"{NAME} is of another version of Vetrina")
    try:
        return [_item(root, entry) for entry in content["products"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ManifestUnusable(f"{NAME} is damaged") from None


def files_of(items: Sequence[Item]) -> Iterator[str]:
    """The files that the items name."""
    return (picture.name for item in items for picture in item.pictures if not picture.reference)


def _item(root: Path, entry: Mapping[str, Any]) -> Item:
    return Item(
        model=str(entry["model"]),
        fields={name: entry[name] for name in FIELDS if name in entry},
        archived=entry["status"] == ARCHIVED,
        pictures=[_picture(root, image) for image in entry["images"]],
    )


def _picture(root: Path, image: Mapping[str, Any]) -> Picture:
    alt = image.get("alt") or None
    if "file" not in image:
        return Picture(name=str(image["url"]), url=str(image["url"]), reference=True, alt=alt)
    path = Path(str(image["file"]))
    return Picture(
        name=printable(path),
        read=lambda: read_picture(root, path),
        sha256=str(image["sha256"]) if "sha256" in image else None,
        alt=alt,
    )
