"""Turns: the decodes of one workspace, then the turns between workspaces."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest

from errors import DomainError
from turns import REQUESTER, Bounds, ClientGone, Requester, ServerBusy, ShareUsed, Turns, asking_as

LIMIT = 100
#: Seconds after which a test that waits without a result fails.
PATIENCE = 20


class Decode:
    """A decode in a separate thread, which holds its memory until ``finish`` is called."""

    def __init__(self, memory: Turns, size: int, started: list[int], owner: str) -> None:
        self._memory = memory
        self._owner = owner
        self._size = size
        self._started = started
        self.running = threading.Event()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        REQUESTER.set(Requester(self._owner))
        with self._memory.turn(self._size, LIMIT):
            self._started.append(self._size)
            self.running.set()
            assert self.end.wait(PATIENCE)

    def finish(self) -> None:
        self.end.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def memory() -> Turns:
    return Turns(Bounds(requests=100, own_requests=100, own_turns=100, seconds=PATIENCE))


@pytest.fixture
def started() -> list[int]:
    """The sizes of the decodes, in the order in which they started."""
    return []


@pytest.fixture
def decode(memory: Turns, started: list[int]) -> Callable[..., Decode]:
    """Starts a decode; returns as soon as it runs or waits."""
    count = 0

    def start(size: int, owner: str = "") -> Decode:
        nonlocal count
        count += 1
        begun = Decode(memory, size, started, owner)
        pause = threading.Event()
        for _ in range(PATIENCE * 1000):
            if len(started) + memory.waiting == count:
                return begun
            pause.wait(0.001)
        pytest.fail("it neither runs nor waits")

    return start


def test_decodes_that_fit_together_run_together(decode: Callable[..., Decode], started: list[int]) -> None:
    decodes = [decode(50), decode(50)]
    assert started == [50, 50]
    for begun in decodes:
        begun.finish()


def test_a_decode_that_does_not_fit_waits(
    decode: Callable[..., Decode], started: list[int], memory: Turns
) -> None:
    first, second = decode(60), decode(41)
    assert (started, memory.waiting) == ([60], 1)
    first.finish()
    assert second.running.wait(PATIENCE)
    second.finish()


def test_a_later_decode_does_not_overtake_a_large_one(
    decode: Callable[..., Decode], started: list[int], memory: Turns
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
    decode: Callable[..., Decode], started: list[int]
) -> None:
    first, huge, last = decode(1), decode(1000), decode(1)
    assert started == [1]
    first.finish()
    assert huge.running.wait(PATIENCE)
    assert started == [1, 1000]
    huge.finish()
    assert last.running.wait(PATIENCE)
    last.finish()


def test_a_decode_that_fails_gives_its_memory_back(memory: Turns) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), memory.turn(80, LIMIT):
            _ = 1 / 0
    with memory.turn(100, LIMIT):
        pass


def test_a_hundred_decodes_of_all_sizes_stay_within_the_limit(memory: Turns) -> None:
    lock = threading.Lock()
    held = most = done = 0

    def run(size: int) -> None:
        nonlocal held, most, done
        for _ in range(10):
            with memory.turn(size, LIMIT):
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


def test_a_forked_process_starts_with_an_empty_account(memory: Turns) -> None:
    with memory.turn(100, LIMIT):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have threads
            child = os.fork()
        if child == 0:  # the memory that the parent holds does not block the child
            with memory.turn(100, LIMIT):
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


# --- between workspaces


@contextmanager
def requests_of(workspace_id: str, gone: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Makes this workspace the requester of turns while the block runs."""
    with asking_as(Requester(workspace_id, gone)):
        yield


def refusal(turns: Turns, owner: Requester | str, size: int = 1) -> type[DomainError] | None:
    """Asks for a turn and ends it at once. Returns the type of the refusal; None if the turn was given."""
    requester = Requester(owner) if isinstance(owner, str) else owner
    try:
        with asking_as(requester), turns.turn(size, LIMIT):
            return None
    except DomainError as error:
        return type(error)


def await_waiting(turns: Turns, count: int) -> None:
    """Returns when this number of requests waits."""
    deadline = time.monotonic() + PATIENCE
    while turns.waiting != count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_workspace_with_many_waiting_decodes_delays_another_by_one_of_them(
    decode: Callable[..., Decode], started: list[int]
) -> None:
    decodes = [decode(91, "anna"), decode(92, "anna"), decode(93, "anna"), decode(94, "bert")]
    for begun, expected in zip(
        (decodes[0], decodes[1], decodes[3], decodes[2]),
        ([91], [91, 92], [91, 92, 94], [91, 92, 94, 93]),
        strict=True,
    ):
        assert begun.running.wait(PATIENCE)
        assert started == expected
        begun.finish()


