"""Does a WebP decode, every frame of it?"""

from __future__ import annotations

from PIL import _webp

from validators.base import corrupt
from validators.containers.structure import Structure


def decode_webp(structure: Structure) -> None:
    """Decodes it.

    Raises:
        Rejected: the decoder and the container disagree.
        Exception: any that Pillow raises on damaged data.
    """
    # Image.open() does the same, and then copies each canvas into an image: a fifth of the time and a
    # quarter of the memory, for pixels that nobody looks at.
    decoder = _webp.WebPAnimDecoder(structure.stripped)
    size, _, _, frames, _ = decoder.get_info()
    if (*size, frames) != (structure.width, structure.height, structure.frames):
        raise corrupt("the headers disagree on the dimensions or the frames")
    for _ in range(frames):
        if decoder.get_next() is None:
            raise corrupt("a frame does not decode")
