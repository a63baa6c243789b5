"""Password hashing with Argon2id, a memory-hard function (RFC 9106)."""

from __future__ import annotations

import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: NIST SP 800-63B: require a length, allow long passwords, and impose no composition rules.
MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 1024

#: RFC 9106 section 4, the second recommended option: 3 passes over 64 MiB.
_HASHER: Final = PasswordHasher()

#: One hash computation takes 64 MiB, so only a few run at the same time.
_AT_ONCE: Final = threading.BoundedSemaphore(2)

#: Verified when there is no user, so that the response time does not reveal whether a user exists.
_NOBODYS: Final = _HASHER.hash("nobody's password")


def hash_password(password: str) -> str:
    """Hashes a password.

    Returns:
        The hash in the PHC string format, which includes salt and parameters.

    Raises:
        ValueError: the password is too short or too long; the message is a sentence.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password matches the hash.

    Without a hash the answer is False, after the same computing time.
    """
    try:
        with _AT_ONCE:
            _HASHER.verify(_NOBODYS if password_hash is None else password_hash, password[: MAX_LENGTH + 1])
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
