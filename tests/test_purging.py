from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from catalog.base import Catalog
from catalog.errors import CatalogUnavailable
from catalog.ids import now
from catalog.purges import Backlog, Purge
from catalog.sqlite import SQLiteCatalog
from purging import BATCH, DELAY, CdnRefused, CdnUnavailable, PurgedStorage, Purges
from storage.base import StorageBackend, StorageUnavailable
from storage.disk import DiskStorage
from storage.memory import MemoryStorage
from tests.faults import fail_with
from tests.storage.contract import StorageContract, keys_of, new_key, put

ROOT = Path(__file__).parent.parent
START = datetime.fromisoformat("2026-04-10T14:30:00+00:00")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The clock of the queue. Its time is the only entry of the list, which a test may replace."""
    time = [START]
    monkeypatch.setattr("purging.now", lambda: time[0])
    return time


@dataclass
class FakeCdn:
    """A CDN that notes what it is asked, and fails as a test wants."""

    asked: list[list[str]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def purge(self, urls: Sequence[str]) -> None:
        self.asked.append(list(urls))
        if self.failures:
            raise self.failures.pop(0)
        if self.refused.intersection(urls):
            raise CdnRefused("no")


@pytest.fixture
def cdn() -> FakeCdn:
    return FakeCdn()


@pytest.fixture
def purges(catalog: Catalog, cdn: FakeCdn) -> Purges:
    return Purges(catalog, cdn, interval=3600)


def url_of(number: int) -> str:
    return f"https://cdn.example.com/{number}.png"


def queue(catalog: Catalog, count: int) -> list[str]:
    """Queues URLs that are due one after the other."""
    urls = [url_of(number) for number in range(count)]
    for number, url in enumerate(urls):
        moment = START - timedelta(milliseconds=count - number)
        catalog.add_purge(Purge(url, moment, moment))
    return urls


# --- a storage whose deletions are purged


@pytest.fixture
def without_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process looks at the queue later, when another test runs."""
    monkeypatch.setattr(Purges, "_set_timer", lambda *_: None)


@pytest.mark.usefixtures("without_timers")
class TestPurgedStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[StorageBackend]:
        catalog = SQLiteCatalog(tmp_path / "vetrina.sqlite3")
        inner = MemoryStorage("https://cdn.example.com")
        yield PurgedStorage(inner, Purges(catalog, FakeCdn()), lambda key: [inner.public_url(key)])
        catalog.close()


@pytest.fixture
def memory() -> MemoryStorage:
    return MemoryStorage("https://cdn.example.com")


@pytest.fixture
def purged_storage(memory: MemoryStorage, purges: Purges, without_timers: None) -> PurgedStorage:  # noqa: ARG001  # it acts on ``Purges``
    return PurgedStorage(memory, purges, lambda key: [memory.public_url(key)])


@pytest.mark.usefixtures("clock")
def test_a_deletion_is_purged_by_its_process_when_it_is_over(
    purged_storage: PurgedStorage, memory: MemoryStorage, catalog: Catalog, purges: Purges, cdn: FakeCdn
) -> None:
    keys = [new_key() for _ in range(2)]
    for key in keys:
        put(purged_storage, key, b"bytes")
    before_the_next_deletion: list[int] = []
    memory_delete = memory.delete

    def delete(key: str) -> None:
        before_the_next_deletion.append(purges.run())
        memory_delete(key)

    memory.delete = delete  # type: ignore[method-assign]  # runs while the deletion is under way
    for key in keys:
        purged_storage.delete(key)
    assert before_the_next_deletion == [0, 1]
    assert purges.run() == 1
    assert cdn.asked == [[purged_storage.public_url(key)] for key in keys]
    assert (purges.run(), catalog.purge_backlog().length) == (0, 0)


def test_other_processes_wait_until_a_deletion_is_certainly_over(
    purged_storage: PurgedStorage, catalog: Catalog, cdn: FakeCdn, clock: list[datetime]
) -> None:
    put(purged_storage, key := new_key(), b"bytes")
    purged_storage.delete(key)
    other = Purges(catalog, cdn)
    assert other.run() == 0
    clock[0] += DELAY
    assert other.run() == 1


