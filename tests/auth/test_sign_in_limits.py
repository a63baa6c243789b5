"""How often a network may try to sign in, and that nobody locks others out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import pytest
from flask import Flask

import auth.sessions
from app import create_app
from auth.counters.sqlite import SQLiteCounters
from auth.passwords import HashingBusy
from catalog.base import Catalog
from catalog.identity import User, Workspace
from config import Settings
from storage.base import StorageBackend
from tests.console.conftest import PASSWORD, Person
from tests.factories import a_user, new_user

OFFICE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
#: Sign-ins of one user from one address that fail in a minute, and those from one address.
STRICT, BY_NETWORK = 2, 10


class Passwords:
    """Checks passwords, in no time, and can hold the checks."""

    def __init__(self) -> None:
        self.checked = 0
        self._free = threading.Event()
        self._free.set()

    def verify(self, password_hash: str | None, password: str) -> bool:
        self.checked += 1
        assert self._free.wait(30)
        return password_hash is not None and password == PASSWORD

    @contextmanager
    def held(self) -> Iterator[None]:
        """No check ends before the block does."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()


@pytest.fixture
def passwords(monkeypatch: pytest.MonkeyPatch) -> Passwords:
    passwords = Passwords()
    monkeypatch.setattr(auth.sessions, "verify_password", passwords.verify)
    return passwords


@pytest.fixture(params=["", "memory://"], ids=["sqlite", "memory"])
def app(
    request: pytest.FixtureRequest, settings: Settings, storage: StorageBackend, catalog: Catalog
) -> Iterator[Flask]:
    limited = replace(settings, auth_failures_per_minute=STRICT, ratelimit_storage_uri=request.param)
    app = create_app(limited, storage=storage, catalog=catalog)
    yield app
    app.extensions["last_used"].flush()  # before the catalog is closed


@pytest.fixture
def people(catalog: Catalog, workspace: Workspace) -> list[User]:
    """More users than the failures that their network has."""
    return [new_user(catalog, workspace, password_hash="hash") for _ in range(2 * BY_NETWORK)]


@pytest.fixture
def strangers(workspace: Workspace) -> list[User]:
    """Users that are not in the catalog."""
    return [a_user(workspace) for _ in range(2 * BY_NETWORK)]


def attempt(app: Flask, user: User, password: str = "wrong", address: str = OFFICE) -> int:  # noqa: S107  # a test value
    """The status of a sign-in from an address."""
    browser = app.test_client()
    browser.environ_base["REMOTE_ADDR"] = address
    return Person(user, browser).sign_in(password).status_code


def refused(attempts: list[Future[int]], count: int) -> list[int]:
    """What the first attempts to end are answered."""
    return [each.result() for each in islice(as_completed(attempts, timeout=30), count)]


pytestmark = pytest.mark.usefixtures("passwords")


# --- one address with many people


def test_more_people_sign_in_from_one_address_than_may_fail_there(app: Flask, people: list[User]) -> None:
    assert [attempt(app, user, PASSWORD) for user in people] == [303] * len(people)


def test_they_can_do_so_at_the_same_time(app: Flask, people: list[User]) -> None:
    with ThreadPoolExecutor(BY_NETWORK) as pool:
        statuses = pool.map(lambda user: attempt(app, user, PASSWORD), people)
        assert list(statuses) == [303] * len(people)


def test_guesses_for_one_user_keep_only_that_user_out_and_only_there(
    app: Flask, people: list[User], passwords: Passwords
) -> None:
    anna, *others = people
    guesses = [attempt(app, anna) for _ in range(5 * BY_NETWORK)]
    assert guesses == [401] * STRICT + [429] * (len(guesses) - STRICT)
    assert passwords.checked == STRICT
    assert [attempt(app, user, PASSWORD) for user in others] == [303] * len(others)
    assert attempt(app, anna, PASSWORD) == 429
    assert attempt(app, anna, PASSWORD, ELSEWHERE) == 303


# --- one password for many users