def test_a_workspace_that_has_used_its_share_does_not_stop_another() -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=0.1, share=0.5))
    with requests_of("anna"), turns.turn(40, LIMIT):
        assert refusal(turns, "anna", 11) is ShareUsed  # no turn came in time
        assert refusal(turns, "anna", 10) is None
        assert refusal(turns, "bert", 50) is None


def test_each_further_workspace_has_a_share_of_what_the_others_leave_free() -> None:
    turns = Turns(Bounds(requests=99, own_requests=99, own_turns=99, seconds=0.1, share=0.5))
    with ExitStack() as stack:
        for name, share in (("anna", 50), ("bert", 25), ("carl", 12)):
            with requests_of(name):
                stack.enter_context(turns.turn(share - 1, LIMIT))
                stack.enter_context(turns.turn(1, LIMIT))
            assert refusal(turns, name, 1) is ShareUsed
        assert refusal(turns, "dora", 13) is None  # more than her share, but she holds nothing else


def test_a_few_workspaces_do_not_take_all_places() -> None:
    turns = Turns(Bounds(requests=16, own_requests=8, own_turns=8, seconds=PATIENCE, share=0.5))
    with ExitStack() as stack:
        for name, share in (("anna", 8), ("bert", 4), ("carl", 2)):
            for _ in range(share):
                with requests_of(name):
                    stack.enter_context(turns.turn(1, LIMIT))
            assert refusal(turns, name) is ShareUsed
        assert refusal(turns, "dora") is None


def test_a_workspace_has_a_bounded_number_of_turns_at_a_time() -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=2, seconds=0.1))
    with requests_of("anna"), turns.turn(1, LIMIT), turns.turn(1, LIMIT):
        assert refusal(turns, "anna") is ShareUsed
        assert refusal(turns, "bert") is None
    assert refusal(turns, "anna") is None


def test_a_workspace_with_its_number_of_requests_is_refused_at_once() -> None:
    turns = Turns(Bounds(requests=9, own_requests=2, own_turns=9, seconds=PATIENCE))
    with requests_of("anna"), turns.turn(1, LIMIT), turns.turn(1, LIMIT):
        assert refusal(turns, "anna") is ShareUsed
        assert refusal(turns, "bert") is None
    assert refusal(turns, "anna") is None


def test_few_large_requests_of_a_workspace_wait_and_many_small_ones() -> None:
    turns = Turns(Bounds(requests=99, own_requests=99, own_turns=99, seconds=PATIENCE, queue=2))
    started: list[int] = []
    decodes = [Decode(turns, 100, started, "anna")]
    assert decodes[0].running.wait(PATIENCE)
    for size, count in ((20, 5), (100, 1)):
        decodes += [Decode(turns, size, started, "anna") for _ in range(count)]
    await_waiting(turns, 6)
    assert refusal(turns, "anna") is ShareUsed
    for begun in decodes:
        begun.end.set()
    for begun in decodes:
        begun.finish()


def test_a_full_room_refuses_a_newcomer_only_if_nobody_has_more_than_it() -> None:
    turns = Turns(Bounds(requests=3, own_requests=3, own_turns=9, seconds=PATIENCE))
    started: list[int] = []
    refused: list[type[DomainError] | None] = []
    with ExitStack() as stack:
        stack.enter_context(requests_of("anna"))
        stack.enter_context(turns.turn(100, LIMIT))
        waiting = [threading.Thread(target=lambda: refused.append(refusal(turns, "anna"))) for _ in range(2)]
        for count, thread in enumerate(waiting, 1):
            thread.start()
            await_waiting(turns, count)
        bert = Decode(turns, 50, started, "bert")  # anna's last waiting request makes room
        waiting[1].join(PATIENCE)
        assert refused == [ShareUsed]
        assert refusal(turns, "anna") is ServerBusy
    assert bert.running.wait(PATIENCE)
    bert.finish()
    waiting[0].join(PATIENCE)
    assert refused == [ShareUsed, None]
    assert (turns.waiting, turns.held) == (0, 0)


def test_a_client_that_is_gone_leaves_the_queue_and_takes_no_turn() -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=PATIENCE))
    gone = threading.Event()
    timer = threading.Timer(0.1, gone.set)
    with requests_of("anna"), turns.turn(100, LIMIT):
        timer.start()
        with requests_of("bert", gone.is_set), pytest.raises(ClientGone), turns.turn(1, LIMIT):
            pytest.fail("it has a turn")
    timer.join()
    with requests_of("bert", gone.is_set), pytest.raises(ClientGone), turns.turn(1, LIMIT):
        pytest.fail("it has a turn")
    assert (turns.waiting, turns.held) == (0, 0)


