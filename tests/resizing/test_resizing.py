from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress

import pytest
from PIL import Image, ImageCms

from resizing import NotResizable, memory, resize, sizes_of
from tests import carriers as c
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
    for data in (b"", b"GIF89a", b"\xff\xd8", b"\x89PNG", b"RIFF", jpeg()[:200], png()[:60], webp()[:40]):
        with pytest.raises(NotResizable):
            resize(data, 10)


@pytest.mark.parametrize(
    ("pillow_format", "mode"),
    [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("WEBP", "RGBA")],
)
def test_a_size_has_no_metadata(pillow_format: str, mode: str) -> None:
    image = picture().convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(image, pillow_format, exif=c.exif(), icc_profile=profile, xmp=c.xmp())
    kinds = [kind for kind, _ in c.riff_chunks_of(resize(data, 32))]
    assert kinds == ([b"VP8 "] if mode == "RGB" else [b"VP8X", b"ALPH", b"VP8 "])


def test_the_height_keeps_the_proportions_and_is_at_least_one_pixel() -> None:
    assert sizes_of(4000, 3000, [160, 2048]) == [(160, 120), (2048, 1536)]
    assert sizes_of(10_000, 3, [160, 2048]) == [(160, 1), (2048, 1)]
    assert sizes_of(3, 10_000, [1, 2, 3]) == [(1, 3333), (2, 6667)]


def test_a_size_that_is_too_tall_for_a_webp_does_not_exist() -> None:
    assert sizes_of(1000, 20_000, [160, 640, 819, 820]) == [(160, 3200), (640, 12_800), (819, 16_380)]
    assert sizes_of(100, 65_000, [25, 26]) == [(25, 16_250)]
    with pytest.raises(NotResizable):
        resize(jpeg(8, 40_000), 4)


def test_a_picture_that_is_wider_than_any_jpeg_has_no_sizes() -> None:
    assert sizes_of(65_535, 100, [160, 2048]) == [(160, 1), (2048, 3)]
    assert sizes_of(65_536, 100, [160, 2048]) == []


@pytest.mark.parametrize("make", [jpeg, png, webp], ids=["jpeg", "png", "webp"])
@pytest.mark.parametrize(
    ("size", "width"),
    [((9000, 1), 160), ((9000, 3), 8999), ((1, 9000), 1), ((2, 9000), 1), ((3, 9000), 2), ((7, 5), 6)],
)
def test_pictures_of_any_proportions_have_sizes(
    make: Callable[[int, int], bytes], size: tuple[int, int], width: int
) -> None:
    data = make(*size)
    if width == size[0]:
        with pytest.raises(NotResizable):
            resize(data, width)
        return
    assert memory(data, width) > 0
    assert opened(resize(data, width)).size == sizes_of(*size, [width])[0]


@pytest.mark.parametrize("width", [*range(1, 64, 3), 63])
@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP"])
def test_a_size_of_any_width_shows_the_whole_picture(pillow_format: str, width: int) -> None:
    """A gradient from the first row to the last one is the same gradient in each size."""
    data = encoded(Image.linear_gradient("L").resize((64, 480)).convert("RGB"), pillow_format)
    small = opened(resize(data, width)).convert("L").resize((1, 8), Image.Resampling.BOX)
    assert list(small.tobytes()) == pytest.approx([16 + 32 * at for at in range(8)], abs=6)


@pytest.mark.parametrize(
    "data", [jpeg(640, 480), jpeg(640, 480, progressive=True), png(640, 480), webp(640, 480)]
)
def test_a_file_that_ends_early_is_refused_or_is_a_picture(data: bytes) -> None:
    for end in range(0, len(data), len(data) // 40):
        with suppress(NotResizable):
            assert opened(resize(data[:end], 320)).size == (320, 240)


def test_the_colours_of_a_photoshop_jpeg_are_read() -> None:
    """Photoshop codes CMYK as YCCK, which byte 11 of the Adobe segment says."""
    plain = encoded(Image.new("CMYK", (64, 64), (60, 120, 180, 20)), "JPEG", quality=95)
    at = plain.index(b"Adobe") + 11
    data = plain[:at] + b"\2" + plain[at + 1 :]
    expected = Image.open(io.BytesIO(data)).convert("RGB").getpixel((32, 32))
    assert opened(resize(data, 32)).getpixel((16, 16)) == pytest.approx(expected, abs=8)
    assert opened(resize(plain, 32)).getpixel((16, 16)) != pytest.approx(expected, abs=8)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_jpeg_of_an_unknown_version_has_sizes(version: int) -> None:
    plain = jpeg()
    at = plain.index(b"JFIF\0") + 5
    assert resize(plain[:at] + bytes((version,)) + plain[at + 1 :], 32) == resize(plain, 32)


def test_a_grey_jpeg_of_any_colour_conversion_has_sizes() -> None:
    plain = encoded(picture().convert("L"), "JPEG")
    adobe = c.segment(0xEE, b"Adobe\0\x64" + bytes(4) + b"\xff")
    assert resize(c.jpeg_with(adobe, data=plain), 32) == resize(plain, 32)


def of_conversion(mode: str, transform: int) -> bytes:
    """A JPEG whose colour conversion stands in an Adobe segment alone."""
    data = encoded(picture().convert(mode), "JPEG")
    if b"Adobe" not in data[:40]:
        jfif = 20
        data = c.jpeg_with(c.segment(0xEE, b"Adobe\0\x64" + bytes(5)), data=data[:2] + data[jfif:])
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes((transform,)) + data[at + 1 :]


@pytest.mark.parametrize(
    ("mode", "known", "unknown"), [("RGB", 1, 2), ("RGB", 1, 255), ("CMYK", 2, 1), ("CMYK", 2, 255)]
)
def test_a_jpeg_of_an_unknown_colour_conversion_has_sizes(mode: str, known: int, unknown: int) -> None:
    assert resize(of_conversion(mode, unknown), 32) == resize(of_conversion(mode, known), 32)
    assert resize(of_conversion(mode, unknown), 32) != resize(of_conversion(mode, 0), 32)
