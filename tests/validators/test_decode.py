from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image

from tests.faults import fail_with
from tests.pictures import (
    animation,
    encoded,
    jpeg,
    picture,
    png,
    png_chunk,
    png_header,
    png_with_rows,
    webp,
)
from tests.validators.conftest import Reject, upload_of
from validators.base import Limits
from validators.decode import FullDecode
from validators.pixels import PixelBudget
from validators.structure import WellFormed

CHECKS = (WellFormed(), PixelBudget(), FullDecode())

ORDINARY = {
    "jpeg": jpeg(),
    "progressive jpeg": jpeg(progressive=True),
    "grey jpeg": encoded(picture(mode="L"), "JPEG"),
    "cmyk jpeg": encoded(picture(mode="CMYK"), "JPEG"),
    "jpeg with an icc profile": jpeg(icc_profile=bytes(200_000)),
    "jpeg with data behind the end": jpeg() + b"appended by a camera" * 100,
    "jpeg smaller than a block": jpeg(1, 1),
    "jpeg with exif that does not parse": jpeg(exif=b"Exif\0\0garbage"),
    "mpo": encoded(picture(), "MPO", save_all=True, append_images=[picture()]),
    "png": png(),
    "interlaced png": png_header(1, 1, interlace=1)
    + png_chunk(b"IDAT", zlib.compress(b"\0abc"))
    + png_chunk(b"IEND", b""),
    "palette png": png(mode="P"),
    "palette png with transparency": encoded(picture(mode="P"), "PNG", transparency=0),
    "1-bit png": png(mode="1"),
    "grey png": png(mode="L"),
    "grey png with alpha": png(mode="LA"),
    "16-bit png": encoded(picture().convert("I;16"), "PNG"),
    "png with alpha": png(mode="RGBA"),
    "black png": encoded(Image.new("RGB", (64, 48)), "PNG"),
    "transparent png": encoded(Image.new("RGBA", (64, 48)), "PNG"),
    "apng": animation("PNG"),
    "webp": webp(),
    "lossless webp": webp(lossless=True),
    "webp with alpha": encoded(picture(mode="RGBA"), "WEBP"),
    "animated webp": animation("WEBP"),
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_and_odd_pictures_pass(data: bytes) -> None:
    upload = upload_of(data)
    for check in CHECKS:
        check(upload, Limits())


@pytest.mark.parametrize(
    "data",
    [jpeg()[:-2], jpeg(progressive=True)[:-2], webp(), webp(lossless=True), animation("WEBP")],
)
def test_a_file_cut_anywhere_in_the_picture_is_refused(data: bytes, rejection: Reject) -> None:
    for end in {*range(len(data) // 4, len(data), max(1, len(data) // 60)), len(data) - 1, len(data) - 2}:
        assert rejection(upload_of(data[:end]), *CHECKS).code == "corrupt_image", end


def test_an_apng_cut_in_a_later_frame_is_refused(rejection: Reject) -> None:
    data = animation("PNG")
    end = data.rindex(b"fdAT") + 40
    assert rejection(upload_of(data[:end]), *CHECKS).code == "corrupt_image"


@pytest.mark.parametrize(("declared", "present"), [(1600, 10), (2, 1), (100, 99), (100, 0)])
def test_a_png_with_fewer_rows_than_declared_is_refused(
    declared: int, present: int, rejection: Reject
) -> None:
    rejected = rejection(upload_of(png_with_rows(declared, present)), *CHECKS)
    assert rejected.code == "corrupt_image"
    upload = upload_of(png_with_rows(declared, declared))
    for check in CHECKS:
        check(upload, Limits())


def test_a_wrong_checksum_in_a_png_is_refused(rejection: Reject) -> None:
    data = bytearray(png())
    data[data.index(b"IDAT") - 4 + 12 + int.from_bytes(data[33:37]) - 1] ^= 1
    assert rejection(upload_of(bytes(data)), *CHECKS).code == "corrupt_image"


def test_a_png_with_damaged_compressed_data_is_refused(rejection: Reject) -> None:
    data = png_header(8, 8) + png_chunk(b"IDAT", b"\x78\x9cgarbage") + png_chunk(b"IEND", b"")
    assert rejection(upload_of(data), *CHECKS).code == "corrupt_image"


@pytest.mark.parametrize("pillow_format", ["PNG", "WEBP"])
def test_all_frames_of_an_animation_count(pillow_format: str, rejection: Reject) -> None:
    data = animation(pillow_format, frames=3, width=64, height=48)
    upload = upload_of(data)
    for check in CHECKS:
        check(upload, Limits(max_pixels=3 * 64 * 48))
    rejected = rejection(upload_of(data), *CHECKS, limits=Limits(max_pixels=3 * 64 * 48 - 1))
    assert rejected.code == "too_many_pixels"


@pytest.mark.parametrize("data", [ORDINARY["jpeg"], ORDINARY["png"], ORDINARY["webp"]])
def test_no_decoder_is_chosen_by_content(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Image, "open")
    upload = upload_of(data)
    for check in CHECKS:
        check(upload, Limits())


def test_a_refusal_contains_no_memory_address(rejection: Reject) -> None:
    rejected = rejection(upload_of(png()[:60]), *CHECKS)
    assert "0x" not in f"{rejected.message}{rejected.reason}"


def test_decoding_does_not_change_the_file() -> None:
    data = jpeg(160, 120)
    upload = upload_of(data)
    for check in CHECKS:
        check(upload, Limits())
    assert upload.file.data == data
    assert Image.open(io.BytesIO(upload.file.data)).size == (160, 120)


def test_memory_that_runs_out_is_a_refusal_and_not_a_fault(
    rejection: Reject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validators.decode.decode_jpeg", fail_with(MemoryError()))
    rejected = rejection(upload_of(jpeg()), *CHECKS)
    assert (rejected.code, rejected.message) == ("too_many_pixels", "Image has too many pixels")
