from __future__ import annotations

import io

import pytest
from PIL import Image

from resizing import NotResizable, memory, resize, sizes_of
from tests.pictures import encoded, jpeg, picture, png, webp


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["WEBP"])


@pytest.mark.parametrize("data", [jpeg(), png(), webp()], ids=["jpeg", "png", "webp"])
def test_a_size_is_a_webp_of_its_width(data: bytes) -> None:
    assert memory(data, 32) > 64 * 48
    image = opened(resize(data, 32))
    assert image.size == (32, 24)


def test_a_picture_is_never_enlarged() -> None:
    assert sizes_of(640, 480, [1280, 320, 640, 160, 320]) == [(160, 120), (320, 240)]
    for width in (64, 65):
        with pytest.raises(NotResizable):
            resize(jpeg(64, 48), width)
        with pytest.raises(NotResizable):
            memory(jpeg(64, 48), width)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP"])
def test_a_size_is_upright(pillow_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters = Image.new("RGB", (80, 40), (255, 0, 0))
    quarters.paste((0, 0, 255), (40, 0, 80, 20))
    quarters.paste((0, 255, 0), (0, 20, 40, 40))
    data = encoded(quarters, pillow_format, exif=exif.tobytes())
    image = opened(resize(data, 20)).convert("RGB")
    assert image.size == ((20, 10) if orientation < 5 else (20, 40))
    corners = [
        max(range(3), key=lambda channel, at=at: image.getpixel(at)[channel])  # type: ignore[misc,index]  # a tuple
        for at in ((2, 2), (17, 2), (2, image.height - 3))
    ]
    # The first pixel of a row and the first row, by orientation: the corners of the stored picture.
    stored = {"top left": 0, "top right": 2, "bottom left": 1, "bottom right": 0}
    places = {
        1: ("top left", "top right", "bottom left"),
        2: ("top right", "top left", "bottom right"),
        3: ("bottom right", "bottom left", "top right"),
        4: ("bottom left", "bottom right", "top left"),
        5: ("top left", "bottom left", "top right"),
        6: ("bottom left", "top left", "bottom right"),
        7: ("bottom right", "top right", "bottom left"),
        8: ("top right", "bottom right", "top left"),
    }
    assert corners == [stored[place] for place in places[orientation]]


def test_a_file_that_is_no_picture_is_refused() -> None:
    for data in (b"", b"GIF89a", jpeg()[:200], png()[:60], webp()[:40]):
        with pytest.raises(NotResizable):
            resize(data, 10)


def test_a_size_has_no_metadata() -> None:
    data = encoded(picture(), "JPEG", exif=Image.Exif().tobytes(), comment=b"a comment")
    assert resize(data, 32)[12:16] == b"VP8 "
