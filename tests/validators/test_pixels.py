from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.pictures import jpeg, png, png_header, webp
from tests.validators.conftest import Reject, upload_of
from validators.base import Limits
from validators.pixels import PixelBudget
from validators.structure import WellFormed

CHECKS = (WellFormed(), PixelBudget())


def webp_extended(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + canvas


@pytest.mark.parametrize(
    "data",
    [
        png(123, 45),
        jpeg(123, 45),
        jpeg(123, 45, progressive=True),
        webp(123, 45),
        webp(123, 45, lossless=True),
        webp(123, 45, exif=b"Exif\0\0"),
    ],
    ids=["png", "jpeg", "progressive", "vp8", "vp8l", "vp8x"],
)
def test_the_dimensions_come_from_the_headers(data: bytes) -> None:
    upload = upload_of(data)
    WellFormed()(upload, Limits())
    assert (upload.structure.width, upload.structure.height) == (123, 45)


@pytest.mark.parametrize("make", [png, jpeg, webp])
def test_the_budget_is_inclusive(make: Callable[[int, int], bytes], rejection: Reject) -> None:
    upload = upload_of(make(100, 50))
    for check in CHECKS:
        check(upload, Limits(max_pixels=5000))
    rejected = rejection(upload, *CHECKS, limits=Limits(max_pixels=4999))
    assert (rejected.code, rejected.message) == ("too_many_pixels", "Image has too many pixels")
    assert rejected.reason == "5000 pixels, MAX_IMAGE_PIXELS is 4999"


def test_a_small_webp_of_a_huge_canvas_is_refused_for_its_memory(rejection: Reject) -> None:
    upload = upload_of(webp_extended(9459, 9459))
    rejected = rejection(upload, *CHECKS, limits=Limits(max_pixels=10**9))
    assert rejected.code == "too_many_pixels"


def test_dimensions_beyond_any_limit_are_refused(rejection: Reject) -> None:
    assert rejection(upload_of(png_header(2**31 - 1, 2**31 - 1)), *CHECKS).code == "too_many_pixels"


@pytest.mark.parametrize(
    "data",
    [
        png_header(0, 10),
        png_header(10, 0),
        png()[:30],
        b"\x89PNG\r\n\x1a\n" + png()[33:],
        jpeg()[:20],
        jpeg()[:100],
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0" + bytes(100),
        b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x10" + bytes(20),
        webp()[:29],
        webp()[:12] + b"JUNK" + webp()[16:],
    ],
)
def test_headers_without_good_dimensions_are_corrupt(data: bytes, rejection: Reject) -> None:
    rejected = rejection(upload_of(data), WellFormed())
    assert (rejected.code, rejected.message) == ("corrupt_image", "Image is corrupt or incomplete")