def test_a_network_tries_a_bounded_number_of_users(
    app: Flask, people: list[User], strangers: list[User], passwords: Passwords
) -> None:
    tried = [user for pair in zip(people, strangers, strict=True) for user in pair]
    statuses = [attempt(app, user) for user in tried]
    assert statuses == [401] * BY_NETWORK + [429] * (len(tried) - BY_NETWORK)
    assert passwords.checked == BY_NETWORK
    assert attempt(app, people[-1], PASSWORD) == 429
    assert attempt(app, people[-1], PASSWORD, ELSEWHERE) == 303


def test_an_account_of_ones_own_buys_no_guesses(
    app: Flask, people: list[User], strangers: list[User]
) -> None:
    own = iter(people)
    failures = 0
    while attempt(app, next(own), PASSWORD) == 303:
        failures += attempt(app, strangers[failures]) == 401
    assert failures == BY_NETWORK


def test_nothing_is_written_for_a_network_beyond_its_limit(
    app: Flask, strangers: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in strangers:
        attempt(app, user)
    writes = []
    monkeypatch.setattr(SQLiteCounters, "incr", lambda *_: writes.append(1))
    assert {attempt(app, user) for user in strangers} == {429}
    assert writes == []


# --- at the same time


def test_guesses_for_one_user_at_the_same_time_are_no_more_than_one_by_one(
    app: Flask, people: list[User], passwords: Passwords
) -> None:
    with ThreadPoolExecutor(20) as pool:
        with passwords.held():
            guesses = [pool.submit(attempt, app, people[0]) for _ in range(20)]
            assert refused(guesses, 20 - STRICT) == [429] * (20 - STRICT)
        assert Counter(guess.result(30) for guess in guesses) == {401: STRICT, 429: 20 - STRICT}
    assert passwords.checked == STRICT


def test_users_that_are_tried_at_the_same_time_are_no_more_than_one_by_one(
    app: Flask, strangers: list[User], passwords: Passwords
) -> None:
    with ThreadPoolExecutor(len(strangers)) as pool:
        with passwords.held():
            guesses = [pool.submit(attempt, app, user) for user in strangers]
            beyond = len(strangers) - BY_NETWORK
            assert refused(guesses, beyond) == [429] * beyond
        assert Counter(guess.result(30) for guess in guesses) == {401: BY_NETWORK, 429: beyond}
    assert passwords.checked == BY_NETWORK


def test_the_processes_of_a_server_count_together(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    people: list[User],
    strangers: list[User],
    passwords: Passwords,
) -> None:
    limited = replace(settings, auth_failures_per_minute=STRICT)
    one, other = (create_app(limited, storage=storage, catalog=catalog) for _ in range(2))
    assert [attempt(app, user, PASSWORD) for user in people for app in (one, other)] == [303] * 40
    with ThreadPoolExecutor(20) as pool:
        with passwords.held():
            halves = strangers[:BY_NETWORK], strangers[BY_NETWORK:]
            guesses = [pool.submit(attempt, one, user) for user in halves[0]]
            guesses += [pool.submit(attempt, other, user) for user in halves[1]]
            assert refused(guesses, BY_NETWORK) == [429] * BY_NETWORK
        assert Counter(guess.result(30) for guess in guesses) == {401: BY_NETWORK, 429: BY_NETWORK}
    for app in (one, other):
        app.extensions["last_used"].flush()  # before the catalog is closed


def test_sign_ins_that_are_under_way_buy_no_guesses(
    app: Flask, people: list[User], strangers: list[User], passwords: Passwords
) -> None:
    with ThreadPoolExecutor(BY_NETWORK) as pool, passwords.held():
        right = [pool.submit(attempt, app, user, PASSWORD) for user in people[: BY_NETWORK // 2]]
        wrong = [pool.submit(attempt, app, user) for user in strangers[: BY_NETWORK // 2]]
    assert [each.result(30) for each in right] == [303] * (BY_NETWORK // 2)
    assert [each.result(30) for each in wrong] == [401] * (BY_NETWORK // 2)
    statuses = [attempt(app, user) for user in strangers[BY_NETWORK // 2 :]]
    assert statuses == [401] * (BY_NETWORK // 2) + [429] * BY_NETWORK


# --- a busy server


def test_an_attempt_that_was_not_checked_counts(
    app: Flask, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> bool:
        raise HashingBusy

    monkeypatch.setattr(auth.sessions, "verify_password", busy)
    assert [attempt(app, people[0]) for _ in range(3)] == [503, 503, 429]
