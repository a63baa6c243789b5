"""Where limits are counted, and how they hold while the storage is down or busy."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fakeredis import TcpFakeServer
from flask import Flask
from flask.testing import FlaskClient
from limits import RateLimitItemPerDay
from limits.storage import RedisStorage
from pymongo import MongoClient
from redis import Redis

from app import create_app
from auth.counters import REST, Counters, make_limiter
from auth.counters.local import LocalCounters
from auth.counters.sqlite import CountsUnavailable, SQLiteCounters
from catalog.base import Catalog
from catalog.identity import Plan
from config import ConfigError, Settings
from storage.base import StorageBackend
from tests.factories import issue_key, new_workspace
from tests.faults import while_another_process_creates
from tests.mongo import (
    WRITTEN_WHILE_INDEXED,
    Fault,
    MongoServer,
    connect,
    database_uri,
    new_database,
    proxy_of,
)
from tests.servers import ROOT, free_port

WRITES = RateLimitItemPerDay(100)
NOTHING = "/api/v1/products/6650a1b2c3d4e5f6a7b8c9d0"
DOWN = "the storage of the rate limits is unavailable"


# --- a storage that fails


@dataclass
class Storage:
    """Counts, or raises ``error``."""

    error: Exception | None = None
    asked: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.asked += 1
        if self.error:
            raise self.error
        self.counts[key] = self.counts.get(key, 0) + amount
        return self.counts[key]

    def get(self, key: str) -> int:
        if self.error:
            raise self.error
        return self.counts[key]

    def get_expiry(self, key: str) -> float:
        return time.time() + 30


@dataclass
class Bench:
    """Counters over a storage, with their clock and the number of errors that they report."""

    storage: Storage
    seconds: float = 0.0
    errors: int = 0

    def __post_init__(self) -> None:
        limiter: Any = SimpleNamespace(storage=self.storage)
        self.counters = Counters(limiter, on_error=self._count, clock=lambda: self.seconds)

    def _count(self) -> None:
        self.errors += 1

    def hit(self) -> int:
        return self.counters.hit(WRITES, "acme")

    def give_back(self) -> None:
        self.counters.give_back(WRITES, "acme")


def test_counts_come_from_the_storage() -> None:
    bench = Bench(Storage())
    assert [bench.hit() for _ in range(3)] == [1, 2, 3]
    assert bench.counters.read(WRITES, "acme") == 3
    assert bench.errors == 0


def test_while_the_storage_is_down_this_process_counts() -> None:
    bench = Bench(Storage(ConnectionError()))
    assert [bench.hit() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert bench.counters.read(WRITES, "acme") == 5
    assert (bench.storage.asked, bench.errors) == (1, 6)


def test_a_storage_that_failed_is_not_used_for_a_while() -> None:
    bench = Bench(Storage(ConnectionError()))
    for _ in range(5):
        bench.hit()
    bench.seconds += REST
    assert [bench.hit() for _ in range(5)] == [6, 7, 8, 9, 10]
    assert (bench.storage.asked, bench.errors) == (2, 10)


def test_a_storage_that_is_back_counts_again_and_no_hit_is_forgotten() -> None:
    bench = Bench(Storage(ConnectionError()))
    assert [bench.hit(), bench.hit()] == [1, 2]
    bench.storage.error = None
    assert bench.hit() == 3
    bench.seconds += REST
    assert [bench.hit() for _ in range(3)] == [4, 5, 6]
    assert (bench.storage.asked, bench.errors) == (4, 3)


def test_a_hit_that_is_given_back_makes_room() -> None:
    bench = Bench(Storage())
    assert [bench.hit() for _ in range(WRITES.amount)][-1] == WRITES.amount
    assert bench.counters.is_spent(WRITES, "acme")
    bench.give_back()
    assert bench.counters.read(WRITES, "acme") == WRITES.amount - 1
    assert not bench.counters.is_spent(WRITES, "acme")
    assert [bench.hit() for _ in range(2)] == [WRITES.amount, WRITES.amount + 1]


def test_while_the_storage_is_down_hits_are_given_back_in_this_process() -> None:
    bench = Bench(Storage())
    assert [bench.hit() for _ in range(3)] == [1, 2, 3]
    bench.storage.error = ConnectionError()
    assert [bench.hit(), bench.hit()] == [4, 5]
    bench.give_back()
    assert bench.hit() == 5
    bench.storage.error = None
    bench.seconds += REST
    assert bench.hit() == 6, "four in the storage and two here"


def test_a_hit_that_can_not_be_given_back_stays_counted() -> None:
    bench = Bench(Storage())
    assert [bench.hit() for _ in range(3)] == [1, 2, 3]
    bench.storage.error = ConnectionError()
    bench.give_back()
    assert (bench.hit(), bench.errors) == (4, 2)


def test_a_process_that_joins_late_goes_by_the_count_of_all() -> None:
    storage = Storage()
    first, second = Bench(storage), Bench(storage)
    assert [first.hit() for _ in range(3)] == [1, 2, 3]
    assert second.hit() == 4


def test_what_is_over_its_limit_is_refused_without_a_write() -> None:
    storage = Storage()
    attacker, other = Bench(storage), Bench(storage)
    for _ in range(500):
        attacker.hit()
    assert storage.asked == WRITES.amount
    assert attacker.hit() == WRITES.amount + 1
    assert [other.hit() for _ in range(50)] == [WRITES.amount + 1] * 50
    assert storage.asked == WRITES.amount + 1


def test_a_refusal_from_memory_ends_with_the_window_of_the_storage() -> None:
    storage = Storage(counts={WRITES.key_for("acme"): WRITES.amount})
    bench = Bench(storage)
    assert bench.hit() == WRITES.amount + 1
    storage.counts.clear()
    bench.seconds += 29
    assert bench.hit() > WRITES.amount
    bench.seconds += 2
    assert bench.hit() == 1


def test_every_hit_of_many_threads_has_its_own_count() -> None:
    storage, barrier = Storage(), threading.Lock()
    incr = storage.incr

    def slow(key: str, expiry: int, amount: int = 1) -> int:
        time.sleep(0.001)
        with barrier:
            return incr(key, expiry, amount)

    storage.incr = slow  # type: ignore[method-assign]  # the fault
    bench = Bench(storage)
    with ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(lambda _: bench.hit(), range(60))) == list(range(1, 61))


def test_a_process_keeps_a_bounded_number_of_counts_and_the_large_ones_longest() -> None:
    counters = LocalCounters(clock=lambda: 0.0)
    for _ in range(3):
        counters.miss("guesser", 60)
    for number in range(60_000):
        counters.miss(str(number), 60)
    assert counters.read("guesser") == 3
    assert sum(counters.read(str(number)) for number in range(60_000)) < 50_000


def test_one_request_tries_the_storage_for_all() -> None:
    bench = Bench(Storage(ConnectionError()))
    bench.hit()
    bench.seconds += REST
    asking, answered = threading.Event(), threading.Event()

    def hang(*_: object) -> int:
        asking.set()
        assert answered.wait(10)
        return 70

    bench.storage.incr = hang  # type: ignore[assignment]  # the fault
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bench.hit)
        assert asking.wait(10)
        assert [bench.hit() for _ in range(3)] == [2, 3, 4]
        answered.set()
        assert first.result(10) == 74  # 70, and the four that the storage has missed
    assert bench.hit() == 74


def test_the_log_has_one_warning_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(Storage(ConnectionError("no route to the storage")))
    for _ in range(12):
        bench.hit()
        bench.seconds += REST
    assert caplog.text.count(DOWN) == 1
    assert "no route to the storage" in caplog.text
    bench.hit()
    assert caplog.text.count(DOWN) == 2


# --- storages that are really down


@contextmanager
def a_silent_server() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


@contextmanager
def no_server() -> Iterator[int]:
    """A port on which connections are refused."""
    yield free_port()


def on_plan(client: FlaskClient, catalog: Catalog, plan: Plan) -> FlaskClient:
    key = issue_key(catalog, new_workspace(catalog, plan=plan))
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    return client


def errors_counted(anonymous: FlaskClient) -> float:
    lines = [line for line in anonymous.get("/metrics").text.splitlines() if "limiter_errors_total " in line]
    return float(lines[-1].split()[1])


@pytest.mark.parametrize("uri", ["redis://127.0.0.1:{}", "mongodb://127.0.0.1:{}/vetrina"])
@pytest.mark.parametrize("server", [a_silent_server, no_server], ids=["hangs", "refuses"])
def test_limits_hold_while_the_storage_is_down_which_costs_a_moment(
    settings: Settings,
    storage: StorageBackend,
    catalog: Catalog,
    caplog: pytest.LogCaptureFixture,
    uri: str,
    server: Callable[[], Any],
) -> None:
    with server() as port:
        limited = Settings(data_dir=settings.data_dir, ratelimit_storage_uri=uri.format(port))
        app = create_app(limited, storage=storage, catalog=catalog)
        client, anonymous = on_plan(app.test_client(), catalog, Plan.FREE), app.test_client()
        before, start = errors_counted(anonymous), time.monotonic()
        writes = [client.delete(f"{NOTHING}/images/0").status_code for _ in range(102)]
        guesses = [
            anonymous.get(NOTHING, headers={"Authorization": "Bearer tp_wrong"}).status_code
            for _ in range(32)
        ]
        seconds = time.monotonic() - start
    assert writes == [404] * 100 + [429] * 2
    assert guesses == [401] * 30 + [429] * 2
    assert seconds < 30  # a second for each call would make 130
    assert errors_counted(anonymous) == before + 130
    assert caplog.text.count(DOWN) == 1


def test_limits_hold_while_the_file_can_not_be_used(
    app: Flask, settings: Settings, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.data_dir / "limits.sqlite3").mkdir(parents=True)
    client, anonymous = on_plan(app.test_client(), catalog, Plan.FREE), app.test_client()
    before = errors_counted(anonymous)
    for left in (99, 98, 97):
        response = client.delete(f"{NOTHING}/images/0")
        assert (response.status_code, response.headers["X-RateLimit-Remaining"]) == (404, str(left))
    assert errors_counted(anonymous) == before + 3
    assert caplog.text.count(DOWN) == 1


def test_limits_hold_while_another_process_locks_the_file(
    app: Flask, settings: Settings, catalog: Catalog
) -> None:
    client, anonymous = on_plan(app.test_client(), catalog, Plan.FREE), app.test_client()
    assert client.delete(f"{NOTHING}/images/0").headers["X-RateLimit-Remaining"] == "99"
    with closing(sqlite3.connect(settings.data_dir / "limits.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        writes = [client.delete(f"{NOTHING}/images/0").status_code for _ in range(101)]
        wrong = {"Authorization": "Bearer tp_wrong"}
        guesses = [anonymous.get(NOTHING, headers=wrong).status_code for _ in range(32)]
    assert writes == [404] * 99 + [429] * 2
    assert guesses == [401] * 30 + [429] * 2


# --- Redis


@pytest.fixture
def redis() -> Iterator[str]:
    """The address of a server that speaks Redis' protocol."""
    with TcpFakeServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        uri = f"redis://127.0.0.1:{server.server_address[1]}"
        # The server closes the connection after an error, such as the one for an unknown script.
        with Redis.from_url(uri) as client:
            client.script_load(RedisStorage.SCRIPT_INCR_EXPIRE)
        yield uri
        server.shutdown()
        thread.join()


