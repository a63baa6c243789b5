from __future__ import annotations

from collections.abc import Callable

import pytest

from validators.base import FilePart, ImageType, Limits, Rejected, Upload, Validator
from validators.containers.structure import Structure
from validators.decode import FullDecode
from validators.pixels import PixelBudget
from validators.signature import image_type
from validators.structure import WellFormed

Reject = Callable[..., Rejected]

#: The validators that look into a picture.
PICTURE_CHECKS = (WellFormed(), PixelBudget(), FullDecode())


def upload_of(data: bytes, declared_type: str | None = None, digests: tuple[str, ...] = ()) -> Upload:
    """An upload of one file, as the validators before the one under test leave it."""
    upload = Upload([FilePart("file", data, declared_type, digests)])
    found = image_type(data)
    if isinstance(found, ImageType):
        upload.image_type = found
    return upload


def accepted(data: bytes, limits: Limits | None = None) -> Structure:
    """The structure of a picture that passes."""
    upload = upload_of(data)
    for check in PICTURE_CHECKS:
        check(upload, limits or Limits())
    return upload.structure


@pytest.fixture
def rejection() -> Reject:
    """Runs validators that are expected to refuse, and gives the refusal."""

    def run(upload: Upload, *validators: Validator, limits: Limits | None = None) -> Rejected:
        try:
            for validator in validators:
                validator(upload, limits or Limits())
        except Rejected as rejected:
            return rejected
        pytest.fail("nothing was refused")

    return run


@pytest.fixture
def refused(rejection: Reject) -> Callable[..., Rejected]:
    """The refusal of a picture by the validators that look into it."""

    def run(data: bytes, limits: Limits | None = None) -> Rejected:
        return rejection(upload_of(data), *PICTURE_CHECKS, limits=limits)

    return run
