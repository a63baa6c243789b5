"""Maps the catalog's records to what a store keeps, and back.

A ``Codec`` is declared once for each record and store. It reads the fields and their types from the
dataclass, so that a new field of a record needs no further line unless its type is new to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, Union, get_args, get_type_hints

T = TypeVar("T")


class Conversion(NamedTuple):
    """How the values of one type are stored and restored; None is never converted."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class Stored(Protocol):
    """A stored record: a document of MongoDB, or a row of SQLite."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, name: str, /) -> Any: ...  # noqa: ANN401  # values of any type


def camel_case(name: str) -> str:
    """The JSON name of a field: ``content_type`` becomes ``contentType``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _without_none(annotation: Any) -> Any:  # noqa: ANN401  # an annotation has no type of its own
    """The type of a field that may be None, without the None."""
    types = tuple(item for item in get_args(annotation) if item is not NoneType)
    if not types or len(types) == len(get_args(annotation)):
        return annotation
    return Union[types]  # noqa: UP007  # of types that are known at run time only


class Codec(Generic[T]):
    """Encodes and decodes the records of one dataclass for one store.

    Args:
        record: the dataclass.
        conversions: for each type of a field that the store can't keep as it is, its conversion.
        rename: the stored name of a field.
        derived: further values that are stored, each made from the record, and not read back.
        omit_none: whether a field that is None is left out of what is stored. If not, it is stored as
            None, and every field must be there when it is read.
    """

    def __init__(
        self,
        record: type[T],
        conversions: Mapping[Any, Conversion],
        *,
        rename: Callable[[str], str] = str,
        derived: Mapping[str, Callable[[T], object]] | None = None,
        omit_none: bool = False,
    ) -> None:
        self._record = record
        self._omit_none = omit_none
        self._derived = dict(derived or {})
        self._attributes = [field.name for field in fields(record)]  # type: ignore[arg-type]  # T is a dataclass
        self._names = [rename(attribute) for attribute in self._attributes]
        # A document that was stored before a field existed has the field's default.
        defaults = [None if field.default is MISSING else field.default for field in fields(record)]  # type: ignore[arg-type]  # T is a dataclass
        self._missing = dict(zip(self._names, defaults, strict=True))
        # The values of all fields at once: these functions are in C.
        self._attributes_of = attrgetter(*self._attributes)
        self._items_of = itemgetter(*self._names)
        hints = get_type_hints(record)
        self._encode, self._decode = [], []
        for attribute, name in zip(self._attributes, self._names, strict=True):
            if conversion := conversions.get(_without_none(hints[attribute])):
                self._encode.append((name, conversion.encode))
                self._decode.append((attribute, conversion.decode))

    def encode(self, record: T) -> dict[str, Any]:
        """What the store keeps of a record, by name, in the order of the fields."""
        stored = dict(zip(self._names, self._attributes_of(record), strict=True))
        for name, encode in self._encode:
            if (value := stored[name]) is not None:
                stored[name] = encode(value)
        if self._omit_none:
            stored = {name: value for name, value in stored.items() if value is not None}
        for name, derive in self._derived.items():
            stored[name] = derive(record)
        return stored

    def decode(self, stored: Stored) -> T:
        """The record of what the store has kept. Names that are not the record's are ignored."""
        if self._omit_none:
            stored = {**self._missing, **stored}
        values = dict(zip(self._attributes, self._items_of(stored), strict=True))
        for attribute, decode in self._decode:
            if (value := values[attribute]) is not None:
                values[attribute] = decode(value)
        return self._record(**values)
