"""What an import consists of: items, the steps that an import reports, and the errors that end it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class PictureUnreadable(Exception):
    """A picture can't be read or downloaded. The message is one sentence."""


class Stopped(Exception):
    """The import can't go on. The message is one sentence. A later run continues where it ended."""


def _nothing() -> bytes:
    raise AssertionError  # not called for a reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of an item.

    Attributes:
        name: what reports call it: a path or a URL.
        read: returns the bytes; may raise PictureUnreadable or Stopped.
        url: the external URL that the product keeps if the picture can't be stored; None if it has none.
        sha256: the hex digest of the bytes, if it is known before they are read.
        remote: whether ``read`` downloads. A dry run does not download.
        reference: whether only ``url`` is to be in the product, and nothing is to be stored.
        alt: the alternative text by language, or in the product's language; None if the source has none.
    """

    name: str
    read: Callable[[], bytes] = _nothing
    url: str | None = None
    sha256: str | None = None
    remote: bool = False
    reference: bool = False
    alt: Mapping[str, object] | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One product that is to be imported, with its pictures in order.

    Attributes:
        model: the product's model; the workspace has at most one product of a model.
        fields: fields of the product by their names in JSON, which an existing product gets too.
        defaults: fields that only a new product gets.
        archived: whether the product is to be archived; None: it stays as it is.
        pictures: in the order of the product's images.
        derived: whether the model was derived from a file name, whose case may be wrong.
        ordered: whether the order of the pictures is restored even if this run adds none.
        place: where the item stands in its source, for reports; empty if the model says it.
    """

    model: str
    fields: Mapping[str, object] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    archived: bool | None = None
    pictures: Sequence[Picture] = ()
    derived: bool = False
    ordered: bool = False
    place: str = ""


class Action(StrEnum):
    """What happens to a product or to a picture, and the name by which reports count it."""

    MADE = "made"
    CHANGED = "changed"
    HERE = "here"
    ADDED = "added"
    PRESENT = "present"
    DESCRIBED = "described"
    LINKED = "linked"
    DOWNLOAD = "download"
    REFUSED = "refused"
    LEFT_OUT = "left out"


#: The actions on products. The others are about pictures.
OF_PRODUCTS: Final = (Action.MADE, Action.CHANGED, Action.HERE)

#: The actions after which a picture is done with. A text is the second step of its picture.
OF_PICTURES: Final = (Action.ADDED, Action.PRESENT, Action.LINKED, Action.DOWNLOAD, Action.REFUSED)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an import has done, or would do.

    Attributes:
        model: the model of the product; empty if it is not known.
        name: the name of the picture, or the product's place in the source; empty for the product itself.
        action: what happens.
        reason: why something is refused or left out.
    """

    model: str
    name: str
    action: Action
    reason: str = ""
