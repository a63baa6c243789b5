from __future__ import annotations

from tests.validators.conftest import Reject, upload_of
from validators.base import Limits
from validators.size import Size

FIVE_MEGABYTES = 5_242_880


def test_five_megabytes_pass() -> None:
    Size()(upload_of(bytes(FIVE_MEGABYTES)), Limits())


def test_a_byte_more_is_refused(rejection: Reject) -> None:
    rejected = rejection(upload_of(bytes(FIVE_MEGABYTES + 1)), Size())
    assert (rejected.code, rejected.message) == ("too_large", "Image must be under 5MB")
