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

#: The validators that read the picture.
PICTURE_CHECKS = (WellFormed(), PixelBudget(), FullDecode())


def upload_of(data: bytes, declared_type: str | None = None, digests: tuple[str, ...] = ()) -> Upload:
    """Returns an upload of one file with its type set, as ``PICTURE_CHECKS`` require."""
    upload = Upload([FilePart("file", data, declared_type, digests)])
    found = image_type(data)
    if isinstance(found, ImageType):
        upload.image_type = found
    return upload


def accepted(data: bytes, limits: Limits | None = None) -> Structure:
    """Runs ``PICTURE_CHECKS`` on a file that must pass; returns its structure."""
    upload = upload_of(data)
    for check in PICTURE_CHECKS:
        check(upload, limits or Limits())
    return upload.structure


@pytest.fixture
def rejection() -> Reject:
    """Runs validators on an upload that one of them must refuse; returns the refusal."""

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
    """Runs ``PICTURE_CHECKS`` on a file that one of them must refuse; returns the refusal."""

    def run(data: bytes, limits: Limits | None = None) -> Rejected:
        return rejection(upload_of(data), *PICTURE_CHECKS, limits=limits)

    return run