def test_redis_counts(redis: str) -> None:
    limiters = [make_limiter(Flask("a"), redis) for _ in range(2)]
    counters = [Counters(limiter, on_error=pytest.fail) for limiter in limiters]
    assert [counter.hit(WRITES, "acme") for counter in counters for _ in range(2)] == [1, 2, 3, 4]
    assert counters[0].read(WRITES, "acme") == 4
    assert counters[0].read(WRITES, "another") == 0
    counters[1].give_back(WRITES, "acme")
    assert counters[0].hit(WRITES, "acme") == 4
    expiry = limiters[0].storage.get_expiry(WRITES.key_for("acme"))
    assert time.time() < expiry <= time.time() + WRITES.get_expiry()
    for limiter in limiters:
        cast("Any", limiter.storage).storage.close()


# --- memory


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns so often that what is not atomic fails soon."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_memory_counts_every_hit_of_many_threads() -> None:
    counters = Counters(make_limiter(Flask("a"), "memory://"), on_error=pytest.fail)
    together = threading.Barrier(20)

    def hit(workspace: str) -> int:
        together.wait(30)
        return counters.hit(WRITES, workspace)

    with ThreadPoolExecutor(20) as pool:
        for workspace in map(str, range(50)):
            assert sorted(pool.map(hit, [workspace] * 20)) == list(range(1, 21))
            counters.give_back(WRITES, workspace)
            assert counters.read(WRITES, workspace) == 19


