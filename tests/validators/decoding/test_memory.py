from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable

import pytest

from validators.decoding.memory import DecodeMemory

LIMIT = 100
#: Seconds after which a test that waits in vain fails.
PATIENCE = 20


class Decode:
    """A decode in a thread of its own, which holds its memory until ``finish`` is called."""

    def __init__(self, memory: DecodeMemory, size: int, started: list[int]) -> None:
        self._memory = memory
        self._size = size
        self._started = started
        self.running = threading.Event()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with self._memory.reserve(self._size, LIMIT):
            self._started.append(self._size)
            self.running.set()
            assert self.end.wait(PATIENCE)

    def finish(self) -> None:
        self.end.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def memory() -> DecodeMemory:
    return DecodeMemory()


@pytest.fixture
def started() -> list[int]:
    """The sizes of the decodes, in the order in which they started."""
    return []


@pytest.fixture
def decode(memory: DecodeMemory, started: list[int]) -> Callable[[int], Decode]:
    """Starts a decode; returns as soon as it runs or waits."""
    count = 0

    def start(size: int) -> Decode:
        nonlocal count
        count += 1
        begun = Decode(memory, size, started)
        pause = threading.Event()
        for _ in range(PATIENCE * 1000):
            if len(started) + memory.waiting == count:
                return begun
            pause.wait(0.001)
        pytest.fail("it neither runs nor waits")

    return start


def test_decodes_that_fit_together_run_together(decode: Callable[[int], Decode], started: list[int]) -> None:
    decodes = [decode(50), decode(50)]
    assert started == [50, 50]
    for begun in decodes:
        begun.finish()


def test_a_decode_that_does_not_fit_waits(
    decode: Callable[[int], Decode], started: list[int], memory: DecodeMemory
) -> None:
    first, second = decode(60), decode(41)
    assert (started, memory.waiting) == ([60], 1)
    first.finish()
    assert second.running.wait(PATIENCE)
    second.finish()


def test_a_later_decode_does_not_overtake_a_large_one(
    decode: Callable[[int], Decode], started: list[int], memory: DecodeMemory
) -> None:
    first, large, small = decode(60), decode(90), decode(20)  # the small one would fit beside the first
    assert started == [60]
    first.finish()
    assert large.running.wait(PATIENCE)
    assert memory.waiting == 1
    large.finish()
    assert small.running.wait(PATIENCE)
    assert started == [60, 90, 20]
    small.finish()


def test_a_decode_that_is_larger_than_the_limit_runs_alone(
    decode: Callable[[int], Decode], started: list[int]
) -> None:
    first, huge, last = decode(1), decode(1000), decode(1)
    assert started == [1]
    first.finish()
    assert huge.running.wait(PATIENCE)
    assert started == [1, 1000]
    huge.finish()
    assert last.running.wait(PATIENCE)
    last.finish()


def test_a_decode_that_fails_gives_its_memory_back(memory: DecodeMemory) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), memory.reserve(80, LIMIT):
            _ = 1 / 0
    with memory.reserve(100, LIMIT):
        pass


def test_a_hundred_decodes_of_all_sizes_stay_within_the_limit(memory: DecodeMemory) -> None:
    lock = threading.Lock()
    held = most = done = 0

    def run(size: int) -> None:
        nonlocal held, most, done
        for _ in range(10):
            with memory.reserve(size, LIMIT):
                with lock:
                    held += size
                    most = max(most, held)
                with lock:
                    held -= size
                    done += 1

    threads = [threading.Thread(target=run, args=(7 * number % 60 + 1,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert done == 100
    assert most <= LIMIT


def test_a_forked_process_starts_with_an_empty_account(memory: DecodeMemory) -> None:
    with memory.reserve(100, LIMIT):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have threads
            child = os.fork()
        if child == 0:  # the memory that the parent holds does not block the child
            with memory.reserve(100, LIMIT):
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