def test_more_deletions_than_a_request_takes_are_purged_in_batches(
    purges: Purges, cdn: FakeCdn, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("purging.BATCH", 3)
    monkeypatch.setattr(Purges, "_set_timer", lambda *_: None)
    urls = [url_of(number) for number in range(7)]
    purges.release(purges.queue(urls[:4]))
    clock[0] += DELAY
    purges.release(purges.queue(urls[4:]))
    assert purges.run() == 7
    assert [len(asked) for asked in cdn.asked] == [3, 3, 1]
    assert {url for asked in cdn.asked for url in asked} == set(urls)


def test_an_object_whose_purge_can_not_be_queued_is_not_deleted(
    purged_storage: PurgedStorage, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(purged_storage, key := new_key(), b"bytes")
    monkeypatch.setattr(catalog, "add_purge", fail_with(CatalogUnavailable("no answer")))
    with pytest.raises(StorageUnavailable) as caught:
        purged_storage.delete(key)
    assert str(caught.value) == f"can't delete {key}: its purge can't be queued: no answer"
    assert keys_of(purged_storage) == {key}


def test_the_purge_is_queued_before_the_object_is_deleted(
    purged_storage: PurgedStorage, memory: MemoryStorage, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(purged_storage, key := new_key(), b"bytes")
    monkeypatch.setattr(memory, "delete", fail_with(StorageUnavailable("no answer")))
    with pytest.raises(StorageUnavailable):
        purged_storage.delete(key)
    assert catalog.purge_backlog().length == 1


#: Deletes an object, and kills its own process at a step.
DYING = """
import os, signal, sys
from pathlib import Path
from catalog.sqlite import SQLiteCatalog
from purging import PurgedStorage, Purges
from storage.disk import DiskStorage

folder, step, key = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
catalog, disk = SQLiteCatalog(folder / "vetrina.sqlite3"), DiskStorage(folder / "media", "https://cdn.example.com")
owner, name = {"queue": (catalog, "add_purge"), "delete": (disk, "delete")}[step.partition(" ")[2]]
original = getattr(owner, name)

def die(*args):
    if step.startswith("after"):
        original(*args)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, die)
PurgedStorage(disk, Purges(catalog, None), lambda key: [disk.public_url(key)]).delete(key)
"""


@pytest.mark.parametrize(
    ("step", "is_queued", "is_stored"),
    [
        ("before queue", False, True),
        ("after queue", True, True),
        ("before delete", True, True),
        ("after delete", True, False),
    ],
)
def test_a_process_that_is_killed_leaves_a_purge_or_an_object(
    tmp_path: Path, cdn: FakeCdn, clock: list[datetime], step: str, is_queued: bool, is_stored: bool
) -> None:
    disk = DiskStorage(tmp_path / "media", "https://cdn.example.com")
    put(disk, key := new_key(), b"bytes")
    command = [sys.executable, "-c", DYING, str(tmp_path), step, key]
    ended = subprocess.run(command, cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert keys_of(disk) == ({key} if is_stored else set())
    clock[0] = now() + DELAY
    with closing(SQLiteCatalog(tmp_path / "vetrina.sqlite3")) as catalog:
        assert Purges(catalog, cdn).run() == int(is_queued)
    assert cdn.asked == ([[disk.public_url(key)]] if is_queued else [])


# --- the work on the queue


@pytest.mark.usefixtures("clock")
def test_urls_are_purged_in_batches(catalog: Catalog, purges: Purges, cdn: FakeCdn) -> None:
    urls = queue(catalog, BATCH + 50)
    assert purges.run() == BATCH + 50
    assert cdn.asked == [urls[:BATCH], urls[BATCH:]]
    assert catalog.purge_backlog() == Backlog(0, None)


@pytest.mark.parametrize("again_after", [None, 17])
def test_a_failure_is_followed_by_a_pause_of_all_processes(
    catalog: Catalog, purges: Purges, cdn: FakeCdn, clock: list[datetime], again_after: int | None
) -> None:
    urls = queue(catalog, 2)
    cdn.failures = [CdnUnavailable("busy", again_after)]
    with pytest.raises(CdnUnavailable):
        purges.run()
    other = Purges(catalog, cdn)
    clock[0] += timedelta(seconds=(again_after or 5) - 1)
    assert (purges.run(), other.run(), len(cdn.asked)) == (0, 0, 1)
    catalog.add_purge(Purge("https://cdn.example.com/new.png", clock[0], clock[0]))
    assert (purges.run(), other.run(), len(cdn.asked)) == (0, 0, 1)
    clock[0] += timedelta(seconds=1)
    assert other.run() == 3
    assert set(cdn.asked[1]) == {*urls, "https://cdn.example.com/new.png"}


def test_the_pause_grows_with_each_failure_up_to_five_minutes(
    catalog: Catalog, purges: Purges, cdn: FakeCdn, clock: list[datetime]
) -> None:
    queue(catalog, 1)
    pauses = []
    for _ in range(8):
        cdn.failures = [CdnUnavailable("down")]
        failed_at = clock[0]
        with pytest.raises(CdnUnavailable):
            purges.run()
        (purge,) = catalog.due_purges(clock[0] + timedelta(days=1), 1)
        pauses.append((purge.due_at - failed_at).total_seconds())
        clock[0] = purge.due_at
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert purges.run() == 1


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("seconds", [0, 10**6])
def test_the_pause_that_the_cdn_wants_has_limits(
    catalog: Catalog, purges: Purges, cdn: FakeCdn, seconds: int
) -> None:
    queue(catalog, 1)
    cdn.failures = [CdnUnavailable("busy", seconds)]
    with pytest.raises(CdnUnavailable):
        purges.run()
    (purge,) = catalog.due_purges(START + timedelta(days=30), 1)
    assert timedelta(seconds=1) <= purge.due_at - START <= timedelta(minutes=5)


def test_one_refused_url_holds_up_no_other(catalog: Catalog, cdn: FakeCdn, clock: list[datetime]) -> None:
    outcomes: list[tuple[str, int]] = []
    purges = Purges(catalog, cdn, on_outcome=lambda *outcome: outcomes.append(outcome))
    queue(catalog, 9)
    cdn.refused = {url_of(4)}
    assert purges.run() == 8
    (left,) = catalog.due_purges(START + timedelta(minutes=1), 10)
    assert (left.url, left.due_at, left.attempts) == (url_of(4), START + timedelta(minutes=1), 1)
    assert sum(count for outcome, count in outcomes if outcome == "purged") == 8
    assert ("refused", 1) in outcomes
    cdn.refused = set()
    clock[0] += timedelta(minutes=1)
    assert purges.run() == 1


@pytest.mark.usefixtures("clock")
def test_a_cdn_that_refuses_every_url_is_not_asked_about_all_of_them(
    catalog: Catalog, purges: Purges, cdn: FakeCdn
) -> None:
    cdn.refused = set(queue(catalog, BATCH))
    with pytest.raises(CdnUnavailable, match="each URL is refused"):
        purges.run()
    assert len(cdn.asked) < 25
    assert catalog.purge_backlog().length == BATCH


def test_a_url_that_is_queued_again_while_it_is_purged_is_purged_again(
    catalog: Catalog, clock: list[datetime]
) -> None:
    class Busy(FakeCdn):
        def purge(self, urls: Sequence[str]) -> None:
            super().purge(urls)
            clock[0] += timedelta(seconds=1)
            catalog.add_purge(Purge(urls[0], clock[0], clock[0] + DELAY))

    (url,) = queue(catalog, 1)
    assert Purges(catalog, Busy()).run() == 1
    assert [purge.url for purge in catalog.due_purges(clock[0] + DELAY, 10)] == [url]


@pytest.mark.usefixtures("clock")
def test_two_processes_do_not_purge_at_the_same_time(catalog: Catalog) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(FakeCdn):
        def purge(self, urls: Sequence[str]) -> None:
            super().purge(urls)
            inside.set()
            assert go_on.wait(30)

    urls = queue(catalog, 3)
    slow, other = Slow(), FakeCdn()
    thread = threading.Thread(target=Purges(catalog, slow).run)
    thread.start()
    assert inside.wait(30)
    assert Purges(catalog, other).run() == 0
    go_on.set()
    thread.join(30)
    assert (slow.asked, other.asked) == ([urls], [])


def test_what_a_process_that_died_has_left_is_purged_by_another(
    catalog: Catalog, cdn: FakeCdn, clock: list[datetime]
) -> None:
    class Killed(BaseException):
        """Stands for SIGKILL: nothing of the process runs after it."""

    urls = queue(catalog, 2)
    dying = FakeCdn(failures=[Killed()])  # type: ignore[list-item]  # no Exception, so that nothing handles it
    with pytest.raises(Killed):
        Purges(catalog, dying).run()
    other = Purges(catalog, cdn)
    assert other.run() == 0  # the dead process still has its lease
    clock[0] += timedelta(minutes=1)
    assert other.run() == 2
    assert cdn.asked == [urls]


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_deletion_is_purged_without_a_further_request(catalog: Catalog, cdn: FakeCdn) -> None:
    purges = Purges(catalog, cdn, delay=timedelta(milliseconds=20), interval=0.02)
    cdn.failures = [CdnUnavailable("busy", 1)]
    purges.release(purges.queue([url_of(1)]))
    eventually(lambda: len(cdn.asked) == 2)
    eventually(lambda: catalog.purge_backlog().length == 0)
    assert cdn.asked == [[url_of(1)], [url_of(1)]]


def test_a_failure_is_one_line_a_minute(
    catalog: Catalog, purges: Purges, cdn: FakeCdn, clock: list[datetime], caplog: pytest.LogCaptureFixture
) -> None:
    def asked(times: int) -> bool:
        return len(cdn.asked) == times and not purges._running.locked()

    queue(catalog, 1)
    cdn.failures = [CdnUnavailable("the API is down") for _ in range(3)]
    for number in range(1, 4):
        purges._start()
        eventually(partial(asked, number))
        clock[0] += timedelta(minutes=5)
    (record,) = caplog.records
    assert record.getMessage() == "the CDN's cache was not purged: the API is down"
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
