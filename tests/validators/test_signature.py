from __future__ import annotations

import pytest

from tests.pictures import encoded, jpeg, picture, png, webp
from tests.validators.conftest import Reject, upload_of
from validators.base import JPEG, PNG, WEBP, ImageType, Limits
from validators.signature import Signature


@pytest.mark.parametrize(("data", "expected"), [(png(), PNG), (jpeg(), JPEG), (webp(), WEBP)])
def test_the_type_is_what_the_bytes_are(data: bytes, expected: ImageType) -> None:
    upload = upload_of(data, "image/png")
    Signature()(upload, Limits())
    assert upload.image_type is expected


@pytest.mark.parametrize(
    "data",
    [
        encoded(picture(), "GIF"),
        encoded(picture(), "BMP"),
        encoded(picture(), "TIFF"),
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?php system($_GET['c']); ?>",
        b"PK\x03\x04",
        b"\0\0\0\x20ftypavif",
        b"push graphic-context\n",
        b"\n" + png(),
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a",
        b"x",
    ],
)
def test_bytes_of_any_other_kind_are_refused(data: bytes, rejection: Reject) -> None:
    rejected = rejection(upload_of(data, "image/png"), Signature())
    assert rejected.code == "unsupported_type"