# --- MongoDB


def test_mongodb_counts_in_the_database_that_its_address_names(mongodb: MongoServer) -> None:
    with new_database(mongodb.uri) as uri:
        counters = [Counters(make_limiter(Flask("a"), uri), on_error=pytest.fail) for _ in range(2)]
        counts = [counter.hit(WRITES, "acme") for counter in counters for _ in range(2)]
        assert counts == [1, 2, 3, 4]
        assert counters[0].read(WRITES, "acme") == 4
        assert counters[0].read(WRITES, "another") == 0
        counters[1].give_back(WRITES, "acme")
        assert counters[0].hit(WRITES, "acme") == 4
        with connect(uri) as client:
            database = client.get_default_database()
            assert set(database.list_collection_names()) - set(WRITTEN_WHILE_INDEXED) == {"counters"}
            assert database.counters.count_documents({}) == 1


def test_a_mongodb_that_is_down_at_the_start_gets_its_expiry_index_later(
    mongodb: MongoServer,
) -> None:
    seconds = [0.0]
    with new_database(mongodb.uri) as uri, proxy_of(mongodb) as proxy:
        proxy.fault = Fault(b"", answer=False)
        far = database_uri(proxy.uri, uri.rpartition("/")[2])
        limiter = make_limiter(Flask("a"), far)
        counters = Counters(limiter, on_error=lambda: None, clock=lambda: seconds[0])
        assert counters.hit(WRITES, "acme") == 1
        proxy.fault = Fault(b"", times=0)
        seconds[0] += REST
        assert counters.hit(WRITES, "acme") == 2
        cast("Any", limiter.storage).storage.close()
        with connect(uri) as client:
            indexes = client.get_default_database().counters.index_information()
            assert indexes["expireAt_1"]["expireAfterSeconds"] == 0


