"""The rules for an upload: an ordered chain of validators, the cheapest first."""

from __future__ import annotations

from typing import Final

from validators.base import Limits, Rejected, Upload, Validator
from validators.declared_type import DeclaredType
from validators.decode import FullDecode
from validators.digest import DeclaredDigest
from validators.pixels import PixelBudget
from validators.presence import Presence
from validators.signature import Signature
from validators.size import Size
from validators.structure import WellFormed

IMAGE_CHAIN: Final[tuple[Validator, ...]] = (
    Presence(),  # exactly one file, in the field "file", not empty
    Size(),  # at most 5 MiB
    DeclaredType(),  # the part declares an accepted type, or none
    Signature(),  # the first bytes are those of a PNG, a JPEG or a WebP
    DeclaredDigest(),  # the bytes have the digest that the part declares
    WellFormed(),  # the container is whole and in order
    PixelBudget(),  # decoding costs no more than the limits allow, by the structure
    FullDecode(),  # the picture decodes completely
)


def validate(upload: Upload, limits: Limits) -> None:
    """Runs the validators of ``IMAGE_CHAIN`` in order, up to the first that refuses the upload.

    Raises:
        Rejected: with the name of the validator.
    """
    for validator in IMAGE_CHAIN:
        try:
            validator(upload, limits)
        except Rejected as rejected:
            rejected.validator = validator.name
            raise
