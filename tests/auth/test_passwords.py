from __future__ import annotations

import pytest

from auth.passwords import hash_password, verify_password

PASSWORD = "correct horse battery"  # noqa: S105  # of nobody


def test_a_password_is_hashed_by_argon2id_with_a_salt() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second
    assert verify_password(first, PASSWORD)
    assert verify_password(second, PASSWORD)


@pytest.mark.parametrize("wrong", ["", "Correct horse battery", PASSWORD + " ", "x" * 5000])
def test_a_wrong_password_does_not_match(wrong: str) -> None:
    assert not verify_password(hash_password(PASSWORD), wrong)


@pytest.mark.parametrize("password_hash", [None, "", "plain", PASSWORD])
def test_no_password_matches_a_missing_or_malformed_hash(password_hash: str | None) -> None:
    assert not verify_password(password_hash, PASSWORD)
    assert not verify_password(password_hash, "nobody's password")


@pytest.mark.parametrize("password", ["", "7 chars", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="A password has 8 to 1024 characters"):
        hash_password(password)


@pytest.mark.parametrize("password", ["8 charac", "x" * 1024, "pässwörd ☕"])
def test_a_password_may_contain_any_characters(password: str) -> None:
    assert verify_password(hash_password(password), password)
