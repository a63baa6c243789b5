from __future__ import annotations

from collections.abc import Callable

import pytest

from validators.base import FilePart, ImageType, Limits, Rejected, Upload, Validator
from validators.signature import image_type

Reject = Callable[..., Rejected]


def upload_of(data: bytes, declared_type: str | None = None, digests: tuple[str, ...] = ()) -> Upload:
    """An upload of one file, as the validators before the one under test leave it."""
    upload = Upload([FilePart("file", data, declared_type, digests)])
    found = image_type(data)
    if isinstance(found, ImageType):
        upload.image_type = found
    return upload


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
