"""Converts the catalog's records to the form in which a store keeps them, and back.

A ``Codec`` is declared once for each record and store. It reads the fields and their types from the
dataclass, so a new field of a record needs no code here unless the store has no conversion for its type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, Union, get_args, get_type_hints

T = TypeVar("T")


class Conversion(NamedTuple):
    """How the values of one type are stored and restored; None is never converted."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class Stored(Protocol):
    """A stored record: a document of MongoDB, or a row of SQLite."""

    def __getitem__(self, name: str, /) -> Any: ...  # noqa: ANN401  # values of any type


class _Field(NamedTuple):
    attribute: str
    name: str
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None


def camel_case(name: str) -> str:
    """The JSON name of a field: ``content_type`` becomes ``contentType``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _without_none(annotation: Any) -> Any:  # noqa: ANN401  # annotations have no common type
    """The type of a field that may be None, without the None."""
    types = tuple(item for item in get_args(annotation) if item is not NoneType)
    if not types or len(types) == len(get_args(annotation)):
        return annotation
    return Union[types]  # noqa: UP007  # the types are known only at run time


class Codec(Generic[T]):
    """Encodes and decodes the records of one dataclass for one store.

    Args:
        record: the dataclass.
        conversions: the conversion of each field type that the store can't keep unchanged.
        rename: the stored name of a field.
        derived: further values that are computed from the record and stored, but not read back.
        omit_none: whether a field that is None is left out of what is stored. If not, it is stored as
            None, and every stored record must have every field.
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
        hints = get_type_hints(record)
        declared: list[_Field] = []
        for field in fields(record):  # type: ignore[arg-type]  # T is a dataclass
            conversion = conversions.get(_without_none(hints[field.name]))
            declared.append(_Field(field.name, rename(field.name), *(conversion or (None, None))))
        #: Maps a record to the values that the store keeps, by name, in the order of the fields.
        self.encode: Callable[[T], dict[str, Any]] = _encoder(declared, derived or {}, omit_none=omit_none)
        #: Maps stored values to the record. Names that the record does not have are ignored.
        self.decode: Callable[[Stored], T] = _decoder(record, declared, omit_none=omit_none)


# The functions are compiled, as ``dataclasses`` compiles its methods. With a loop over the fields of each
# record, a list of products took 6 % longer.


def _compiled(source: str, names: dict[str, Any]) -> Callable[..., Any]:
    exec(source, names)  # noqa: S102  # the source has only our own field names
    function: Callable[..., Any] = names["function"]
    return function


def _encoder(
    declared: Sequence[_Field], derived: Mapping[str, Callable[[Any], object]], *, omit_none: bool
) -> Callable[[Any], dict[str, Any]]:
    names: dict[str, Any] = {}
    lines = ["def function(record):", " stored = {}"]
    for attribute, name, encode, _ in declared:
        names[f"encode_{attribute}"] = encode
        value = "value" if encode is None else f"encode_{attribute}(value)"
        lines.append(f" if (value := record.{attribute}) is not None: stored[{name!r}] = {value}")
        if not omit_none:
            lines.append(f" else: stored[{name!r}] = None")
    for number, (name, derive) in enumerate(derived.items()):
        names[f"derive_{number}"] = derive
        lines.append(f" stored[{name!r}] = derive_{number}(record)")
    return _compiled("\n".join([*lines, " return stored"]), names)


def _decoder(record: type[T], declared: Sequence[_Field], *, omit_none: bool) -> Callable[[Stored], T]:
    names: dict[str, Any] = {"record": record}
    lines = ["def function(stored):", " return record("]
    defaults = {
        field.name: None if field.default is MISSING else field.default
        for field in fields(record)  # type: ignore[arg-type]  # T is a dataclass
    }
    for attribute, name, _, decode in declared:
        # A document that was stored before a field existed gets the field's default. A row has every column.
        default = defaults[attribute] if omit_none else None
        names |= {f"decode_{attribute}": decode, f"default_{attribute}": default}
        value = f"stored.get({name!r})" if omit_none else f"stored[{name!r}]"
        if decode is not None:
            value = f"decode_{attribute}(value) if (value := {value}) is not None else default_{attribute}"
        elif default is not None:
            value = f"stored.get({name!r}, default_{attribute})"
        lines.append(f"  {attribute}={value},")
    return _compiled("\n".join([*lines, " )"]), names)
