from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from itertools import islice

import pytest

import auth.passwords
from auth.passwords import HashingBusy, PasswordRefused, hash_password, verify_password
from turns import Turns

PASSWORD = "correct horse battery"  # a test value
EMAIL = "anna.rossi.fischer@example.com"


def test_a_password_is_hashed_by_argon2id_with_a_salt() -> None:
    first, second = hash_password(PASSWORD, EMAIL), hash_password(PASSWORD, EMAIL)
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second
    assert verify_password(first, PASSWORD)
    assert verify_password(second, PASSWORD)


def test_a_wrong_password_does_not_match() -> None:
    password_hash = hash_password(PASSWORD, EMAIL)
    for wrong in ("", "Correct horse battery", PASSWORD + " ", "x" * 5000):
        assert not verify_password(password_hash, wrong)


@pytest.mark.parametrize("password_hash", [None, "", "plain", PASSWORD])
def test_no_password_matches_a_missing_or_malformed_hash(password_hash: str | None) -> None:
    assert not verify_password(password_hash, PASSWORD)


@pytest.mark.parametrize(
    ("password", "code", "sentence"),
    [
        ("", "length", "A password has 12 to 1024 characters."),
        ("11 letters!", "length", "A password has 12 to 1024 characters."),
        ("x" * 1025, "length", "A password has 12 to 1024 characters."),
        (" " * 12, "blank", "A password must have characters other than blanks."),
        ("\u00a0\u2003\t" * 6, "blank", "A password must have characters other than blanks."),
        (EMAIL, "address", "A password is not the user's email address."),
        (f" {EMAIL.upper()} ", "address", "A password is not the user's email address."),
        ("Anna.Rossi.Fischer", "address", "A password is not the user's email address."),
        ("qwerty123456", "common", "This password is one of the most common ones. Choose another."),
        ("1QAZ2wsx3edc", "common", "This password is one of the most common ones. Choose another."),
        ("administrator", "common", "This password is one of the most common ones. Choose another."),
        ("112233445566", "common", "This password is one of the most common ones. Choose another."),
    ],
)
def test_an_unacceptable_password_is_refused_with_the_reason(password: str, code: str, sentence: str) -> None:
    with pytest.raises(PasswordRefused) as refused:
        hash_password(password, EMAIL)
    assert (refused.value.code, str(refused.value)) == (code, sentence)


@pytest.mark.parametrize("password", ["12 letters!!", "x" * 1024, "pässwörd ☕ più", "a" + " " * 11])
def test_a_password_may_contain_any_characters(password: str) -> None:
    assert verify_password(hash_password(password, EMAIL), password)


def test_the_number_of_waiting_password_checks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of sign-ins is refused at once instead of holding all threads of the worker."""
    release = threading.Event()

    class SlowHasher:
        def verify(self, *_: object) -> None:
            assert release.wait(30)

    monkeypatch.setattr(auth.passwords, "_HASHER", SlowHasher())
    monkeypatch.setattr(auth.passwords, "_TURNS", Turns(replace(auth.passwords._BOUNDS, seconds=60)))
    with ThreadPoolExecutor(40) as threads:
        checks = [threads.submit(verify_password, "hash", PASSWORD) for _ in range(40)]
        # Two compute and eight wait until the event is set; all others end before it.
        ended = list(islice(as_completed(checks, timeout=30), 30))
        assert all(isinstance(check.exception(), HashingBusy) for check in ended)
        release.set()
    assert sum(check.exception() is None for check in checks) == 10
    assert verify_password("hash", PASSWORD), "the turns are free again"


def test_a_password_check_does_not_wait_long_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    release, begun = threading.Event(), threading.Barrier(3)

    class SlowHasher:
        def verify(self, *_: object) -> None:
            begun.wait(30)
            assert release.wait(30)

    monkeypatch.setattr(auth.passwords, "_HASHER", SlowHasher())
    monkeypatch.setattr(auth.passwords, "_TURNS", Turns(replace(auth.passwords._BOUNDS, seconds=0.05)))
    with ThreadPoolExecutor(2) as threads:
        computing = [threads.submit(verify_password, "hash", PASSWORD) for _ in range(2)]
        begun.wait(30)
        with pytest.raises(HashingBusy):
            verify_password("hash", PASSWORD)
        release.set()
        assert [check.result() for check in computing] == [True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_passwords_are_checked_at_a_lower_priority_than_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def nice_value() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    class Hasher:
        def verify(self, *_: object) -> None:
            found.append(nice_value())

    found: list[int] = []
    monkeypatch.setattr(auth.passwords, "_HASHER", Hasher())
    assert verify_password("hash", PASSWORD)
    assert found == [min(nice_value() + 5, 19)]
