"""Passwords: hashed by Argon2id, a memory-hard function (RFC 9106)."""

from __future__ import annotations

import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: As NIST SP 800-63B has it: long is fine, and no rules of composition.
MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 1024

#: RFC 9106 section 4, the second recommended option: 3 passes over 64 MiB.
_HASHER: Final = PasswordHasher()

#: Each hash takes 64 MiB, so a crowd at the door waits in line.
_AT_ONCE: Final = threading.BoundedSemaphore(2)

#: Is checked where there is no user, so that this takes as long.
_NOBODYS: Final = _HASHER.hash("nobody's password")


def hash_password(password: str) -> str:
    """The hash, with its salt and parameters.

    Raises:
        ValueError: the password is too short or too long; the message is a sentence.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether it is the password; with no hash it is not, which takes the same time to find out."""
    try:
        with _AT_ONCE:
            _HASHER.verify(_NOBODYS if password_hash is None else password_hash, password[: MAX_LENGTH + 1])
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
