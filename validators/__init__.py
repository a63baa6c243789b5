"""The policy: what an upload must be, in the order it is asked, cheapest question first."""

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
    DeclaredType(),  # the client does not call it something else than an image we take
    Signature(),  # its first bytes are those of a PNG, a JPEG or a WebP
    DeclaredDigest(),  # it is what the client says that it sent
    WellFormed(),  # its container is whole and in order
    PixelBudget(),  # decoding it costs no more than we allow, judged by its structure
    FullDecode(),  # it decodes, whole
)


def validate(upload: Upload, limits: Limits) -> None:
    """Asks each question of ``IMAGE_CHAIN``, and stops at the first no.

    Raises:
        Rejected: with the name of the validator as a note.
    """
    for validator in IMAGE_CHAIN:
        try:
            validator(upload, limits)
        except Rejected as rejected:
            rejected.add_note(validator.name)
            raise
