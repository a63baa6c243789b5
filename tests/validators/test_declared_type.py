from __future__ import annotations

import pytest

from tests.validators.conftest import Reject, upload_of
from validators.base import Limits
from validators.declared_type import DeclaredType


@pytest.mark.parametrize(
    "declared", [None, "", "application/octet-stream", "image/png", "image/jpeg", "image/webp"]
)
def test_an_accepted_or_unspecific_type_passes(declared: str | None) -> None:
    DeclaredType()(upload_of(b"bytes", declared), Limits())


@pytest.mark.parametrize("declared", ["image/gif", "image/jpg", "image/*", "text/plain", "*/*", "x"])
def test_any_other_type_is_refused(declared: str, rejection: Reject) -> None:
    rejected = rejection(upload_of(b"bytes", declared), DeclaredType())
    assert rejected.code == "unsupported_type"
    assert rejected.message == ("Unsupported MIME type \u2014 accepts image/png, image/jpeg, image/webp")