def test_threads_that_count_first_share_a_client(
    mongodb: MongoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def client(*args: Any, **options: Any) -> MongoClient[Any]:
        made.append(MongoClient(*args, **options))
        return made[-1]

    monkeypatch.setattr("auth.counters.mongo._TIMEOUT", 30_000)  # the machine may be busy
    with new_database(mongodb.uri) as uri:
        # Upserts of one new key are not atomic in the test server, so the key exists before the threads.
        assert make_limiter(Flask("a"), uri).storage.incr("key", 600) == 1
        limiter = make_limiter(Flask("a"), uri)
        monkeypatch.setattr("auth.counters.mongo.MongoClient", client)
        with ThreadPoolExecutor(40) as pool:
            counts = pool.map(lambda _: limiter.storage.incr("key", 600), range(40))
            assert sorted(counts) == list(range(2, 42))
        assert len(made) == 1


def test_an_application_that_counts_nothing_asks_mongodb_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        limiter = make_limiter(Flask("a"), f"mongodb://127.0.0.1:{listener.getsockname()[1]}/vetrina")
        storage = limiter.storage
        del limiter
        storage.__del__()  # type: ignore[attr-defined]  # of MongoDBStorage
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


# --- the SQLite file


def test_counters_count_expire_and_can_be_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [1000.0]
    monkeypatch.setattr("auth.counters.sqlite.time.time", lambda: seconds[0])
    counters = SQLiteCounters(f"sqlite:///{tmp_path}/limits.sqlite3")
    assert [counters.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    assert counters.incr("b", 60, 5) == 5
    assert (counters.get("a"), counters.get_expiry("a")) == (3, 1060.0)
    seconds[0] += 60
    assert counters.get("a") == 0
    assert counters.incr("a", 60) == 1
    assert [counters.incr("a", 60), counters.incr("a", 60, -1)] == [2, 1]
    counters.clear("a")
    assert counters.get("a") == 0
    counters.incr("c", 60)
    assert counters.reset() == 1
    assert counters.check()
    assert not SQLiteCounters(f"sqlite:///{tmp_path}").check()


def test_a_new_count_removes_a_few_expired_ones_and_the_cleanup_all_in_batches(tmp_path: Path) -> None:
    counters = SQLiteCounters(f"sqlite:///{tmp_path}/limits.sqlite3")
    for number in range(30):
        counters.incr(f"old {number}", 60)
    counters.incr("living", 3600)
    later = datetime.now(UTC) + timedelta(minutes=2)
    assert counters.remove_expired(datetime.now(UTC), 100) == {"counts": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auth.counters.sqlite.time.time", later.timestamp)
        counters.incr("new", 60)
        counters.incr("new", 60)
    batches = [counters.remove_expired(later, 12)["counts"] for _ in range(3)]
    assert batches == [12, 8, 0]
    assert counters.get("living") == 1


def test_a_file_of_counts_that_cannot_be_used_is_named_by_the_cleanup(tmp_path: Path) -> None:
    with pytest.raises(CountsUnavailable, match="unable to open database file"):
        SQLiteCounters(f"sqlite:///{tmp_path}").remove_expired(datetime.now(UTC), 100)


def test_another_process_that_creates_the_file_at_the_same_time_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "limits.sqlite3"
    with while_another_process_creates(path):
        assert SQLiteCounters(f"sqlite:///{path}").incr("a", 60) == 1


# --- addresses that name no storage


@pytest.mark.parametrize(
    "uri",
    [
        "redis://user:hush@127.0.0.1:port",
        "redis://:hush@127.0.0.1?socket_timeout=soon",
        "mongodb://user:hush@@127.0.0.1/vetrina",
        "mongodb://user:hush@127.0.0.1:port/vetrina",
        "mongodb://user:hush@127.0.0.1/vetrina?noSuchOption=1",
    ],
)
def test_an_address_that_can_not_be_read_stops_the_start(settings: Settings, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^RATELIMIT_STORAGE_URI must be the address of a") as refused:
        create_app(Settings(data_dir=settings.data_dir, ratelimit_storage_uri=uri))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "redis://127.0.0.1:6379/0",
        "rediss://:hush@redis.example.com",
        "redis+unix:///run/redis.sock",
        "mongodb://127.0.0.1",
        "mongodb://127.0.0.1/vetrina?compressors=zstd",
        "mongodb+srv://mongo.example.com/vetrina",
        "memory://",
    ],
)
def test_every_storage_that_is_promised_can_be_made(settings: Settings, uri: str) -> None:
    settings = Settings.from_env({"DATA_DIR": str(settings.data_dir), "RATELIMIT_STORAGE_URI": uri})
    assert create_app(settings).url_map


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "flask", "--app", "wsgi", "workspace", "list"],
        ["-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
    ],
    ids=["flask", "gunicorn"],
)
def test_the_operator_reads_one_sentence(tmp_path: Path, command: list[str]) -> None:
    environ = {"DATA_DIR": str(tmp_path), "RATELIMIT_STORAGE_URI": "redis://127.0.0.1:port"}
    process = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environ, "PORT": str(free_port()), "LOG_FORMAT": "text", "LOG_LEVEL": "WARNING"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode != 0
    assert process.stderr == (
        "vetrina: RATELIMIT_STORAGE_URI must be the address of a storage for counts, such as "
        "redis://127.0.0.1:6379 or mongodb://127.0.0.1/vetrina, its user name and password percent-encoded.\n"
    )