def test_a_request_without_room_is_refused_as_its_owners_share_only_if_its_owner_takes_the_room() -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=PATIENCE, share=0.5, queue=0))
    with requests_of("anna"), turns.turn(60, LIMIT):
        assert refusal(turns, "anna", 60) is ShareUsed
        assert refusal(turns, "bert", 60) is ServerBusy
        assert refusal(turns, "bert", 40) is None


# --- patience


class Asking:
    """A request for everything in a separate thread, which ends its turn at once."""

    def __init__(self, turns: Turns, requester: Requester, ended: list[str]) -> None:
        self.refusal: type[DomainError] | None = None
        self._arguments = turns, requester, ended
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        turns, requester, ended = self._arguments
        self.refusal = refusal(turns, requester, LIMIT)
        ended.append(requester.owner)

    def end(self) -> type[DomainError] | None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.refusal


@pytest.fixture
def ended() -> list[str]:
    """The owners of the requests, in the order in which they ended."""
    return []


def test_a_request_waits_only_as_long_as_it_has_patience(ended: list[str]) -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=math.inf))
    with requests_of("anna"), turns.turn(100, LIMIT):
        assert Asking(turns, Requester("bert", patience=0.1), ended).end() is ServerBusy
    assert (turns.waiting, turns.held) == (0, 0)


def test_each_wait_takes_from_the_patience_for_the_next_one(
    ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("turns.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=math.inf))
    bert = Requester("bert", patience=10_000)
    with requests_of("anna"), turns.turn(100, LIMIT):
        asking = Asking(turns, bert, ended)
        await_waiting(turns, 1)
    assert asking.end() is None
    assert bert.patience < 10_000


def test_the_first_request_of_an_owner_without_a_turn_may_wait_on(ended: list[str]) -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=math.inf, first_waits=True))
    with requests_of("anna"), turns.turn(100, LIMIT):
        first = Asking(turns, Requester("bert", patience=0), ended)
        await_waiting(turns, 1)
        assert Asking(turns, Requester("bert", patience=0), ended).end() is ServerBusy
        assert turns.waiting == 1
        assert Asking(turns, Requester("anna", patience=0), ended).end() is ShareUsed
    assert first.end() is None


def test_a_request_tells_that_it_waits_and_only_if_it_does(ended: list[str]) -> None:
    turns = Turns(Bounds(requests=9, own_requests=9, own_turns=9, seconds=math.inf))
    told: list[str] = []
    with asking_as(Requester("anna", on_wait=lambda: told.append("anna"))), turns.turn(100, LIMIT):
        waiting = Asking(turns, Requester("bert", on_wait=lambda: told.append("bert")), ended)
        deadline = time.monotonic() + PATIENCE
        while not told:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    assert waiting.end() is None
    assert told == ["bert"]


# --- ranks


def test_a_request_of_a_lower_rank_displaces_one_of_a_higher_rank_and_is_served_before_the_others(
    ended: list[str],
) -> None:
    turns = Turns(Bounds(requests=4, own_requests=4, own_turns=4, seconds=math.inf))
    asking = {}
    with requests_of("anna"), turns.turn(100, LIMIT):
        for count, name in enumerate(("bert", "carl", "dora"), 1):
            asking[name] = Asking(turns, Requester(name, rank=1), ended)
            await_waiting(turns, count)
        assert refusal(turns, Requester("emil", rank=1)) is ServerBusy
        asking["fred"] = Asking(turns, Requester("fred"), ended)
        assert asking["bert"].end() is ShareUsed
        await_waiting(turns, 3)
    assert [asking[name].end() for name in ("carl", "dora", "fred")] == [None] * 3
    assert ended == ["bert", "fred", "carl", "dora"]


def test_a_request_of_a_higher_rank_displaces_none_of_a_lower_rank(ended: list[str]) -> None:
    turns = Turns(Bounds(requests=4, own_requests=4, own_turns=4, seconds=math.inf))
    with requests_of("anna"), turns.turn(100, LIMIT):
        waiting = []
        for count in (1, 2, 3):
            waiting.append(Asking(turns, Requester("bert"), ended))
            await_waiting(turns, count)
        assert refusal(turns, Requester("carl", rank=1)) is ServerBusy
    assert [each.end() for each in waiting] == [None] * 3
