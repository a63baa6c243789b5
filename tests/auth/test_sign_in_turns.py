"""Who signs in while others keep the server busy with wrong passwords."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import pytest
from argon2.exceptions import VerifyMismatchError
from flask import Flask
from werkzeug.test import TestResponse

import auth.passwords
from catalog.base import Catalog
from catalog.identity import User, Workspace
from tests.console.conftest import PASSWORD, Person
from tests.factories import new_user
from turns import Turns

PATIENCE = 30
#: The attempts that are computed or wait. Of networks that have failed, one is computed at a time.
PLACES = 10


class Hasher:
    """Computes in no time, or holds the computations until they are released one by one."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._free = threading.Semaphore(0)
        self.is_held = False

    def verify(self, password_hash: str, password: str) -> None:
        self.order.append(password)
        if self.is_held:
            assert self._free.acquire(timeout=PATIENCE)
        if password != PASSWORD:
            raise VerifyMismatchError

    def release(self, count: int = 1) -> None:
        self._free.release(count)


@dataclass
class Door:
    """The sign-in of a server that computes few passwords at a time."""

    app: Flask
    hasher: Hasher
    turns: Turns
    pool: ThreadPoolExecutor

    def attempt(self, user: User, address: str, password: str = "wrong") -> Future[TestResponse]:  # noqa: S107  # a test value
        browser = self.app.test_client()
        browser.environ_base["REMOTE_ADDR"] = address
        return self.pool.submit(Person(user, browser).sign_in, password)

    def hold(self, user: User, networks: list[str]) -> list[Future[TestResponse]]:
        """Lets an attempt from each of these networks wait, or be computed until it is released."""
        self.hasher.is_held = True
        attempts = []
        for number, network in enumerate(networks, 1):
            attempts.append(self.attempt(user, network, f"wrong {number}"))
            self.await_(computed=1, waiting=number - 1)
        return attempts

    def await_begun(self, count: int) -> None:
        """Returns when this number of computations has begun."""
        deadline = time.monotonic() + PATIENCE
        while len(self.hasher.order) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def await_(self, *, computed: int, waiting: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (self.turns.held, self.turns.waiting) != (computed, waiting):
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.fixture
def door(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A sign-in at which nobody loses patience."""
    hasher, turns = Hasher(), Turns(replace(auth.passwords._BOUNDS, seconds=PATIENCE))
    monkeypatch.setattr(auth.passwords, "_HASHER", hasher)
    monkeypatch.setattr(auth.passwords, "_TURNS", turns)
    with ThreadPoolExecutor(20) as pool:
        yield Door(app, hasher, turns, pool)
        hasher.release(100)  # if the test has failed


@pytest.fixture
def anna(catalog: Catalog, workspace: Workspace) -> User:
    return new_user(catalog, workspace, password_hash="hash")


GUESSERS = [f"192.0.2.{number}" for number in range(PLACES)]
HOME = "198.51.100.1"


def test_a_right_sign_in_comes_before_guesses_from_networks_that_have_failed(door: Door, anna: User) -> None:
    for network in GUESSERS:
        assert door.attempt(anna, network).result(PATIENCE).status_code == 401
    guesses = door.hold(anna, GUESSERS)
    sign_in = door.attempt(anna, HOME, PASSWORD)
    refused = next(as_completed(guesses, timeout=PATIENCE)).result()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    door.await_(computed=2, waiting=PLACES - 2)
    door.await_begun(PLACES + 2)
    assert door.hasher.order[-1] == PASSWORD
    door.hasher.release(100)
    assert sign_in.result(PATIENCE).status_code == 303
    statuses = Counter(guess.result(PATIENCE).status_code for guess in guesses)
    assert statuses == {503: 1, 401: PLACES - 1}


def test_networks_that_have_failed_take_turns(door: Door, anna: User) -> None:
    assert door.attempt(anna, HOME).result(PATIENCE).status_code == 401
    guesses = door.hold(anna, GUESSERS[:1] * PLACES)
    sign_in = door.attempt(anna, HOME, PASSWORD)
    refused = next(as_completed(guesses, timeout=PATIENCE)).result()
    assert refused.status_code == 503  # the network with the most makes room
    door.await_(computed=1, waiting=PLACES - 1)
    begun = len(door.hasher.order)
    for number in (1, 2):
        door.hasher.release()
        door.await_begun(begun + number)
    assert PASSWORD in door.hasher.order[begun:]
    door.hasher.release(100)
    assert sign_in.result(PATIENCE).status_code == 303
