from __future__ import annotations

import base64
import hashlib

import pytest

from tests.validators.conftest import Reject, upload_of
from validators.base import Limits
from validators.digest import DeclaredDigest

DATA = b"bytes"
SHA256 = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
OTHER = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
SHA512 = base64.b64encode(hashlib.sha512(b"other").digest()).decode()


@pytest.mark.parametrize(
    "digests",
    [
        (),
        (f"sha-256=:{SHA256}:",),
        (f"sha-512=:{SHA512}:, sha-256=:{SHA256}:",),
        (f"sha-256=:{SHA256}:;note=1",),
        (f"sha-256=:{SHA256}:", f"sha-256=:{SHA256}:"),
        (f"sha-512=:{SHA512}:",),
    ],
)
def test_a_matching_digest_or_one_of_another_algorithm_passes(digests: tuple[str, ...]) -> None:
    DeclaredDigest()(upload_of(DATA, digests=digests), Limits())


@pytest.mark.parametrize(
    "digests",
    [
        (f"sha-256=:{OTHER}:",),
        (f"sha-256=:{SHA256}:", f"sha-256=:{OTHER}:"),
        ("sha-256=::",),
        (f"sha-512=:{SHA512}:, sha-256=:{OTHER}:",),
    ],
)
def test_a_digest_of_other_bytes_is_refused(digests: tuple[str, ...], rejection: Reject) -> None:
    rejected = rejection(upload_of(DATA, digests=digests), DeclaredDigest())
    assert (rejected.code, rejected.message) == ("bad_digest", "Content-Digest does not match the file")


@pytest.mark.parametrize(
    "value", ["", "sha-256", f"sha-256={SHA256}", "sha-256=:!:", "sha-256=:abc:", "=:YQ==:"]
)
def test_a_digest_that_does_not_parse_is_refused(value: str, rejection: Reject) -> None:
    rejected = rejection(upload_of(DATA, digests=(value,)), DeclaredDigest())
    assert (rejected.code, rejected.message) == ("bad_digest", "Content-Digest is malformed")
