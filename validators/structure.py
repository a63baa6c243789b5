"""The validator that reads the container, and checks that it is whole and well-formed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from turns import Bounds, Turns
from validators.base import JPEG, PNG, WEBP, ImageType, Limits, Upload
from validators.containers.jpeg import read_jpeg
from validators.containers.png import read_png
from validators.containers.structure import Structure
from validators.containers.webp import read_webp

_READ: Final[dict[ImageType, Callable[[bytes, Limits], Structure]]] = {
    PNG: read_png,
    JPEG: read_jpeg,
    WEBP: read_webp,
}


#: Most of the reading is Python code, of which one thread of a process runs at a time, so more readers would
#: only take more memory. One workspace has at most one of them.
READERS: Final = 2
#: The most memory that reading one file takes besides the file, in bytes.
READING_MEMORY: Final = 32_000_000
#: A file of another workspace may take long to read if the processors have other work too.
READING: Final = Turns(Bounds(requests=128, own_requests=64, own_turns=1, seconds=3, first_waits=True))


def read_structure(image_type: ImageType, data: bytes, limits: Limits) -> Structure:
    """Reads the container of a file of this type.

    Raises:
        Rejected: it is malformed, or exceeds a limit.
    """
    return _READ[image_type](data, limits)


class WellFormed:
    """The segments or chunks are whole, in order and not too many.

    The same pass finds the size that ``PixelBudget`` judges, and the parts of the file that are stored: the
    picture without its metadata. Only these parts are decoded; nothing interprets the others.

    Reading takes turns, as decoding does: a megabyte of metadata takes a tenth of a second.
    """

    name = "structure"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        with READING.turn(1, READERS):
            upload.structure = read_structure(upload.image_type, upload.file.data, limits)
