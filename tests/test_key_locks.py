from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any

import pytest

from key_locks import KeyLocks

#: The longest wait for another thread or process, in seconds.
LONG = 60
FORK = multiprocessing.get_context("fork")


def hold(locks: KeyLocks, key: str, held: Any, ended: Any) -> None:
    with locks.hold(key, timeout=LONG):
        held.set()
        ended.wait(LONG)


@contextmanager
def held_by_a_thread(locks: KeyLocks, key: str) -> Iterator[threading.Event]:
    held, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=(locks, key, held, ended))
    thread.start()
    assert held.wait(LONG)
    yield ended
    ended.set()
    thread.join(LONG)


@contextmanager
def held_by_a_process(locks: KeyLocks, key: str) -> Iterator[Event]:
    held, ended = FORK.Event(), FORK.Event()
    process = FORK.Process(target=hold, args=(locks, key, held, ended))
    process.start()
    assert held.wait(LONG)
    yield ended
    ended.set()
    process.join(LONG)


HOLDERS = pytest.mark.parametrize("held_by", [held_by_a_thread, held_by_a_process])


@HOLDERS
def test_a_key_that_is_held_is_waited_for_and_then_given_up(held_by: Any) -> None:
    locks = KeyLocks()
    with held_by(locks, "a"), pytest.raises(TimeoutError), locks.hold("a", timeout=0.05):
        pass


@HOLDERS
def test_a_key_can_be_held_when_it_is_released(held_by: Any) -> None:
    locks = KeyLocks()
    with held_by(locks, "a") as ended:
        threading.Timer(0.05, ended.set).start()
        with locks.hold("a", timeout=LONG):
            assert ended.is_set()


@HOLDERS
def test_another_key_can_be_held_meanwhile(held_by: Any) -> None:
    locks = KeyLocks()
    with held_by(locks, "a"), locks.hold("b", timeout=1):
        pass


@HOLDERS
def test_an_error_releases_the_key(held_by: Any) -> None:
    locks = KeyLocks()
    with pytest.raises(RuntimeError), locks.hold("a", timeout=1):
        raise RuntimeError
    with held_by(locks, "a"):
        pass


def test_a_process_that_ends_releases_its_keys() -> None:
    locks = KeyLocks()
    held = FORK.Event()
    process = FORK.Process(target=hold, args=(locks, "a", held, FORK.Event()))
    process.start()
    assert held.wait(LONG)
    process.kill()
    with locks.hold("a", timeout=LONG):
        pass
    process.join(LONG)


def test_a_system_without_files_in_memory_has_locks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr("os.memfd_create", refuse, raising=False)
    locks = KeyLocks()
    with held_by_a_process(locks, "a"), pytest.raises(TimeoutError), locks.hold("a", timeout=0.05):
        pass
